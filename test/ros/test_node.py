"""The mapping node over real DDS, with a predictor that knows the world."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flashvggt_ros.msg import MapStatus
from geometry_msgs.msg import TransformStamped
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros.predictors import tripping
from tf2_msgs.msg import TFMessage

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.ros.clouds import read_cloud
from flashvggt_ros.ros.messages import matrix, stamp_ns, transform_stamped
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import TruthPredictor, look, make_world, walk

WORLD = make_world(walk(16))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]


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
    for topic in ("/mapping/path", "/mapping/map_cloud", "/mapping/cloud"):
        assert it.listener.stamps(topic) and set(it.listener.stamps(topic)) <= set(STAMPS)
    stamps = it.listener.stamps("/mapping/status")  # zero before the first image
    assert stamps and set(stamps) <= {*STAMPS, 0}
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


def test_a_map_that_moves_while_nothing_new_is_seen_takes_tf_along(bench: Any) -> None:
    it = bench(tf__max_correction_rate=0.2, gravity__source="none")
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin_until(lambda: len(it.listener.heard["/mapping/odometry"]) == 8)
    it.spin(0.3)
    before = matrix(it.listener.transforms[-1].transform)
    shift = se3.pose(np.eye(3), np.array([0.1, -0.2, 0.0]))

    def move(slam: Slam) -> None:
        for submap in slam.map.submaps:
            submap.S_map_submap = Sim3.from_pose(shift, 1.0) @ submap.S_map_submap
        it.session.outputs.publish_moved(slam.map)

    it.session.worker.submit(move).result(10)
    it.spin(0.3)  # no image: no time passes
    np.testing.assert_allclose(matrix(it.listener.transforms[-1].transform), before, atol=1e-9)
    it.session.outputs.poses._limiter.correction(before, STAMPS[7] + 10_000_000_000, 0.2)
    it.spin(0.3)
    np.testing.assert_allclose(
        matrix(it.listener.transforms[-1].transform), shift @ before, atol=1e-9
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


def test_two_cameras_of_one_frame_are_told_of_until_each_has_its_own(bench: Any) -> None:
    it = bench(image_topics=["left/image", "right/image"])
    sides = [it.publisher("/left/image"), it.publisher("/right/image")]
    for frame, images in zip(WORLD.frames[:4], itertools.cycle(sides), strict=False):
        it.play(images, [frame], period=0.01)
    text = "images of /left/image and /right/image have the same frame_id 'camera'"
    it.spin_until(lambda: text in it.listener.status.message)
    assert it.listener.status.has_warning and text in it.diagnosed("images").message
    it.play(sides[1], [replace(WORLD.frames[5], camera="other")])
    it.spin_until(lambda: "the same frame_id" not in it.listener.status.message)


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
    it = bench(tripping(WORLD))
    images = it.publisher()
    it.play(images, WORLD.frames[:8])
    it.spin_until(lambda: it.listener.status.state == MapStatus.ERROR)
    assert "the model tripped" in it.listener.status.message
    it.play(images, WORLD.frames[8:])
    status = it.settle(16)
    assert status.state == MapStatus.MAPPING
    assert (status.frames_used, status.frames_dropped) == (12, 4)


def test_status_and_diagnostics_say_which_model_runs_and_what_is_missing(bench: Any) -> None:
    it = bench()
    it.spin_until(lambda: it.listener.status and it.listener.status.state == MapStatus.WAITING)
    status = it.listener.status
    assert "no image publisher on /image" in status.message
    assert (status.checkpoint, status.is_trained, status.device) == ("truth", True, "cpu")
    assert (status.scale_source, status.is_metric) == ("fixed", False)
    assert "no image publisher" in it.diagnosed("images").message
    parts = {part.name: part for part in it.listener.heard["/diagnostics"][-1].status}
    assert set(parts) == {
        f"/mapping: {name}"
        for name in (
            "images", "topics", "model", "mapping", "scale", "robot", "transforms", "node"
        )
    }
    values = {value.key for value in parts["/mapping: model"].values}
    assert "backend: cv_bridge" in values


@pytest.mark.parametrize("is_started", [False, True])
def test_diagnostics_are_stamped_with_the_node_s_time_also_before_any_image(
    bench: Any, is_started: bool
) -> None:
    it = bench(is_started=is_started)
    now_ns = it.helper.get_clock().now().nanoseconds
    it.spin_until(lambda: it.listener.stamps("/diagnostics")[-1:] > [now_ns])
    assert max(it.listener.stamps("/diagnostics")) <= it.helper.get_clock().now().nanoseconds
