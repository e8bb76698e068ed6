"""Points of one voxel become their weighted mean, in any order and in any number of steps."""

import numpy as np
import pytest

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels, voxel_of_each


def random_cloud(count: int, seed: int = 6) -> WeightedCloud:
    rng = np.random.default_rng(seed)
    return WeightedCloud(
        rng.uniform(-1, 1, (count, 3)).astype(np.float32),
        rng.integers(0, 256, (count, 3)).astype(np.uint8),
        rng.uniform(1, 5, count).astype(np.float32),
    )


def subset(cloud: WeightedCloud, indices: np.ndarray) -> WeightedCloud:
    return WeightedCloud(cloud.points[indices], cloud.colors[indices], cloud.weights[indices])


def assert_same(a: WeightedCloud, b: WeightedCloud) -> None:
    np.testing.assert_allclose(a.points, b.points, atol=1e-6)
    np.testing.assert_allclose(a.colors.astype(int), b.colors.astype(int), atol=1)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5)


def test_a_voxel_becomes_the_weighted_mean_of_its_points_and_colors() -> None:
    cloud = WeightedCloud(
        np.array([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [-0.1, 0.1, 0.1]], np.float32),
        np.array([[0, 100, 255], [100, 100, 255], [7, 8, 9]], np.uint8),
        np.array([1, 3, 2], np.float32),
    )
    fused = fuse_voxels(cloud, 0.5)
    np.testing.assert_allclose(fused.points, [[-0.1, 0.1, 0.1], [0.25, 0.1, 0.1]], atol=1e-7)
    np.testing.assert_array_equal(fused.colors, [[7, 8, 9], [75, 100, 255]])
    np.testing.assert_array_equal(fused.weights, [2, 4])


def test_the_result_equals_a_dictionary_of_voxels() -> None:
    cloud = random_cloud(2000)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, point in enumerate(cloud.points):
        groups.setdefault(tuple(np.floor(point / np.float64(0.25)).astype(int)), []).append(i)
    expected = np.array(
        [
            np.average(cloud.points[groups[key]], axis=0, weights=cloud.weights[groups[key]])
            for key in sorted(groups)
        ]
    )
    np.testing.assert_allclose(fuse_voxels(cloud, 0.25).points, expected, atol=1e-6)


def test_the_order_of_the_points_makes_no_difference() -> None:
    cloud = random_cloud(5000)
    shuffled = subset(cloud, np.random.default_rng(7).permutation(5000))
    assert_same(fuse_voxels(cloud, 0.1), fuse_voxels(shuffled, 0.1))


def test_fusing_in_two_steps_equals_fusing_at_once() -> None:
    cloud = random_cloud(5000)
    halves = [fuse_voxels(subset(cloud, np.arange(i, 5000, 2)), 0.2) for i in (0, 1)]
    assert_same(fuse_voxels(WeightedCloud.concatenate(halves), 0.2), fuse_voxels(cloud, 0.2))


def test_equal_input_gives_identical_output() -> None:
    first, second = (fuse_voxels(random_cloud(3000), 0.1) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.colors, second.colors)


def test_points_too_far_apart_for_one_integer_are_fused_all_the_same() -> None:
    cloud = random_cloud(300)
    far = WeightedCloud(
        np.concatenate([cloud.points, np.full((2, 3), 3e6), np.full((1, 3), -3e6)]).astype("f4"),
        np.concatenate([cloud.colors, np.full((3, 3), 9, np.uint8)]),
        np.concatenate([cloud.weights, np.ones(3, np.float32)]),
    )
    fused, near = fuse_voxels(far, 0.5), fuse_voxels(cloud, 0.5)
    assert len(fused) == len(near) + 2
    np.testing.assert_allclose(fused.points[1:-1], near.points, atol=1e-6)


def test_an_empty_cloud_stays_empty() -> None:
    empty = WeightedCloud.concatenate(())
    assert len(fuse_voxels(empty, 0.1)) == 0
    assert empty.points.shape == (0, 3)


def test_a_cloud_moves_with_its_frame() -> None:
    cloud = random_cloud(10)
    moved = cloud.transformed(Sim3(2.0, np.eye(3), np.array([1.0, 0, 0])))
    np.testing.assert_allclose(moved.points, 2 * cloud.points + [1, 0, 0], rtol=1e-6)
    assert moved.points.dtype == np.float32
    assert moved.colors is cloud.colors


@pytest.mark.parametrize("voxel_size", [0.01, 0.5, 10.0])
def test_no_voxel_holds_two_points(voxel_size: float) -> None:
    fused = fuse_voxels(random_cloud(1000), voxel_size)
    assert fused.weights.sum() == pytest.approx(random_cloud(1000).weights.sum(), rel=1e-5)
    assert len(fuse_voxels(fused, voxel_size)) == len(fused)


def test_voxels_are_numbered_by_x_then_y_then_z() -> None:
    cells = np.array([[0, 0, 1], [1, -1, 0], [0, 0, 0], [0, 1, -5], [0, 0, 1]])
    assert voxel_of_each(0.1 * (cells + 0.5), 0.1).tolist() == [1, 3, 0, 2, 1]
    assert voxel_of_each(np.zeros((0, 3)), 0.1).shape == (0,)


@pytest.mark.parametrize("voxel_size", [0.001, 0.02, 0.3])
def test_ranks_are_those_of_sorted_voxels_whether_few_or_most_are_occupied(voxel_size) -> None:
    points = np.random.default_rng(8).uniform(-1, 1, (4000, 3)).astype(np.float32)
    cells = np.floor(points / np.float64(voxel_size))
    expected = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    np.testing.assert_array_equal(voxel_of_each(points, voxel_size), expected)
