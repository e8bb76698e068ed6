"""Similarities obey the axioms of a group; Umeyama's alignment finds the one applied."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3, align_points


def random_sim3(rng: np.random.Generator) -> Sim3:
    scale = float(np.exp(rng.normal()))
    return Sim3(scale, Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.normal(0, 5, 3))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_the_product_is_associative_and_the_identity_is_neutral(rng: np.random.Generator) -> None:
    A, B, C = (random_sim3(rng) for _ in range(3))
    np.testing.assert_allclose(((A @ B) @ C).matrix, (A @ (B @ C)).matrix, atol=1e-12)
    np.testing.assert_allclose((A @ Sim3.identity()).matrix, A.matrix)
    np.testing.assert_allclose((Sim3.identity() @ A).matrix, A.matrix)


def test_the_product_is_that_of_the_matrices(rng: np.random.Generator) -> None:
    A, B = random_sim3(rng), random_sim3(rng)
    np.testing.assert_allclose((A @ B).matrix, A.matrix @ B.matrix, atol=1e-12)


def test_a_similarity_times_its_inverse_is_the_identity(rng: np.random.Generator) -> None:
    A = random_sim3(rng)
    np.testing.assert_allclose((A @ A.inverse()).matrix, np.eye(4), atol=1e-12)
    np.testing.assert_allclose((A.inverse() @ A).matrix, np.eye(4), atol=1e-12)


def test_poses_stay_rigid_and_move_with_the_points_they_see(rng: np.random.Generator) -> None:
    S_a_b = random_sim3(rng)
    T_b_camera = se3.pose(
        Rotation.from_quat(rng.normal(size=(6, 4))).as_matrix(), rng.normal(size=(6, 3))
    )
    T_a_camera = S_a_b.transform_pose(T_b_camera)
    rotations = T_a_camera[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (6, 3, 3)), atol=1e-12
    )
    points_camera = rng.normal(size=(6, 9, 3))
    through_b = S_a_b.transform_points(se3.transform_points(T_b_camera, points_camera))
    through_a = se3.transform_points(T_a_camera, S_a_b.scale * points_camera)
    np.testing.assert_allclose(through_a, through_b, atol=1e-12)


def test_a_pose_and_a_scale_make_a_similarity(rng: np.random.Generator) -> None:
    T_a_b = se3.pose(Rotation.from_quat(rng.normal(size=4)).as_matrix(), rng.normal(size=3))
    S_a_b = Sim3.from_pose(T_a_b, 2.5)
    np.testing.assert_allclose(S_a_b.transform_pose(np.eye(4)), T_a_b)
    assert S_a_b.scale == 2.5


def test_alignment_finds_the_similarity_that_was_applied(rng: np.random.Generator) -> None:
    for _ in range(20):
        truth = random_sim3(rng)
        source = rng.normal(size=(30, 3)) * [3, 1, 0.1]
        found = align_points(source, truth.transform_points(source), rng.uniform(0.1, 1, 30))
        np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-9)


def test_alignment_of_a_plane_is_a_rotation_and_no_mirror(rng: np.random.Generator) -> None:
    truth = random_sim3(rng)
    source = rng.normal(size=(10, 3)) * [1, 1, 0]
    found = align_points(source, truth.transform_points(source), np.ones(10))
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-9)


def test_alignment_of_mirrored_points_is_still_a_rotation(rng: np.random.Generator) -> None:
    source = rng.normal(size=(40, 3))
    found = align_points(source, source * [1, 1, -1], np.ones(40))
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_symmetric_alignment_there_and_back_are_inverses(rng: np.random.Generator) -> None:
    source, noise = rng.normal(size=(2, 40, 3))
    target = random_sim3(rng).transform_points(source) + 0.1 * noise
    there = align_points(source, target, np.ones(40), is_symmetric=True)
    back = align_points(target, source, np.ones(40), is_symmetric=True)
    np.testing.assert_allclose((there @ back).matrix, np.eye(4), atol=1e-12)


def test_symmetric_scale_is_unbiased_by_noise_of_both_sides(rng: np.random.Generator) -> None:
    points = rng.normal(size=(20_000, 3))
    source, target = points + 0.2 * rng.normal(size=(2, 20_000, 3))
    ordinary = align_points(source, target, np.ones(20_000)).scale
    symmetric = align_points(source, target, np.ones(20_000), is_symmetric=True).scale
    assert ordinary == pytest.approx(1 / 1.04, abs=0.005)
    assert symmetric == pytest.approx(1, abs=0.005)


def test_a_weight_counts_like_that_many_points(rng: np.random.Generator) -> None:
    source, target = rng.normal(size=(2, 12, 3))
    weights = rng.integers(0, 4, 12)
    weighted = align_points(source, target, weights.astype(float))
    repeated = align_points(
        np.repeat(source, weights, 0), np.repeat(target, weights, 0), np.ones(weights.sum())
    )
    np.testing.assert_allclose(weighted.matrix, repeated.matrix, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_points_on_one_line_are_refused(rng: np.random.Generator, count: int) -> None:
    source = np.arange(count, dtype=float)[:, None] * np.array([1.0, 2, 3])
    with pytest.raises(ValueError, match="one line"):
        align_points(source, random_sim3(rng).transform_points(source), np.ones(count))


def test_weights_that_sum_to_zero_are_refused(rng: np.random.Generator) -> None:
    source = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match="weights"):
        align_points(source, source, np.zeros(5))
