"""Errors of trajectories are what they are known to be."""

import math

import numpy as np
import pytest

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.tools.backend_checks.mapped_world import (
    anchored,
    ate,
    drift_of,
    offsets_from_start,
    settings,
    tilt,
)
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(20))


def placed(S_map_world: Sim3) -> Trajectory:
    """WORLD's walk as a map that lies at S_map_world would have it."""
    stamps = tuple(FrameStamp(frame.stamp_ns, frame.camera) for frame in WORLD.frames)
    return Trajectory(stamps, S_map_world.transform_pose(WORLD.T_world_camera))


def test_a_trajectory_in_another_frame_has_no_error() -> None:
    turn = se3.matrix_from_quaternion(np.array([0.0, 0.0, 0.4, 1.0]))
    trajectory = placed(Sim3(1.0, turn, np.array([1.0, 2.0, 3.0])))
    assert ate(trajectory, WORLD, with_scale=False) < 1e-9
    assert offsets_from_start(trajectory, WORLD, 5, 5).max() < 1e-9
    assert tilt(trajectory, WORLD) < 1e-9


def test_a_wrong_scale_is_an_error_after_se3_but_not_after_sim3() -> None:
    trajectory = placed(Sim3(1.1, np.eye(3), np.zeros(3)))
    assert ate(trajectory, WORLD, with_scale=True) < 1e-9
    places = WORLD.T_world_camera[:, :3, 3]
    spread = np.sqrt(((places - places.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert ate(trajectory, WORLD, with_scale=False) == pytest.approx(0.1 * spread)


def test_a_tilted_map_is_tilted_by_its_angle() -> None:
    turn = se3.matrix_from_quaternion(np.array([math.sin(0.05), 0.0, 0.0, math.cos(0.05)]))
    assert tilt(placed(Sim3(2.0, turn, np.zeros(3))), WORLD) == pytest.approx(0.1)


def test_an_end_that_has_moved_is_off_by_as_much() -> None:
    trajectory = placed(Sim3.identity())
    trajectory.T_map_camera[-5:, :3, 3] += [0.0, 0.3, 0.4]
    offsets = offsets_from_start(trajectory, WORLD, 10, 5)
    np.testing.assert_allclose(offsets, 0.5, atol=1e-9)


def test_poses_on_a_straight_line_fix_all_of_an_alignment() -> None:
    poses = np.repeat(walk(1), 5, axis=0)
    poses[:, 0, 3] += np.arange(5)
    turn = se3.matrix_from_quaternion(np.array([0.3, 0.2, 0.4, 1.0]))
    S_world_map = Sim3(1.7, turn, np.array([1.0, 2.0, 3.0]))
    found = anchored(poses, S_world_map.transform_pose(poses))
    np.testing.assert_allclose(found.matrix, S_world_map.matrix, atol=1e-9)


def test_drift_reaches_2_percent_with_the_new_frames_of_one_submap() -> None:
    assert drift_of(settings({})).frames == 16  # 24, less 2 shared, in chunks of 8
    assert drift_of(settings({"submap.max_frames": 34})).frames == 32
