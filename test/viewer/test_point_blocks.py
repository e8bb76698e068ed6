import numpy as np
import pytest

from flashvggt_ros.viewer.point_blocks import Extent, block_edge, spacing, split, thin


def cloud(count=5000, size=10.0, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-size / 2, size / 2, (count, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (count, 3)).astype(np.uint8)


def test_blocks_hold_every_point_once_within_a_millimeter_and_with_its_color():
    points, colors = cloud()
    points += np.float32(300.0)  # far from the origin, where float16 has a step of 25 cm
    blocks = split(points, colors, 2.0)
    placed = np.concatenate([block.center + block.points for block in blocks.values()])
    drawn = np.concatenate([block.colors for block in blocks.values()])
    order, there = np.lexsort(colors.T), np.lexsort(drawn.T)
    assert np.abs(placed[there] - points[order]).max() < 1e-3
    assert np.array_equal(drawn[there], colors[order])
    assert len(blocks) <= 6**3


def test_only_blocks_in_which_something_is_new_have_another_digest():
    points, colors = cloud()
    before = split(points, colors, 2.0)
    new = np.array([[0.5, 0.5, 0.5]], np.float32)
    after = split(np.concatenate([points, new]), np.concatenate([colors, colors[:1]]), 2.0)
    changed = [place for place in after if after[place].digest != before[place].digest]
    assert changed == [(0, 0, 0)]


def test_a_new_color_is_a_change_and_a_move_that_nobody_sees_is_none():
    points, colors = cloud(50, size=1.0)
    (place, block), *_ = split(points, colors, 2.0).items()
    assert split(points, 255 - colors, 2.0)[place].digest != block.digest
    assert split(points + np.float32(1e-7), colors, 2.0)[place].digest == block.digest


def test_thinning_keeps_nearly_as_many_as_allowed_and_all_where_there_is_room():
    points, colors = cloud(100_000)
    kept, kept_colors = thin(points, colors, 30_000)
    assert 0.79 * 30_000 < len(kept) < 1.03 * 30_000
    assert len(kept_colors) == len(kept)
    assert thin(points, colors, 100_000)[0] is points


def test_a_growing_map_keeps_the_same_points_until_the_share_becomes_smaller():
    points, colors = cloud(40_000)
    more, more_colors = cloud(1000, seed=1)
    before = {tuple(point) for point in thin(points, colors, 35_000)[0].tolist()}
    grown = thin(np.concatenate([points, more]), np.concatenate([colors, more_colors]), 35_000)[0]
    after = {tuple(point) for point in grown.tolist()}
    assert before <= after


def test_thinning_is_even_in_space():
    points, colors = cloud(200_000)
    kept, _ = thin(points, colors, 60_000)
    eighths = (kept > 0) @ [1, 2, 4]
    counts = np.bincount(eighths, minlength=8)
    assert counts.max() < 1.1 * counts.min()


def test_the_extent_leaves_stray_points_out_and_the_edge_is_a_power_of_two():
    points, _ = cloud(2000)
    points[:3] = 1000.0
    assert Extent.of(points).size == pytest.approx(10.0, abs=0.5)
    assert block_edge(10.0) == 2.0
    assert block_edge(12.5) == 4.0


def test_spacing_is_the_distance_to_the_nearest_neighbor():
    x, y = np.meshgrid(np.arange(40) * 0.05, np.arange(40) * 0.05)
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(np.float32)
    colors = np.zeros((len(points), 3), np.uint8)
    assert spacing(split(points, colors, 4.0)) == pytest.approx(0.05, rel=0.03)
