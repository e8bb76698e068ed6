"""The mapping node takes images and camera_info of every kind, or counts why not."""

import array
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from ros.node_bench import RELIABLE, image_message, total
from sensor_messages import without_pixels
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from flashvggt_ros.frame import Frame
from flashvggt_ros.model.model_config import PRESETS
from flashvggt_ros.model.preprocess import Preprocessor
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.ros.node_lifetime import load_model
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(16))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]


def text_of(it: Any) -> str:
    """The newest words on ~/status."""
    return it.listener.status.message if it.listener.status else ""


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


def _camera() -> Iterator[Node]:
    """A node with a DDS participant of its own, as in a process of its own.

    One participant cannot carry two types on one topic, not even one after the other.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("camera", context=context, use_global_arguments=False)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


camera = pytest.fixture(_camera)
stranger = pytest.fixture(_camera)


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


def test_a_driver_that_is_started_anew_with_another_type_is_heard(
    bench: Any, camera: Node
) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames[:4])
    it.settle(4)
    it.helper.destroy_publisher(images)
    it.spin_until(lambda: "nobody publishes there" in text_of(it))
    images = camera.create_publisher(CompressedImage, "/image", RELIABLE)
    it.spin_until(images.get_subscription_count)
    for frame in WORLD.frames[4:8]:
        images.publish(compressed_message(frame, "jpeg"))
        it.spin(0.02)
    assert it.settle(8).frames_used == 8


def test_a_driver_that_is_started_anew_without_its_compressed_topic_is_heard(
    bench: Any, camera: Node
) -> None:
    it = bench(image_topics=["/cam/image_raw"])
    images = camera.create_publisher(CompressedImage, "/cam/image_raw/compressed", RELIABLE)
    it.spin_until(images.get_subscription_count)
    images.publish(compressed_message(WORLD.frames[0], "jpeg"))
    it.spin_until(lambda: it.listener.status and it.listener.status.frames_received == 1)
    camera.destroy_publisher(images)
    it.spin_until(lambda: "nobody publishes there" in text_of(it))
    it.play(it.publisher("/cam/image_raw"), WORLD.frames[1:5])
    assert it.settle(5).frames_used == 5
    assert it.session._cameras[0].topic == "/cam/image_raw"


def test_a_publisher_of_another_type_costs_few_images_of_the_right_one(
    bench: Any, camera: Node, stranger: Node
) -> None:
    it = bench(image_topics=["/cam/image_raw"])
    stranger.create_publisher(CompressedImage, "/cam/image_raw", RELIABLE)  # says nothing
    it.spin_until(lambda: it.session._cameras[0].is_doubtful)
    images = camera.create_publisher(Image, "/cam/image_raw", RELIABLE)
    begin = time.monotonic()
    it.spin_until(images.get_subscription_count)
    assert time.monotonic() - begin < 0.9  # more than 1.0 where the silence is waited for
    it.play(images, WORLD.frames[:4])
    assert it.settle(4).frames_used == 4
    assert not it.session._cameras[0].is_doubtful


def test_an_image_that_turns_out_to_be_broken_in_decoding_is_rejected_with_its_cause(
    bench: Any, camera: Node
) -> None:
    it = bench(image_topics=["/cam/image_raw"])  # subscribes once the publisher is known
    images = camera.create_publisher(CompressedImage, "/cam/image_raw/compressed", RELIABLE)
    it.spin_until(images.get_subscription_count)
    for i, frame in enumerate(WORLD.frames[:4]):
        message = compressed_message(frame, "png")
        if i == 1:
            message.data = array.array("B", without_pixels(message.data.tobytes()))
        images.publish(message)
        it.spin(0.02)
    status = it.settle(4)
    assert (status.frames_used, status.frames_rejected) == (3, 1)
    assert dict(zip(status.rejected_causes, status.rejected_counts, strict=True)) == {
        "undecodable": 1
    }


def test_cameras_are_looked_for_twice_a_second_at_most(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = bench(image_topics=["/one", "/other"], publish__status_period=60.0)
    asked: list[str] = []
    ask = it.node.get_publishers_info_by_topic

    def count(topic: str) -> Any:
        asked.append(topic)
        return ask(topic)

    monkeypatch.setattr(it.node, "get_publishers_info_by_topic", count)
    it.spin(1.9)
    assert 0 < asked.count("/one") <= 4 and 0 < asked.count("/other/compressed") <= 4
    it.publisher("/one")
    it.spin_until(lambda: it.session._cameras[0].is_connected, seconds=1.0)


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
    it = bench(reduction=preprocessor.reduction)
    images = it.publisher()
    it.play(images, WORLD.frames[:2])
    tiny = Frame(STAMPS[1] + 1, "camera", WORLD.frames[0].image[:8, :8].copy(), None)
    it.play(images, [tiny])
    it.play(images, WORLD.frames[2:4])
    status = it.settle(5)
    assert (status.frames_used, status.frames_rejected) == (4, 1)
    assert list(status.rejected_causes) == ["unfit_for_model"]


def test_a_camera_whose_images_become_upright_is_mapped_on(bench: Any) -> None:
    it = bench(
        load=load_model, device="cpu", chunk__size=2, submap__max_frames=4, chunk__max_wait=60.0
    )
    images = it.publisher()
    upright = [replace(f, image=np.ascontiguousarray(np.rot90(f.image))) for f in WORLD.frames]
    it.play(images, [*WORLD.frames[:2], *upright[2:8]], period=0.1)
    it.spin_until(lambda: it.listener.status.frames_used == 8, seconds=60.0)
    assert it.listener.status.submaps > 1


def test_a_topic_name_that_is_none_is_refused_in_configure(bench: Any) -> None:
    it = bench(is_started=False, image_topics=["bad?name"])
    assert it.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "'bad?name', which is no topic name" in it.failure


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ({"image_topics": ["image", "/image"]}, "image_topics names /image twice"),
        ({"image_topics": ["/camera_info"]}, "/camera_info is to bring images or camera_info"),
        ({"image_topics": ["/tf"]}, "/tf is to bring images"),
        ({"image_topics": ["/mapping/path"]}, "/mapping/path is to bring images"),
        ({"image_topics": ["/initialpose"]}, "/initialpose is to bring images"),
        ({"robot__imu_topic": "/image"}, "/image is to bring images"),
        ({"robot__imu_topic": "/mapping/path"}, "/mapping/path is to be a topic of the robot"),
        ({"robot__imu_topic": "/x", "robot__depth_topics": ["x"]}, "/x is to be a topic of the"),
        ({"image_topics": ["/" + 300 * "a"]}, "which is no topic name"),
        ({"image_topics": ["{robot}/image"]}, "image_topics has '{robot}/image', which is no"),
    ],
)  # fmt: skip
def test_a_topic_that_is_named_twice_or_is_in_use_is_refused_in_configure(
    bench: Any, topics: dict[str, Any], said: str
) -> None:
    it = bench(is_started=False, **topics)
    assert it.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert said in it.failure


def test_a_camera_of_which_every_image_is_refused_is_told_of_in_the_status_with_the_reason(
    bench: Any,
) -> None:
    it = bench(image__max_megapixels=0.01)
    images = it.publisher()
    text = "all images on /image are refused: the image is 160x120"
    end = time.monotonic() + 15
    for number in itertools.count(1):
        it.play(images, [replace(WORLD.frames[0], stamp_ns=STAMPS[0] + number)], period=0.05)
        if text in text_of(it):
            break
        assert time.monotonic() < end
    assert it.listener.status.has_warning and "raise image.max_megapixels" in text_of(it)
    tiny = Frame(STAMPS[1], "camera", WORLD.frames[0].image[:60, :80].copy(), None)
    it.play(images, [tiny])
    it.spin_until(lambda: "are refused" not in text_of(it))


def test_two_cameras_may_share_their_camera_info(bench: Any) -> None:
    it = bench(image_topics=["/stereo/left", "/stereo/right"])
    it.spin_until(lambda: it.helper.count_subscribers("/stereo/camera_info") == 2)
