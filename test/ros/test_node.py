"""The mapping node over real DDS, with a predictor that knows the world."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros.node_bench import RELIABLE, TRUTH, NodeBench, image_message, start_ros
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map_archive import load_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.model.model_config import PRESETS
from flashvggt_ros.model.preprocess import Preprocessor
from flashvggt_ros.ros.clouds import read_cloud
from flashvggt_ros.ros.messages import matrix, stamp_ns, time_message, transform_stamped
from flashvggt_ros.ros.node import MappingNode
from flashvggt_ros.worlds import TruthCache, TruthPredictor, look, make_world, walk

WORLD = make_world(walk(16))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]


@pytest.fixture(scope="module", autouse=True)
def ros() -> Iterator[None]:
    start_ros()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def bench() -> Iterator[Callable[..., NodeBench]]:
    benches: list[NodeBench] = []

    def make(predictor: Any = None, **parameters: Any) -> NodeBench:
        if isinstance(predictor, SlowPredictor):
            slow.append(predictor)
        benches.append(NodeBench(predictor or TruthPredictor(WORLD), **parameters))
        return benches[-1]

    slow: list[SlowPredictor] = []
    yield make
    for predictor in slow:
        predictor.may_go_on.set()
    for made in benches:
        made.close()


class SlowPredictor(TruthPredictor):
    """Tells the truth when it is allowed to."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.may_go_on = threading.Event()
        self.is_busy = threading.Event()

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        self.is_busy.set()
        assert self.may_go_on.wait(30)
        return super().predict(frames, cache)


def total(status: MapStatus) -> int:
    return (
        status.frames_used
        + status.frames_gated
        + status.frames_dropped
        + status.frames_rejected
        + status.queue_length
    )


def test_every_image_gets_one_pose_with_its_own_stamp(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames)
    status = it.settle(16)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 16)
    it.spin_until(lambda: it.listener.heard["/mapping/path"])
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 16)
    assert (status.frames_received, status.frames_used) == (16, 16)
    assert it.listener.stamps("/mapping/odometry") == STAMPS
    path = it.listener.heard["/mapping/path"][-1]
    assert [stamp_ns(pose.header.stamp) for pose in path.poses] == STAMPS
    allowed = {*STAMPS, 0}
    for topic in ("/mapping/path", "/mapping/map_cloud", "/mapping/cloud"):
        assert it.listener.stamps(topic) and set(it.listener.stamps(topic)) <= set(STAMPS)
    for topic in ("/mapping/status", "/diagnostics"):  # zero before the first image
        assert it.listener.stamps(topic) and set(it.listener.stamps(topic)) <= allowed
    assert {stamp_ns(t.header.stamp) for t in it.listener.transforms} == set(STAMPS)


def test_the_path_is_the_walk_but_for_scale(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames)
    it.settle(16)
    it.spin_until(lambda: it.listener.heard["/mapping/path"])
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 16)
    poses = np.stack([matrix(p.pose) for p in it.listener.heard["/mapping/path"][-1].poses])
    T_first_camera = se3.inverse(WORLD.T_world_camera[0]) @ WORLD.T_world_camera
    T_first_mapped = se3.inverse(poses[0]) @ poses
    lengths = [np.linalg.norm(T[:, :3, 3], axis=1) for T in (T_first_mapped, T_first_camera)]
    ratio = lengths[0][1:] / lengths[1][1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=0.02)
    np.testing.assert_allclose(T_first_mapped[:, :3, :3], T_first_camera[:, :3, :3], atol=0.02)
    # REP-103: x along the first view, z up, which the floor has told
    height = WORLD.T_world_camera[0, 2, 2]
    first_view = [np.sqrt(1 - height**2), 0, height]
    np.testing.assert_allclose(poses[0][:3, :3] @ [0, 0, 1], first_view, atol=0.02)


def test_transforms_are_repeated_steadily_with_the_pose_s_own_stamp(bench: Any) -> None:
    it = bench(tf__rate=20.0)
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin(0.3)
    before = len(it.listener.transforms)
    it.spin(2.0)
    repeated = it.listener.transforms[before:]
    assert 20 <= len(repeated) <= 45  # 20 Hz; a busy machine may be late
    assert {(t.child_frame_id, stamp_ns(t.header.stamp)) for t in repeated} == {
        ("camera", STAMPS[7])
    }


def test_the_chain_map_odom_base_camera_closes(bench: Any) -> None:
    T_base_camera = look((0.2, 0.1, 0.4), 0.1, 0.2)
    it = bench(tf__odom_frame="odom", tf__base_frame="base_link")
    static = it.helper.create_publisher(
        TFMessage, "/tf_static", QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    )
    static.publish(
        TFMessage(transforms=[transform_stamped("base_link", "camera", T_base_camera, 0)])
    )
    moving = it.helper.create_publisher(TFMessage, "/tf", 100)
    images = it.publisher()
    it.spin_until(lambda: moving.get_subscription_count() >= 2)
    it.spin(0.2)
    T_odom_base = {}
    for i, frame in enumerate(WORLD.frames):
        turn = se3.matrix_from_quaternion(np.array([0, 0, np.sin(0.05 * i), np.cos(0.05 * i)]))
        T_odom_base[frame.stamp_ns] = se3.pose(turn, np.array([0.1 * i, 0.02 * i, 0.0]))
        edge = transform_stamped("odom", "base_link", T_odom_base[frame.stamp_ns], frame.stamp_ns)
        moving.publish(TFMessage(transforms=[edge]))
        it.play(images, [frame])
    it.settle(16)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 16)
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 16)
    it.spin(0.2)
    edges: list[TransformStamped] = it.listener.transforms
    assert {edge.child_frame_id for edge in edges} == {"odom"}
    T_map_odom = {stamp_ns(edge.header.stamp): matrix(edge.transform) for edge in edges}
    poses = it.listener.heard["/mapping/path"][-1].poses
    for odometry in it.listener.heard["/mapping/odometry"]:
        stamp = stamp_ns(odometry.header.stamp)
        assert odometry.child_frame_id == "base_link"
        T_map_base = matrix(odometry.pose.pose)
        np.testing.assert_allclose(T_map_odom[stamp] @ T_odom_base[stamp], T_map_base, atol=1e-9)
    # Corrections of the map are taken up at tf.max_correction_rate: a second later all have been.
    later = STAMPS[-1] + 1_000_000_000
    it.play(images, [replace(WORLD.frames[-1], stamp_ns=later)])
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == later)
    np.testing.assert_allclose(
        matrix(it.listener.transforms[-1].transform) @ T_odom_base[STAMPS[-1]] @ T_base_camera,
        matrix(poses[-1].pose),
        atol=1e-9,
    )


def test_nothing_is_invented_while_the_camera_is_not_on_the_base(bench: Any) -> None:
    it = bench(tf__base_frame="base_link")
    it.play(it.publisher(), WORLD.frames[:4])
    it.settle(4)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 4)
    it.spin(0.2)
    assert it.listener.transforms == []
    assert {o.child_frame_id for o in it.listener.heard["/mapping/odometry"]} == {"camera"}
    assert "base_link is not on TF" in it.listener.status.message


def _faulty(fault: str, stamp: int) -> Image:
    """One of the inputs that must not stop the node."""
    message = image_message(WORLD.frames[0])
    message.header.stamp = time_message(stamp)
    if fault == "encoding":
        message.encoding = "32FC7"
    elif fault == "step":
        message.step = 100
    elif fault == "zero size":
        message.height = 0
    elif fault == "huge header":
        message.height = message.width = 20000
        message.step = 60000
        message.data = message.data[:10]
    elif fault == "short data":
        message.data = message.data[:1000]
    elif fault == "stamp zero":
        message.header.stamp = time_message(0)
    elif fault == "stamp backwards":
        message.header.stamp = time_message(STAMPS[0] - 1)
    return message


def test_bad_images_are_counted_by_cause_and_the_node_goes_on(bench: Any) -> None:
    faults = (
        "encoding",
        "step",
        "zero size",
        "huge header",
        "short data",
        "stamp zero",
        "stamp backwards",
    )
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames[:1])
    for i, fault in enumerate(faults * 2):
        images.publish(_faulty(fault, STAMPS[0] + 1 + i))
        it.spin(0.01)
    it.play(images, WORLD.frames[1:4])
    status = it.settle(4 + 2 * len(faults))
    assert status.frames_rejected == 2 * len(faults)
    assert (status.frames_used, total(status)) == (4, status.frames_received)
    counts = dict(zip(status.rejected_causes, status.rejected_counts, strict=True))
    assert counts["stamp_backwards"] == counts["stamp_zero"] == counts["too_large"] == 2
    assert sum(counts.values()) == 2 * len(faults)


def compressed_message(frame: Frame, kind: str) -> CompressedImage:
    data = cv2.imencode(f".{kind}", frame.image[..., ::-1])[1].tobytes()
    message = CompressedImage(format=kind, data=data)
    message.header.frame_id = frame.camera
    message.header.stamp = time_message(frame.stamp_ns)
    return message


@pytest.fixture
def camera() -> Iterator[Node]:
    """A node with a DDS participant of its own, as in a process of its own.

    One participant cannot carry two types on one topic, not even one after the other.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("camera", context=context, use_global_arguments=False)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("topic", ["/cam/image_raw/compressed", "/cam/image_raw", "/cam/stream"])
def test_compressed_images_are_mapped_and_truncated_ones_rejected(
    bench: Any, camera: Node, topic: str, kind: str
) -> None:
    it = bench(image_topics=[topic.removesuffix("/compressed")])
    images = camera.create_publisher(CompressedImage, topic, RELIABLE)
    it.spin_until(images.get_subscription_count)
    for i, frame in enumerate(WORLD.frames[:4]):
        message = compressed_message(frame, kind)
        if i == 1:
            message.data = message.data[: len(message.data) // 2]
        images.publish(message)
        it.spin(0.02)
    status = it.settle(4)
    assert (status.frames_used, status.frames_rejected) == (3, 1)


@pytest.mark.parametrize(
    ("topic", "kind"), [("/cam/image_raw", Image), ("/cam/image_raw/compressed", CompressedImage)]
)
def test_the_node_listens_before_anybody_publishes(bench: Any, topic: str, kind: type) -> None:
    it = bench(image_topics=[topic])
    it.spin_until(lambda: it.helper.get_subscriptions_info_by_topic(topic))
    (subscription,) = it.helper.get_subscriptions_info_by_topic(topic)
    assert subscription.topic_type == f"sensor_msgs/msg/{kind.__name__}"


def test_bad_camera_info_is_counted_and_images_go_on(bench: Any) -> None:
    it = bench(image_topics=["/cam/image_raw"])
    infos = it.publisher("/cam/camera_info", CameraInfo)
    images = it.publisher("/cam/image_raw")
    k = [100.0, 0.0, 79.5, 0.0, 100.0, 59.5, 0.0, 0.0, 1.0]
    infos.publish(CameraInfo(width=160, height=120, k=[0.0, *k[1:]], distortion_model="plumb_bob"))
    it.spin(0.1)
    infos.publish(CameraInfo(width=320, height=240, k=k, d=[0.0] * 5, distortion_model="plumb_bob"))
    it.spin(0.1)
    it.play(images, WORLD.frames[:4])
    status = it.settle(4)
    assert (status.frames_used, status.frames_rejected) == (4, 0)
    causes = dict(zip(status.rejected_causes, status.rejected_counts, strict=True))
    assert sum(causes.values()) == 2 and causes["camera_info_size"] == 1


def test_an_image_that_the_model_cannot_take_is_rejected_alone(bench: Any) -> None:
    preprocessor = Preprocessor(PRESETS["flashvggt-mini"], width=0, use_calibration=True)
    it = bench(check_fit=preprocessor.canvas)
    images = it.publisher()
    it.play(images, WORLD.frames[:2])
    tiny = Frame(STAMPS[1] + 1, "camera", WORLD.frames[0].image[:8, :8].copy(), None)
    it.play(images, [tiny])
    it.play(images, WORLD.frames[2:4])
    status = it.settle(5)
    assert (status.frames_used, status.frames_rejected) == (4, 1)
    assert list(status.rejected_causes) == ["unfit_for_model"]


def test_a_topic_name_that_is_none_is_refused_at_the_start() -> None:
    topics = Parameter("image_topics", value=["bad?name"])
    node = MappingNode(use_global_arguments=False, parameter_overrides=[topics])
    try:
        with pytest.raises(ValueError, match="'bad\\?name', which is no topic name"):
            node.start(TruthPredictor(WORLD), TRUTH)
    finally:
        assert node.stop()
        node.destroy_node()


def test_a_simulation_clock_that_stands_still_starves_nothing(bench: Any) -> None:
    it = bench(use_sim_time=True)
    it.play(it.publisher(), WORLD.frames[:6])  # a chunk and a half
    it.settle(6)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 6)
    before = len(it.listener.transforms)
    it.spin_until(lambda: len(it.listener.transforms) > before + 3)


def test_a_camera_that_a_driver_carries_on_tf_keeps_its_one_parent(bench: Any) -> None:
    T_link_camera = look((0.2, 0.1, 0.4), 0.1, 0.2)
    it = bench()
    static = it.helper.create_publisher(
        TFMessage, "/tf_static", QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    )
    edge = transform_stamped("camera_link", "camera", T_link_camera, 0)
    static.publish(TFMessage(transforms=[edge]))
    it.spin_until(lambda: it.node.count_publishers("/tf_static"))
    it.spin(0.3)
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 8)
    it.spin(0.2)
    assert {edge.child_frame_id for edge in it.listener.transforms} == {"camera_link"}
    T_map_link = {stamp_ns(e.header.stamp): matrix(e.transform) for e in it.listener.transforms}
    for odometry in it.listener.heard["/mapping/odometry"]:
        T_map_camera = T_map_link[stamp_ns(odometry.header.stamp)] @ T_link_camera
        assert odometry.child_frame_id == "camera"
        np.testing.assert_allclose(T_map_camera, matrix(odometry.pose.pose), atol=1e-9)


def test_two_cameras_are_both_mapped_and_one_is_published_on_tf(bench: Any) -> None:
    world = make_world(walk(16), cameras=("left", "right"))
    it = bench(TruthPredictor(world), image_topics=["left/image", "right/image"])
    sides = itertools.cycle([it.publisher("/left/image"), it.publisher("/right/image")])
    for frame, images in zip(world.frames, sides, strict=False):
        it.play(images, [frame], period=0.01)
    status = it.settle(16)
    assert status.frames_used == 16
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 16)
    children = {o.child_frame_id for o in it.listener.heard["/mapping/odometry"]}
    assert children == {"left", "right"}
    assert {t.child_frame_id for t in it.listener.transforms} == {"left"}


def test_a_queue_that_overflows_counts_what_it_drops(bench: Any) -> None:
    predictor = SlowPredictor()
    it = bench(predictor, image__queue_size=4)
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.02)
    it.spin_until(predictor.is_busy.is_set)
    it.play(images, WORLD.frames[4:], period=0.02)
    it.spin_until(lambda: it.listener.status.frames_received == 16)
    assert it.listener.status.frames_dropped == 8
    assert total(it.listener.status) == 16
    predictor.may_go_on.set()
    status = it.settle(16)
    assert (status.frames_used, status.frames_dropped) == (8, 8)


def test_services_are_answered_during_inference(bench: Any, tmp_path: Path) -> None:
    predictor = SlowPredictor()
    it = bench(predictor, map_directory=str(tmp_path))
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.02)
    it.spin_until(predictor.is_busy.is_set)
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=True)).success
    assert not it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name="../escape")).success
    client = it.helper.create_client(Trigger, "/mapping/reset")
    it.spin_until(client.service_is_ready)
    reset = client.call_async(Trigger.Request())
    before = len(it.listener.heard["/mapping/status"])
    it.play(images, WORLD.frames[4:6])
    it.spin(0.5)
    assert len(it.listener.heard["/mapping/status"]) > before + 5  # the executor is not held up
    assert it.listener.status.frames_received == 6
    assert not reset.done()
    predictor.may_go_on.set()
    it.spin_until(reset.done)
    assert reset.result().success


def test_reset_empties_the_map_and_takes_a_bag_that_starts_over(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames)
    it.settle(16)
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    assert it.call(Trigger, "/mapping/reset", Trigger.Request()).success
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"][-1].width == 0)
    assert it.listener.heard["/mapping/path"][-1].poses == []
    it.listener.heard["/mapping/path"].clear()
    it.play(images, WORLD.frames[:4])
    status = it.settle(20)
    assert (status.frames_used, status.frames_rejected) == (20, 0)
    it.spin_until(lambda: it.listener.heard["/mapping/path"])
    path = it.listener.heard["/mapping/path"][-1]
    assert [stamp_ns(pose.header.stamp) for pose in path.poses] == STAMPS[:4]


def test_a_paused_node_drops_and_counts_images(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=True)).success
    it.play(images, WORLD.frames[:4])
    it.spin_until(lambda: it.listener.status.frames_dropped == 4)
    assert it.listener.status.state == MapStatus.PAUSED
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=False)).success
    it.play(images, WORLD.frames[4:8])
    status = it.settle(8)
    assert (status.frames_used, status.frames_dropped) == (4, 4)
    assert status.state == MapStatus.MAPPING


def test_save_map_writes_below_map_directory_only(bench: Any, tmp_path: Path) -> None:
    directory = tmp_path / "maps"
    it = bench(map_directory=str(directory))

    def save(name: str) -> SaveMap.Response:
        return it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name=name))

    assert "no map yet" in save("early").message
    it.play(it.publisher(), WORLD.frames[:6])
    it.spin_until(lambda: it.listener.status.frames_received == 6)
    for name in ("", ".", "..", "../up", "a/b", "/etc/map", "a\\b", "a b", "~", "a\n"):
        refused = save(name)
        assert not refused.success and refused.folder == "" and refused.message
    saved = save("office-1")
    assert saved.success and saved.folder == str(directory / "office-1")
    lines = (directory / "office-1" / "trajectory.tum").read_text().splitlines()
    assert len(lines) == 6  # those of the chunk that was not full are in it
    again = save("office-1")
    assert not again.success and "exists" in again.message
    assert [path.name for path in directory.iterdir()] == ["office-1"]
    model = json.loads((directory / "office-1" / "manifest.json").read_text())["model"]
    assert len(load_map(directory / "office-1", MapModel(**model)).submaps) == 1
    assert it.listener.status.state == MapStatus.MAPPING


def test_a_late_joiner_is_given_the_map(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    late: list[Any] = []
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    it.spin(0.5)
    kind = type(it.listener.heard["/mapping/map_cloud"][0])
    it.helper.create_subscription(kind, "/mapping/map_cloud", late.append, latched)
    it.spin_until(lambda: late)
    points, colors = read_cloud(late[-1])
    assert late[-1].header.frame_id == "map"
    assert len(points) == len(colors) == it.listener.status.map_points > 1000


def test_the_whole_map_is_sent_no_more_often_than_asked_for(bench: Any) -> None:
    it = bench(publish__map_cloud_period=600.0)
    it.play(it.publisher(), WORLD.frames, period=0.05)
    it.settle(16)
    it.spin(0.5)
    assert len(it.listener.heard["/mapping/map_cloud"]) == 1


def test_the_whole_map_is_sent_only_when_it_changed(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames)
    it.settle(16)
    it.spin_until(lambda: it.listener.heard["/mapping/path"])
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 16)
    it.spin(0.2)
    sent = len(it.listener.heard["/mapping/map_cloud"])
    it.spin(1.0)
    assert len(it.listener.heard["/mapping/map_cloud"]) == sent


def test_a_failing_chunk_is_reported_and_mapping_goes_on(bench: Any) -> None:
    class Tripping(TruthPredictor):
        calls = 0

        def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("the model tripped")
            return super().predict(frames, cache)

    it = bench(Tripping(WORLD))
    images = it.publisher()
    it.play(images, WORLD.frames[:8])
    it.spin_until(lambda: it.listener.status.state == MapStatus.ERROR)
    assert "the model tripped" in it.listener.status.message
    it.play(images, WORLD.frames[8:])
    status = it.settle(16)
    assert status.state == MapStatus.MAPPING
    assert (status.frames_used, status.frames_dropped) == (12, 4)


def test_parameters_are_refused_with_the_limit_over_the_wire(bench: Any) -> None:
    it = bench()
    request = SetParameters.Request(
        parameters=[Parameter("chunk.size", value=999).to_parameter_msg()]
    )
    (result,) = it.call(SetParameters, "/mapping/set_parameters", request).results
    assert not result.successful and "64" in result.reason


def test_a_chunk_size_set_at_run_time_counts_from_the_next_reset(bench: Any) -> None:
    it = bench(chunk__max_wait=5.0)
    images = it.publisher()
    request = SetParameters.Request(
        parameters=[Parameter("chunk.size", value=2).to_parameter_msg()]
    )
    assert it.call(SetParameters, "/mapping/set_parameters", request).results[0].successful
    it.play(images, WORLD.frames[:2])
    it.spin_until(lambda: it.listener.status.frames_received == 2)
    it.spin(0.3)
    assert it.listener.status.queue_length == 2
    assert it.call(Trigger, "/mapping/reset", Trigger.Request()).success
    it.play(images, WORLD.frames[2:4])
    it.spin_until(lambda: it.listener.status.frames_used == 2, seconds=3.0)


def test_status_and_diagnostics_say_which_model_runs_and_what_is_missing(bench: Any) -> None:
    it = bench()
    it.spin_until(lambda: it.listener.heard["/diagnostics"])
    it.spin_until(lambda: it.listener.status.state == MapStatus.WAITING)
    status = it.listener.status
    assert "no image publisher on /image" in status.message
    assert (status.checkpoint, status.is_trained, status.device) == ("truth", True, "cpu")
    assert (status.scale_source, status.is_metric) == ("fixed", False)
    parts = {part.name: part for part in it.listener.heard["/diagnostics"][-1].status}
    assert set(parts) == {
        f"/mapping: {name}"
        for name in ("images", "model", "mapping", "scale", "robot", "transforms")
    }
    assert "no image publisher" in parts["/mapping: images"].message
    values = {value.key for value in parts["/mapping: model"].values}
    assert "backend: cv_bridge" in values
