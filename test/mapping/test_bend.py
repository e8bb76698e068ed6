"""A bend is the identity in the middle, moves poses and points alike, and spreads evenly."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend

COUNT = 9
SHARE = np.arange(COUNT) / (COUNT - 1)


def turned(degrees: float, growth: float, shift: tuple[float, float, float]) -> Sim3:
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return Sim3(float(np.exp(growth)), turn, np.array(shift))


BEND = Bend(turned(-1.0, -0.02, (0.1, 0, 0)), turned(2.0, 0.01, (0, 0.2, 0)))


def some_poses(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rotations = se3.matrix_from_quaternion(rng.normal(size=(COUNT, 4)))
    return se3.pose(rotations, rng.normal(0, 3, (COUNT, 3)))


def test_without_a_bend_nothing_moves() -> None:
    poses, points = some_poses(), np.ones((4, 3), np.float32)
    np.testing.assert_allclose(Bend.none().poses(poses, SHARE), poses, atol=1e-15)
    assert Bend.none().points(points, SHARE, np.zeros(4, np.uint16)) is points
    np.testing.assert_array_equal(Bend.none().scales(SHARE), 1)


@pytest.mark.parametrize(
    ("keyframe", "S_middle_at"),
    [(0, BEND.S_middle_first), (COUNT // 2, Sim3.identity()), (COUNT - 1, BEND.S_middle_last)],
)
def test_the_ends_lie_where_the_bend_says_and_the_middle_stays(
    keyframe: int, S_middle_at: Sim3
) -> None:
    poses = some_poses()
    bent = BEND.poses(poses, SHARE)[keyframe]
    np.testing.assert_allclose(bent, S_middle_at.transform_pose(poses[keyframe]), atol=1e-12)
    assert BEND.scales(SHARE)[keyframe] == pytest.approx(S_middle_at.scale)


def test_keyframes_between_turn_evenly() -> None:
    bent = BEND.poses(np.tile(np.eye(4), (COUNT, 1, 1)), SHARE)
    yaw = np.degrees(np.arctan2(bent[:, 1, 0], bent[:, 0, 0]))
    np.testing.assert_allclose(yaw, [-1, -0.75, -0.5, -0.25, 0, 0.5, 1, 1.5, 2], atol=1e-9)


def test_points_move_with_the_keyframes_that_see_them() -> None:
    poses, rng = some_poses(), np.random.default_rng(1)
    keyframe = rng.integers(0, COUNT, 200).astype(np.uint16)
    points_camera = rng.normal(0, 2, (200, 3))
    points = np.einsum("mij,mj->mi", poses[keyframe, :3, :3], points_camera)
    points += poses[keyframe, :3, 3]
    bent, scales = BEND.poses(poses, SHARE)[keyframe], BEND.scales(SHARE)[keyframe, None]
    expected = np.einsum("mij,mj->mi", bent[:, :3, :3], scales * points_camera) + bent[:, :3, 3]
    moved = BEND.points(points.astype(np.float32), SHARE, keyframe)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
