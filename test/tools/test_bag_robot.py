"""Replay with what a robot recorded beside its images."""

import logging

import numpy as np
import pytest
from recorded_bag import (
    compressed_depth,
    depth_image,
    imu,
    odometry,
    raw_image,
    tf_message,
    transform_stamped,
    write_bag,
)

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry import se3
from flashvggt_ros.model.checkpoint import CheckpointCard
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_robot import BagRobot
from flashvggt_ros.tools.replay import Replay
from flashvggt_ros.tools.replay_report import format_summary
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.worlds import TruthPredictor, look, make_world, walk

WORLD = make_world(walk(24))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
T_BASE_CAMERA = look((0.2, 0.1, 0.4), 0.1, 0.2)
T_WORLD_BASE = WORLD.T_world_camera @ se3.inverse(T_BASE_CAMERA)
R_CAMERA_IMU = se3.matrix_from_quaternion(np.array([0.0, 0.0, 0.6, 0.8]))
MILLISECOND = 1_000_000
IMAGES = "/camera/image_raw"
CARD = CheckpointCard("truth", "0" * 64, is_trained=True, parameters=0, revision="")


def images():
    return [(IMAGES, frame.stamp_ns, raw_image(frame)) for frame in WORLD.frames]


def static():
    edges = [
        transform_stamped(T_BASE_CAMERA, 0, "camera", "base"),
        transform_stamped(se3.pose(R_CAMERA_IMU, np.zeros(3)), 0, "imu_link", "camera"),
    ]
    return [("/tf_static", STAMPS[0] - 50 * MILLISECOND, tf_message(edges))]


def odometry_messages(delay_ns=0):
    """At each image's stamp, recorded ``delay_ns`` later."""
    return [
        ("/odom", stamp + delay_ns, odometry(T, stamp, "base"))
        for stamp, T in zip(STAMPS, T_WORLD_BASE, strict=True)
    ]


def bag_of(path, *parts):
    messages = sorted((message for part in parts for message in part), key=lambda m: m[1])
    return write_bag(path, messages)


def config_of(**values):
    named = {name.replace("__", "."): value for name, value in values.items()}
    return build_config(
        {"image_topics": [IMAGES], "bundle_adjustment.enabled": False, "chunk.size": 4,
         "tf.base_frame": "base", **named}
    )


def replay(bag_path, output, predictor=None, **values):
    with Bag(bag_path) as bag:
        run = Replay(bag, config_of(**values), predictor or TruthPredictor(WORLD), CARD)
        run.run()
        folder = RunFolder(output)
        folder.create()
        return run.write(folder)


def robot_of(bag_path, **values):
    with Bag(bag_path) as bag:
        return BagRobot(bag, config_of(**values))


TRUE_LENGTH = float(
    np.linalg.norm(np.diff(WORLD.T_world_camera[:, :3, 3], axis=0), axis=1).sum()
)


@pytest.mark.parametrize("source", ["topic", "tf"])
def test_odometry_makes_a_replayed_map_metric(tmp_path, source):
    if source == "topic":
        moving = odometry_messages()
        values = {"robot__odometry_topic": "odom"}
    else:
        moving = [
            ("/tf", stamp, tf_message([transform_stamped(T, stamp, "base", "odom")]))
            for stamp, T in zip(STAMPS, T_WORLD_BASE, strict=True)
        ]
        values = {"tf__odom_frame": "odom"}
    bag = bag_of(tmp_path / "bag", images(), static(), moving)
    report = replay(bag, tmp_path / "out", scale__source="odometry", **values)
    assert report["scale"]["is_metric"]
    assert report["scale"]["source"] == "odometry"
    assert 0 < report["scale"]["sigma"] < 0.1
    assert report["path_length_m"] == pytest.approx(TRUE_LENGTH, rel=0.05)
    assert report["up"] == "tf"
    assert report["robot"]["rejected"] == {}
    assert report["robot"]["messages"]["/odom" if source == "topic" else "/tf"] == 24
    assert "by odometry, +-" in format_summary(report, tmp_path)


@pytest.mark.parametrize("name", ["/depth/image", "/depth/image/compressedDepth"])
def test_depth_makes_a_replayed_map_metric(tmp_path, name):
    make = compressed_depth if name.endswith("compressedDepth") else depth_image
    depths = [
        (name, stamp, make(WORLD.depth_images([number])[0], stamp + 3 * MILLISECOND, "camera"))
        for number, stamp in enumerate(STAMPS)
    ]
    bag = bag_of(tmp_path / "bag", images(), depths)
    report = replay(
        bag, tmp_path / "out", robot__depth_topics=[name], scale__source="depth",
        tf__base_frame="",
    )
    assert report["scale"]["source"] == "depth"
    assert report["path_length_m"] == pytest.approx(TRUE_LENGTH, rel=0.05)


def test_an_imu_levels_a_replayed_map(tmp_path):
    readings = [
        ("/imu", stamp + shift * MILLISECOND, imu(
            9.81 * R_CAMERA_IMU.T @ T[2, :3], stamp + shift * MILLISECOND, "imu_link"
        ))
        for stamp, T in zip(STAMPS, WORLD.T_world_camera, strict=True)
        for shift in range(-40, 50, 10)
    ]
    bag = bag_of(tmp_path / "bag", images(), static(), readings)
    report = replay(bag, tmp_path / "out", robot__imu_topic="/imu", gravity__source="imu")
    assert report["up"] == "imu"
    assert report["robot"]["messages"]["/imu"] == len(readings)


def test_without_parameters_nothing_is_read_of_the_robot(tmp_path):
    bag = bag_of(tmp_path / "bag", images(), static(), odometry_messages())
    report = replay(bag, tmp_path / "out", tf__base_frame="")
    assert report["robot"] == {"messages": {}, "lost": {}, "rejected": {}}
    assert not report["scale"]["is_metric"]


def test_what_is_recorded_later_than_the_node_waits_is_not_known(tmp_path):
    bag = bag_of(tmp_path / "bag", images(), odometry_messages(delay_ns=150 * MILLISECOND))
    for timeout, is_known in ((0.2, True), (0.1, False)):
        robot = robot_of(bag, robot__odometry_topic="/odom", tf__lookup_timeout=timeout)
        robot.read_until(STAMPS[5])
        assert (robot.T_odom_base(STAMPS[5]) is not None) == is_known
        robot.close()


def test_a_transform_of_the_future_does_not_keep_those_of_now_away(tmp_path):
    edges = [("/tf", stamp, tf_message([transform_stamped(T, stamp, "base", "odom")]))
             for stamp, T in zip(STAMPS, T_WORLD_BASE, strict=True)]
    wild = transform_stamped(T_WORLD_BASE[0], STAMPS[0] + 3600 * 10**9, "base", "odom")
    edges.insert(2, ("/tf", STAMPS[1], tf_message([wild])))
    bag = bag_of(tmp_path / "bag", images(), edges)
    robot = robot_of(bag, tf__odom_frame="odom", tf__base_frame="base")
    robot.read_until(STAMPS[5])
    np.testing.assert_allclose(robot.T_odom_base(STAMPS[5]), T_WORLD_BASE[5], atol=1e-9)
    robot.close()


@pytest.mark.parametrize("source", ["topic", "tf"])
def test_a_recording_that_was_paused_is_known_from_its_first_message_on(tmp_path, source):
    if source == "topic":
        values = {"robot__odometry_topic": "/odom"}
        moving = [("/odom", stamp, odometry(T, stamp, "base")) for stamp, T in paused()]
    else:
        values = {"tf__odom_frame": "odom"}
        moving = [("/tf", stamp, tf_message([transform_stamped(T, stamp, "base", "odom")]))
                  for stamp, T in paused()]
    robot = robot_of(bag_of(tmp_path / "bag", images(), moving), **values)
    for stamp, T in paused():
        robot.read_until(stamp)
        np.testing.assert_allclose(robot.T_odom_base(stamp), T, atol=1e-9)
    robot.close()


def paused():
    """Stamps and poses of the robot, two minutes apart in the middle."""
    for number, (stamp, T) in enumerate(zip(STAMPS, T_WORLD_BASE, strict=True)):
        yield stamp + (number >= 12) * 120 * 10**9, T


def test_a_topic_that_the_bag_lacks_is_said_and_the_rest_is_used(tmp_path, caplog):
    bag = bag_of(tmp_path / "bag", images(), odometry_messages())
    with caplog.at_level(logging.WARNING):
        robot = robot_of(bag, robot__odometry_topic="/odom", robot__imu_topic="/imu")
    assert "has no /imu" in caplog.text
    robot.read_until(STAMPS[-1])
    np.testing.assert_allclose(robot.T_odom_base(STAMPS[3]), T_WORLD_BASE[3], atol=1e-9)
    assert robot.up_camera("camera", STAMPS[3]) is None
    robot.close()


def test_bad_messages_are_counted_by_topic_and_cause(tmp_path):
    broken = T_WORLD_BASE[2].copy()
    broken[0, 3] = np.nan
    moving = [
        *odometry_messages()[:2],
        ("/odom", STAMPS[2], odometry(broken, STAMPS[2], "base")),
        ("/odom", STAMPS[3], odometry(T_WORLD_BASE[0], STAMPS[0], "base")),
        *odometry_messages()[4:],
    ]
    bag = bag_of(tmp_path / "bag", images(), static(), moving)
    report = replay(bag, tmp_path / "out", robot__odometry_topic="/odom")
    assert report["robot"]["rejected"] == {"/odom": {"not_finite": 1, "stamp_backwards": 1}}
    assert report["frames_used"] == 24


def test_a_topic_of_another_type_is_refused_message_by_message(tmp_path):
    bag = bag_of(tmp_path / "bag", images(), static())
    robot = robot_of(bag, robot__odometry_topic=IMAGES)
    robot.read_until(STAMPS[-1])
    assert robot.rejected == {IMAGES: {"malformed": 24}}
    robot.close()


def test_static_transforms_count_for_images_recorded_before_them(tmp_path):
    late = [("/tf_static", STAMPS[-1], static()[0][2])]
    bag = bag_of(tmp_path / "bag", images(), late)
    robot = robot_of(bag)
    robot.read_until(STAMPS[0])
    np.testing.assert_allclose(robot.T_base_camera("camera", STAMPS[0]), T_BASE_CAMERA, atol=1e-9)
    robot.close()
