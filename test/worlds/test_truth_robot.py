"""The robot's sensors tell the truth up to the errors they are given."""

import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.worlds import OdometryErrors, TruthRobot, drive, mount, photograph
from flashvggt_ros.worlds.furnished_room import SMALL, furnished_room
from flashvggt_ros.worlds.truth_robot import DEPTH_RANGE, drifting_odometry

MOUNTS = {"left": mount(1.0, 0.2, side=0.1), "right": mount(1.0, 0.2, side=-0.1)}
PATH = drive([(-2.0, -1.0), (2.0, -1.0), (2.0, 1.0)], 0.25)
WORLD = photograph(furnished_room(), PATH, MOUNTS, delay_ns=2_000_000, pinhole=SMALL)
PERFECT = OdometryErrors(noise=0.0, outliers=0.0, yaw_drift=0.0)


def odometry(errors: OdometryErrors, seed: int = 0) -> np.ndarray:
    """T_odom_base at each frame of a long straight drive in steps of 0.2 m."""
    straight = drive([(0.0, 0.0), (1000.0, 0.0)], 0.2)
    return drifting_odometry(straight, errors, np.random.default_rng(seed))


def test_perfect_odometry_and_mounts_give_the_true_motion_of_each_camera() -> None:
    robot = TruthRobot(WORLD, MOUNTS, odometry=PERFECT)
    poses = []
    for frame in WORLD.frames:
        T_odom_base = robot.T_odom_base(frame.stamp_ns)
        T_base_camera = robot.T_base_camera(frame.camera, frame.stamp_ns)
        assert T_odom_base is not None and T_base_camera is not None
        poses.append(T_odom_base @ T_base_camera)
    T_world_odom = PATH[0]
    np.testing.assert_allclose(T_world_odom @ np.stack(poses), WORLD.T_world_camera, atol=1e-9)


def test_two_cameras_take_images_2_ms_apart_from_the_same_base_pose() -> None:
    left, right = WORLD.frames[:2]
    assert (left.camera, right.camera) == ("left", "right")
    assert right.stamp_ns - left.stamp_ns == 2_000_000
    baseline = se3.inverse(WORLD.T_world_camera[0]) @ WORLD.T_world_camera[1]
    np.testing.assert_allclose(baseline[:3, 3], [0.2, 0, 0], atol=1e-12)


def test_steps_of_odometry_are_off_by_5_percent_and_30_percent_of_them_are_wrong() -> None:
    poses = odometry(OdometryErrors())
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) / 0.2
    is_near = np.abs(steps - 1) < 0.16
    assert 0.68 < is_near.mean() < 0.78  # some slips are small
    assert np.std(steps[is_near]) == pytest.approx(0.05, rel=0.2)
    assert steps.max() > 2


def test_odometry_drifts_in_yaw_by_what_it_is_given() -> None:
    poses = odometry(OdometryErrors(noise=0.0, outliers=0.0, yaw_drift=0.001))
    turn = se3.rotation_angle(poses[500, :3, :3])
    assert turn == pytest.approx(0.1, rel=1e-6)


def test_a_robot_that_stands_does_not_slip() -> None:
    still = np.repeat(PATH[:1], 20, axis=0)
    poses = drifting_odometry(still, OdometryErrors(outliers=1.0), np.random.default_rng(0))
    np.testing.assert_allclose(poses, np.tile(np.eye(4), (20, 1, 1)), atol=1e-12)


def test_up_is_off_by_about_a_degree() -> None:
    robot = TruthRobot(WORLD, MOUNTS, up_noise=np.radians(1.0))
    angles = []
    for frame, T_world_camera in zip(WORLD.frames, WORLD.T_world_camera, strict=True):
        up_camera = robot.up_camera(frame.camera, frame.stamp_ns)
        assert up_camera is not None
        assert np.linalg.norm(up_camera) == pytest.approx(1.0)
        up_world = T_world_camera[:3, :3] @ up_camera
        angles.append(np.degrees(np.arccos(min(1.0, up_world[2]))))
    assert 0.6 < np.median(angles) < 1.8


def test_depth_has_holes_and_ends_at_its_range_and_is_true_elsewhere() -> None:
    robot = TruthRobot(WORLD, MOUNTS, depth_noise=0.01)
    frame = WORLD.frames[5]
    depth, true = robot.depth(frame.camera, frame.stamp_ns), WORLD.depth[5, ::2, ::2]
    assert depth is not None
    assert depth.dtype == np.float32 and depth.shape == true.shape
    assert 0.05 < np.mean(depth == 0) < 0.7
    assert (depth[true > DEPTH_RANGE] == 0).all()
    is_measured = depth > 0
    assert np.std(depth[is_measured] / true[is_measured] - 1) == pytest.approx(0.01, rel=0.2)


def test_what_a_robot_does_not_have_it_does_not_know() -> None:
    robot = TruthRobot(WORLD, MOUNTS, knows_mounts=False)
    frame = WORLD.frames[0]
    assert robot.T_base_camera(frame.camera, frame.stamp_ns) is None
    assert robot.T_odom_base(frame.stamp_ns) is None
    assert robot.up_camera(frame.camera, frame.stamp_ns) is None
    assert robot.depth(frame.camera, frame.stamp_ns) is None


def test_a_robot_says_the_same_when_it_is_asked_again() -> None:
    robots = [TruthRobot(WORLD, MOUNTS, odometry=OdometryErrors(), up_noise=0.02, depth_noise=0.01)
              for _ in "ab"]
    frame = WORLD.frames[7]
    for question in ("up_camera", "depth"):
        first, second = (getattr(robot, question)(frame.camera, frame.stamp_ns) for robot in robots)
        np.testing.assert_array_equal(first, second)
    first, second = (robot.T_odom_base(frame.stamp_ns) for robot in robots)
    np.testing.assert_array_equal(first, second)
