import math

import numpy as np
import pytest
import torch

from flashvggt_ros.scene.textures import Textures
from training.sequences import GLANCE, Motion, ScenePool, _cameras, _interesting_paths, _paths

SIZE = (28, 42)


@pytest.fixture(scope="module")
def pool():
    return ScenePool(32, Textures.procedural(np.random.default_rng(0), each=1), 3, 0)


def draw(pool, seed=1, sequences=8, frames=3, **options):
    return pool.draw(sequences, frames, SIZE, Motion(), torch.Generator().manual_seed(seed),
                     shadows=False, **options)


@pytest.fixture(scope="module")
def batch(pool):
    return draw(pool, samples=2)


def points_in_next(batch, gap=1):
    """Where each pixel of a frame is ``gap`` frames later: (B, N - gap, H, W, 2), and its depth."""
    K = batch.intrinsics[:, None, None, None]
    v, u = torch.meshgrid(*(torch.arange(float(n)) for n in SIZE), indexing="ij")
    d = batch.depth[:, :-gap]
    x, y = (u - K[..., 2]) / K[..., 0] * d, (v - K[..., 3]) / K[..., 1] * d
    T = torch.linalg.inv(batch.T_world_camera[:, gap:]) @ batch.T_world_camera[:, :-gap]
    point = torch.stack([x, y, d], -1)
    moved = point @ T[:, :, None, :3, :3].mT + T[:, :, None, None, :3, 3]
    z = moved[..., 2:].clamp(min=0.05)
    spot = moved[..., :2] / z * K[..., :2] + K[..., 2:]
    return spot, moved[..., 2], torch.stack([u, v], -1)


def test_a_batch_has_the_shapes_and_ranges_promised(batch):
    assert batch.images.shape == (8, 3, 3, *SIZE)
    assert batch.depth.shape == (8, 3, *SIZE)
    assert batch.intrinsics.shape == (8, 4)
    assert torch.isfinite(batch.images).all()
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    assert batch.depth.min() > 0


def test_the_same_seed_draws_the_same_geometry(pool, batch):
    again = draw(pool, samples=2)
    assert torch.equal(batch.depth, again.depth)
    assert torch.equal(batch.T_world_camera, again.T_world_camera)
    other = draw(pool, 2, sequences=2, samples=1)
    assert not torch.equal(batch.depth[:2], other.depth)


def test_depth_poses_and_intrinsics_agree_between_frames(batch):
    spot, z, _ = points_in_next(batch)
    column, line = spot[..., 0].round().long(), spot[..., 1].round().long()
    seen = (column >= 0) & (column < SIZE[1]) & (line >= 0) & (line < SIZE[0]) & (z > 0.1)
    index = line.clamp(0, SIZE[0] - 1) * SIZE[1] + column.clamp(0, SIZE[1] - 1)
    there = batch.depth[:, 1:].flatten(2).gather(2, index.flatten(2)).view_as(z)
    off = (there / z - 1).abs()[seen]
    assert seen.float().mean() > 0.5
    assert off.median() < 0.02  # half a pixel on slanted surfaces, and the rolling shutter


def test_things_move_by_some_hundredths_of_the_width_between_frames(pool):
    batch = draw(pool, 3, 24, 2, samples=1, is_photographed=False)
    spot, _, here = points_in_next(batch)
    share = (spot - here).norm(dim=-1).flatten(2).median(2).values / SIZE[1]
    low, middle, high = share.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
    assert 0.001 < low < 0.03
    assert 0.015 < middle < 0.1
    assert 0.06 < high < 0.4


def test_fields_of_view_go_from_45_to_105_degrees_across_the_longer_side():
    for size in ((168, 224), (70, 224), (224, 126)):
        K = _cameras(2000, size, torch.Generator().manual_seed(0))
        fov = torch.rad2deg(2 * torch.atan(max(size) / 2 / K[:, 0]))
        assert 44.9 < fov.min() < 47
        assert 103 < fov.max() < 105.1
        off = (K[:, 2:] / torch.tensor([size[1] / 2, size[0] / 2]) - 1).abs()
        assert 0.01 < off.max() < 0.021
        assert (K[:, 1] / K[:, 0] - 1).abs().max() == pytest.approx(0.02, abs=0.002)


def test_paths_on_which_more_is_to_be_seen_are_taken(pool):
    def bare(poses, scenes, K):
        light = scenes.cleared(poses).cast(
            poses[:, 0], torch.arange(32), K / GLANCE, (21, 28), 1, False)[0]
        return (light.mean(1).flatten(1).log().std(1) < 0.12).float().mean()

    K = torch.tensor([130.0, 130, 112, 84]).expand(32, 4)
    turn = Motion((0.02, 0.1), (math.radians(2), math.radians(5)))
    seeds = [torch.Generator().manual_seed(seed) for seed in range(2)]
    any_path = sum(bare(_paths(pool.scenes, 1, turn, g), pool.scenes, K) for g in seeds)
    chosen = sum(bare(_interesting_paths(pool.scenes, 1, turn, K, (168, 224), g), pool.scenes, K)
                 for g in seeds)
    assert chosen < 0.6 * any_path
