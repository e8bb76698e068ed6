"""A robot asked through known transforms and messages."""

import logging

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_messages import header, image, imu, odometry, vector

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.sensors.sensed_robot import SensedRobot
from flashvggt_ros.worlds import look

START = 1_700_000_000_000_000_000
T_BASE_CAMERA = look((0.2, 0.1, 0.4), 0.3, 0.2)
T_BASE_FOOT = se3.pose(np.eye(3), np.array([0.0, 0.0, -0.1]))
R_IMU = Rotation.from_euler("xyz", [0.4, -0.3, 2.0]).as_matrix()


class Tree:
    def __init__(self, **known):
        self.known = known
        self.asked = []

    def lookup(self, target, source, stamp_ns):
        self.asked.append((target, source, stamp_ns))
        if target == source:
            return np.eye(4)
        try:
            return self.known[f"{target}_{source}"]
        except KeyError:
            raise LookupError(f"{source} is unknown") from None


def robot(tree, waits=None, **values):
    named = {name.replace("__", "."): value for name, value in values.items()}
    config = build_config({"tf.base_frame": "base", **named})
    return SensedRobot(config, tree.lookup, *([waits] if waits else []))


def test_nothing_is_known_of_a_robot_without_frames_and_topics():
    it = robot(Tree(base_cam=T_BASE_CAMERA), tf__base_frame="")
    assert it.T_base_camera("cam", START) is None
    assert it.T_odom_base(START) is None
    assert it.up_camera("cam", START) is None
    assert it.depth("cam", START) is None
    assert (it.topics, it.needs_transforms) == ((), False)


def test_the_camera_s_place_is_that_of_tf_at_the_stamp():
    tree = Tree(base_cam=T_BASE_CAMERA)
    it = robot(tree)
    assert np.array_equal(it.T_base_camera("cam", START), T_BASE_CAMERA)
    assert tree.asked == [("base", "cam", START)]
    assert it.needs_transforms


def test_a_missing_transform_is_said_once_and_never_the_identity(caplog):
    it = robot(Tree())
    with caplog.at_level(logging.WARNING):
        assert it.T_base_camera("cam", START) is None
        assert it.T_base_camera("cam", START + 1) is None
    assert len(caplog.records) == 1


def test_without_an_odometry_topic_the_pose_is_that_of_tf():
    T = look((3, 1, 0), 0.2)
    assert np.array_equal(
        robot(Tree(odom_base=T), tf__odom_frame="odom").T_odom_base(START), T
    )
    assert robot(Tree(odom_base=T)).T_odom_base(START) is None


def test_odometry_of_another_frame_of_the_robot_is_carried_to_the_base():
    it = robot(Tree(foot_base=se3.inverse(T_BASE_FOOT)), robot__odometry_topic="/odom")
    it.take("/odom", odometry(START, (1, 0, 0), child="foot"))
    np.testing.assert_allclose(it.T_odom_base(START)[:3, 3], [1, 0, 0.1], atol=1e-12)
    lost = robot(Tree(), robot__odometry_topic="/odom")
    lost.take("/odom", odometry(START, (1, 0, 0), child="foot"))
    assert lost.T_odom_base(START) is None


def test_odometry_of_the_base_itself_needs_no_transform():
    it = robot(Tree(), robot__odometry_topic="/odom")
    it.take("/odom", odometry(START, (1, 2, 0), child="base"))
    np.testing.assert_allclose(it.T_odom_base(START)[:3, 3], [1, 2, 0])


def test_up_is_turned_from_the_imu_into_the_camera():
    tree = Tree(cam_imu_link=se3.pose(R_IMU, np.array([5.0, 5.0, 5.0])))
    it = robot(tree, robot__imu_topic="/imu", tf__base_frame="")
    assert it.needs_transforms
    for number in range(20):
        it.take("/imu", imu(START + number * 10_000_000, linear_acceleration=vector((0, 0, 9.8))))
    up = it.up_camera("cam", START + 100_000_000)
    np.testing.assert_allclose(up, R_IMU[:, 2], atol=1e-12)
    assert it.up_camera("other", START + 100_000_000) is None


def depth_message(stamp_ns, camera, value=2000):
    return image(np.full((6, 8), value, np.uint16), "16UC1", header=header(stamp_ns, camera))


def test_each_camera_has_the_depth_of_its_own_frame():
    it = robot(Tree(), robot__depth_topics=["/left", "/right"])
    it.take("/left", depth_message(START, "left", 2000))
    it.take("/right", depth_message(START, "right", 3000))
    assert it.depth("left", START)[0, 0] == pytest.approx(2.0)
    assert it.depth("right", START)[0, 0] == pytest.approx(3.0)
    assert it.depth("third", START) is None


def test_the_depth_tolerance_is_a_parameter():
    it = robot(Tree(), robot__depth_topics=["/depth"], robot__depth_tolerance=0.05)
    it.take("/depth", depth_message(START, "cam"))
    assert it.depth("cam", START + 49_000_000) is not None
    assert it.depth("cam", START + 51_000_000) is None


def test_depth_that_is_not_registered_to_an_image_is_said(caplog):
    it = robot(Tree(), robot__depth_topics=["/depth"])
    it.take("/depth", depth_message(START, "depth_optical"))
    with caplog.at_level(logging.WARNING):
        for _ in range(40):
            assert it.depth("color_optical", START) is None
    assert len(caplog.records) == 1
    assert "registered" in caplog.text
    assert "depth_optical" in caplog.text


def test_only_what_is_on_its_way_is_waited_for():
    waited = []

    def wait(is_reached):
        waited.append(is_reached())
        it.take("/odom", odometry(START + 10, (1, 0, 0), child="base"))

    it = robot(Tree(), wait, robot__odometry_topic="/odom")
    assert it.T_odom_base(START) is None  # nothing has ever come: no waiting
    assert waited == []
    it.take("/odom", odometry(START - 10, (0, 0, 0), child="base"))
    np.testing.assert_allclose(it.T_odom_base(START)[:3, 3], [0.5, 0, 0], atol=1e-12)
    assert waited == [False]
    it.T_odom_base(START + 1)
    assert waited == [False]


def test_bad_messages_are_counted_by_topic_and_clear_lets_stamps_begin_anew():
    it = robot(Tree(), robot__odometry_topic="/odom", robot__imu_topic="/imu",
               robot__depth_topics=["/depth"])
    assert set(it.topics) == {"/odom", "/imu", "/depth"}
    it.take("/odom", odometry(START, child="base"))
    it.take("/odom", odometry(START - 5, child="base"))
    it.take("/imu", None)
    it.take("/depth", depth_message(0, "cam"))
    it.refuse("/depth", RejectedInput("malformed", "it cannot be read"))
    assert it.rejected == {
        "/odom": {"stamp_backwards": 1}, "/imu": {"malformed": 1},
        "/depth": {"stamp_zero": 1, "malformed": 1},
    }
    it.clear()
    assert it.T_odom_base(START) is None
    it.take("/odom", odometry(START - 5, (7, 0, 0), child="base"))
    assert it.T_odom_base(START - 5)[0, 3] == 7
