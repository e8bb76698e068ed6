"""Whatever QoS others publish with, messages arrive, or the node says why not, and what to do."""

import itertools
import time
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.duration import Duration
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSLivelinessPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from ros.node_bench import NodeBench, depth_message, image_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2

from flashvggt_ros.ros.messages import odometry_message, time_message
from flashvggt_ros.worlds import look, make_world, walk

WORLD = make_world(walk(8))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = QoSDurabilityPolicy.VOLATILE, QoSDurabilityPolicy.TRANSIENT_LOCAL
OFFERS = list(itertools.product((RELIABLE, BEST_EFFORT), (VOLATILE, LATCHED)))
TOPICS = [f"/cam{number}/image" for number in range(len(OFFERS))]


def qos(reliability: Any, durability: Any) -> QoSProfile:
    return QoSProfile(depth=20, reliability=reliability, durability=durability)


def arrives(it: NodeBench, publish: Any, has_come: Any, seconds: float = 5.0) -> bool:
    """Publish again and again until it has come, or for some seconds."""
    end = time.monotonic() + seconds
    while not has_come() and time.monotonic() < end:
        publish()
        it.spin(0.05)
    return bool(has_come())


def publish_all(it: NodeBench, publishers: list[Any]) -> Any:
    numbers = itertools.count(1)

    def publish() -> None:
        stamp = time_message(STAMPS[0] + 1_000_000 * next(numbers))
        message = image_message(WORLD.frames[0])
        message.header.stamp = stamp
        for publisher in publishers:
            publisher.publish(message)

    return publish


def said(it: NodeBench) -> str:
    """The newest words on ~/status."""
    return it.listener.status.message if it.listener.status else ""


@pytest.mark.parametrize("asked", ["sensor_data", "reliable"])
def test_every_offer_of_images_arrives_or_is_told_within_two_seconds(
    bench: Any, asked: str
) -> None:
    it = bench(image_topics=TOPICS, image__qos=asked)
    publishers = [
        it.helper.create_publisher(Image, topic, qos(*offer))
        for topic, offer in zip(TOPICS, OFFERS, strict=True)
    ]
    unheard = [
        topic for topic, (reliability, _) in zip(TOPICS, OFFERS, strict=True)
        if asked == "reliable" and reliability == BEST_EFFORT
    ]
    texts = [
        f"publisher /helper of {topic} is BEST_EFFORT, this node asks for RELIABLE, so that "
        "nothing arrives: set image.qos to sensor_data"
        for topic in unheard
    ]
    begin = time.monotonic()
    it.spin_until(lambda: all(text in said(it) for text in texts))
    if texts:
        assert time.monotonic() - begin < 2.0
        it.spin_until(lambda: it.diagnosed("topics").level == DiagnosticStatus.WARN)
        assert all(text in it.diagnosed("topics").message for text in texts)
        assert it.listener.status.has_warning
    heard = set(TOPICS) - set(unheard)
    assert arrives(
        it, publish_all(it, publishers),
        lambda: {cam.topic for cam in it.session._cameras if cam._stream.has_begun} == heard,
    )
    assert ("BEST_EFFORT" in said(it)) is bool(unheard)
    offered = {
        f"publishers of {topic}": f"/helper: {reliability.name}, {durability.name}"
        for topic, (reliability, durability) in zip(TOPICS, OFFERS, strict=True)
    }

    def has_said_offers() -> bool:
        values = {value.key: value.value for value in it.diagnosed("topics").values}
        return offered.items() <= values.items()

    it.spin_until(has_said_offers)


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: f"{offer[0].name} {offer[1].name}")
def test_the_robot_s_topics_and_camera_info_arrive_with_every_offer(bench: Any, offer: Any) -> None:
    it = bench(
        image_topics=["/cam/image/compressed"], tf__base_frame="base_link",
        robot__odometry_topic="/odom", robot__imu_topic="/imu", robot__depth_topics=["/depth"],
    )
    kinds = {
        "/odom": Odometry, "/imu": Imu, "/depth": Image,
        "/cam/camera_info": CameraInfo, "/cam/image/compressed": CompressedImage,
    }
    publishers = {
        topic: it.helper.create_publisher(kind, topic, qos(*offer)) for topic, kind in kinds.items()
    }
    numbers = itertools.count(1)

    def publish() -> None:
        stamp = STAMPS[0] + 1_000_000 * next(numbers)
        odometry = odometry_message(look((0, 0, 0), 0.0), stamp, "odom", "base_link")
        publishers["/odom"].publish(odometry)
        for topic in ("/imu", "/depth", "/cam/camera_info", "/cam/image/compressed"):
            message = depth_message(WORLD, 0) if topic == "/depth" else kinds[topic]()
            message.header.stamp = time_message(stamp)
            publishers[topic].publish(message)

    intake = it.session._cameras[0].intake

    def has_come() -> bool:
        tracks = it.session.robot._takers
        is_heard = [
            track.newest_ns or track.rejections.counts.total() for track in tracks.values()
        ]
        # an empty CompressedImage and an uncalibrated camera_info are refused, and so were heard
        causes = {"camera_info_uncalibrated", "camera_info_invalid"} & set(intake.rejected)
        return all(is_heard) and bool(causes) and len(intake.rejected) > 1

    assert arrives(it, publish, has_come), intake.rejected
    assert not it.session._qos_watch.report(()).problems


def test_a_listener_that_asks_for_more_than_is_offered_is_told_of(bench: Any) -> None:
    it = bench()
    it.helper.create_subscription(
        PointCloud2, "/mapping/cloud", print, qos(RELIABLE, LATCHED)
    )
    text = "subscriber /helper of /mapping/cloud asks for RELIABLE, TRANSIENT_LOCAL"
    it.spin_until(lambda: text in said(it), 2.0)


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        ({"deadline": Duration(seconds=0.5)}, "a deadline of 0.5 s"),
        ({"liveliness_lease_duration": Duration(seconds=2)}, "a liveliness lease of 2 s"),
        ({"liveliness": QoSLivelinessPolicy.MANUAL_BY_TOPIC}, "liveliness MANUAL_BY_TOPIC"),
    ],
)
def test_a_listener_that_sets_a_deadline_or_liveliness_is_told_of(
    bench: Any, demand: dict[str, Any], words: str
) -> None:
    it = bench()
    it.helper.create_subscription(
        PointCloud2, "/mapping/map_cloud", print, QoSProfile(depth=1, **demand)
    )
    text = f"subscriber /helper of /mapping/map_cloud asks for RELIABLE, VOLATILE, {words}"
    it.spin_until(lambda: text in said(it), 2.0)


def test_a_publisher_that_offers_too_little_elsewhere_is_told_what_to_offer(bench: Any) -> None:
    it = bench()
    it.helper.create_publisher(
        PoseWithCovarianceStamped, "/initialpose", qos(BEST_EFFORT, VOLATILE)
    )
    text = "publisher /helper of /initialpose is BEST_EFFORT, this node asks for RELIABLE"
    it.spin_until(lambda: text in said(it), 2.0)
    assert "let it publish RELIABLE" in said(it)


@pytest.mark.parametrize("durability", [VOLATILE, LATCHED], ids=lambda policy: policy.name)
def test_path_and_map_cloud_reach_those_who_join_late_and_volatile_listeners(
    bench: Any, durability: Any
) -> None:
    it = bench()
    images = it.publisher()
    is_late = durability == LATCHED
    heard: dict[str, list[Any]] = {"/mapping/path": [], "/mapping/map_cloud": []}

    def listen() -> None:
        for topic, kind in (("/mapping/path", Path), ("/mapping/map_cloud", PointCloud2)):
            it.helper.create_subscription(
                kind, topic, heard[topic].append, qos(RELIABLE, durability)
            )

    if not is_late:
        listen()
        it.spin(0.5)
    it.play(images, WORLD.frames)
    it.settle(8)
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    it.spin(0.3)
    if is_late:
        listen()
    it.spin_until(lambda: all(heard.values()), 1.0 if is_late else 15.0)
