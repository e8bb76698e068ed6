"""Rigid transforms obey the axioms of a group and agree with their quaternions."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3


@pytest.fixture
def poses() -> np.ndarray:
    rng = np.random.default_rng(1)
    return se3.pose(
        Rotation.from_quat(rng.normal(size=(20, 4))).as_matrix(), rng.normal(0, 5, (20, 3))
    )


def test_a_pose_times_its_inverse_is_the_identity_on_both_sides(poses: np.ndarray) -> None:
    identity = np.broadcast_to(np.eye(4), poses.shape)
    np.testing.assert_allclose(poses @ se3.inverse(poses), identity, atol=1e-12)
    np.testing.assert_allclose(se3.inverse(poses) @ poses, identity, atol=1e-12)


def test_points_go_through_a_chain_as_through_its_product(poses: np.ndarray) -> None:
    points = np.random.default_rng(2).normal(size=(50, 3))
    chained = se3.transform_points(poses[0], se3.transform_points(poses[1], points))
    np.testing.assert_allclose(se3.transform_points(poses[0] @ poses[1], points), chained)


def test_a_stack_of_poses_moves_a_stack_of_point_sets(poses: np.ndarray) -> None:
    points = np.random.default_rng(3).normal(size=(20, 7, 3))
    moved = se3.transform_points(poses, points)
    for T, before, after in zip(poses, points, moved, strict=True):
        np.testing.assert_allclose(se3.transform_points(T, before), after)


def test_points_keep_their_float_type(poses: np.ndarray) -> None:
    assert se3.transform_points(poses[0], np.zeros((2, 3), np.float32)).dtype == np.float32


def test_quaternions_and_matrices_round_trip(poses: np.ndarray) -> None:
    rotations = poses[:, :3, :3]
    xyzw = se3.quaternion_from_matrix(rotations)
    assert (xyzw[:, 3] >= 0).all()
    np.testing.assert_allclose(se3.matrix_from_quaternion(xyzw), rotations, atol=1e-12)
    np.testing.assert_allclose(se3.matrix_from_quaternion(-3 * xyzw), rotations, atol=1e-12)


def test_a_quarter_turn_about_z_is_written_xyzw() -> None:
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(se3.quaternion_from_matrix(quarter), [0, 0, half, half])


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, np.pi / 2, np.pi - 1e-9, np.pi])
def test_rotation_angle_is_exact_from_zero_to_pi(angle: float) -> None:
    axis = np.array([1.0, 2, -2]) / 3
    rotation = Rotation.from_rotvec(angle * axis).as_matrix()
    assert se3.rotation_angle(rotation) == pytest.approx(angle, abs=1e-12)


def test_interpolation_meets_both_ends_and_turns_evenly(poses: np.ndarray) -> None:
    start, end = poses[:2]
    np.testing.assert_allclose(se3.interpolate(start, end, 0.0), start, atol=1e-12)
    np.testing.assert_allclose(se3.interpolate(start, end, 1.0), end, atol=1e-12)
    third = se3.interpolate(start, end, 1 / 3)
    whole = se3.rotation_angle(start[:3, :3].T @ end[:3, :3])
    assert se3.rotation_angle(start[:3, :3].T @ third[:3, :3]) == pytest.approx(whole / 3)
    np.testing.assert_allclose(third[:3, 3], (2 * start[:3, 3] + end[:3, 3]) / 3)


def test_interpolation_of_many_poses_is_that_of_each(poses: np.ndarray) -> None:
    start, end = poses[:-1], poses[1:]
    fractions = np.linspace(0, 1, len(start))
    many = se3.interpolate(start, end, fractions)
    for row, fraction in enumerate(fractions):
        one = se3.interpolate(start[row], end[row], float(fraction))
        np.testing.assert_allclose(many[row], one, atol=1e-12)
    assert se3.interpolate(start[:0], end[:0], fractions[:0]).shape == (0, 4, 4)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, 2.0, 2.2, 3.1, np.pi - 1e-7, np.pi])
def test_rotation_vectors_are_those_of_scipy(angle: float) -> None:
    axes = np.random.default_rng(6).normal(size=(30, 3))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    R = Rotation.from_rotvec(angle * axes).as_matrix()
    found = se3.rotation_vector(R)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), angle, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_rotvec(found).as_matrix(), R, atol=1e-12)
    assert se3.rotation_vector(R[:0]).shape == (0, 3)
