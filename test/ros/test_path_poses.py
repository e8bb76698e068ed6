"""The messages of the path: as the poses are now, and never more than asked for."""

import numpy as np
import pytest

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.messages import matrix, stamp_ns
from flashvggt_ros.ros.path_poses import PathPoses


def some_path(count: int) -> tuple[tuple[FrameStamp, ...], np.ndarray]:
    rng = np.random.default_rng(0)
    rotations = se3.matrix_from_quaternion(rng.normal(size=(count, 4)))
    return (
        tuple(FrameStamp(1000 + i, "camera") for i in range(count)),
        se3.pose(rotations, rng.normal(size=(count, 3))),
    )


def test_each_pose_is_where_it_is_now() -> None:
    frames, poses = some_path(30)
    path = PathPoses("map", 100)
    for count in (8, 20, 20, 30):
        poses = poses.copy()
        poses[3:12, 0, 3] += 0.1  # a correction
        messages = path.update(frames[:count], poses[:count])
        assert [stamp_ns(m.header.stamp) for m in messages] == [f.stamp_ns for f in frames[:count]]
        assert {m.header.frame_id for m in messages} == {"map"}
        found = np.stack([matrix(message.pose) for message in messages])
        np.testing.assert_allclose(found, poses[:count], atol=1e-9)


def test_many_small_corrections_add_up() -> None:
    frames, poses = some_path(5)
    path = PathPoses("map", 100)
    for _ in range(100):
        poses = poses.copy()
        poses[:, 0, 3] += 1e-6
        messages = path.update(frames, poses)
    found = np.stack([matrix(message.pose) for message in messages])
    np.testing.assert_allclose(found, poses, atol=2e-5)


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_long_path_is_thinned_evenly_and_ends_with_the_newest_pose(step: int) -> None:
    frames, poses = some_path(1000)
    path = PathPoses("map", 64)
    for count in range(step, 1001, step):
        messages = path.update(frames[:count], poses[:count])
        assert 32 <= len(messages) <= 64 or count < 64
        numbers = np.array([stamp_ns(m.header.stamp) - 1000 for m in messages])
        assert (numbers[0], numbers[-1]) == (0, count - 1)
        gaps = np.diff(numbers)
        assert (gaps[:-1] == gaps[:1]).all() and (gaps[-1:] <= gaps[:1]).all()
        found = np.stack([matrix(message.pose) for message in messages])
        np.testing.assert_allclose(found, poses[numbers], atol=1e-9)


def test_a_path_without_poses_has_no_messages() -> None:
    assert PathPoses("map", 10).update((), np.empty((0, 4, 4))) == []
