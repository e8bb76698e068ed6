import math

import numpy as np
import pytest
import torch

from flashvggt_ros.scene.textures import Textures
from training import losses
from training.sequences import Motion, ScenePool


@pytest.fixture(scope="module")
def batch():
    textures = Textures.procedural(np.random.default_rng(0), each=1)
    pool = ScenePool(32, textures, 1, workers=0)
    generator = torch.Generator().manual_seed(4)
    return pool.draw(2, 3, (56, 70), Motion(), generator, samples=1, shadows=False)


@pytest.fixture(scope="module")
def target(batch):
    return losses.truth(batch)


def test_quaternions_and_matrices_are_inverse_to_each_other():
    generator = torch.Generator().manual_seed(0)
    R = losses.rotation_matrix(torch.randn(200, 4, generator=generator))
    q = losses.quaternion(R)
    assert (q[:, 3] >= 0).all()
    torch.testing.assert_close(losses.rotation_matrix(q), R, atol=1e-5, rtol=1e-5)


def test_the_first_camera_is_the_world_and_its_points_have_mean_distance_one(batch, target):
    torch.testing.assert_close(target.R[:, 0], torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.t[:, 0], torch.zeros(2, 3))
    points = losses.pixel_rays(batch.intrinsics, 56, 70) * target.depth[:, 0, ..., None]
    for distance, valid in zip(points.norm(dim=-1), target.is_valid[:, 0], strict=True):
        assert distance[valid].mean() == pytest.approx(1.0, abs=1e-4)


def test_field_of_view_is_vertical_before_horizontal(batch, target):
    fy = batch.intrinsics[0, 1]
    assert target.pose_enc[0, 0, 7] == pytest.approx(2 * math.atan(28 / fy), rel=1e-5)


def test_true_poses_cost_nothing_and_wrong_ones_something(target):
    for value in losses.camera_loss((target.pose_enc,) * 4, target).values():
        assert value == pytest.approx(0.0, abs=1e-4)
    wrong = target.pose_enc + 0.1
    for value in losses.camera_loss((wrong,) * 4, target).values():
        assert value > 0.005


def test_true_depth_costs_less_than_any_wrong_depth(target):
    ones = torch.ones_like(target.depth)
    right = losses.depth_loss(target.depth, ones, target.depth, target.is_valid)
    wrong = losses.depth_loss(target.depth * 1.1, ones, target.depth, target.is_valid)
    assert right["depth"] == pytest.approx(0.0, abs=1e-6)
    assert wrong["depth"] == pytest.approx(math.log(1.1), rel=1e-4)
    assert wrong["depth_gradient"] < 1e-5  # a factor leaves the gradient of log depth alone


def test_patch_points_seen_in_two_frames_agree(target):
    patches = losses.patch_truth(target, 14)
    assert patches.points.shape == (2, 3, 20, 3)
    index, weight, is_seen = losses._correspondences(patches, target, [0], [0])
    own = torch.arange(20)
    best = index.gather(-1, weight.argmax(-1, keepdim=True))[0, 0, :, 0]
    assert (best == own)[is_seen[0, 0]].all()
    torch.testing.assert_close(weight.sum(-1), torch.ones(2, 1, 20))


def test_features_that_tell_places_apart_are_matched_and_others_are_not(target):
    patches = losses.patch_truth(target, 14)
    waves = torch.cat([torch.sin(k * patches.points) for k in (1, 3, 9)], -1)
    unrelated = torch.randn(2, 3, 20, 9, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor(4.0)
    good, right = losses.matching_loss(waves, patches, target, [(0, 1)], scale)
    bad, wrong = losses.matching_loss(unrelated, patches, target, [(0, 1)], scale)
    assert right > wrong
    assert good < bad


def test_true_points_cost_nothing(target):
    patches = losses.patch_truth(target, 14)
    assert losses.point_loss(patches.points, patches) == 0
    assert losses.point_loss(patches.points + 0.1, patches) > 0.05


def test_the_scale_of_depth_is_found_in_spite_of_outliers_and_sky(target):
    depth = target.depth * 1.3
    depth[:, :, :8] *= 40
    sky = torch.zeros_like(target.is_valid)
    sky[..., :20] = True
    depth[sky] = 1e3
    median, _ = losses.log_scale(depth, target.depth, target.is_valid & ~sky)
    torch.testing.assert_close(median, torch.full((2,), math.log(1.3)), atol=1e-5, rtol=0)


def test_a_wrong_unit_of_depth_and_poses_together_costs_nothing_but_the_unit(target):
    factor = torch.tensor([1.25, 0.8])
    same = losses.rescaled(target, factor)
    pose = torch.cat([target.t * factor[:, None, None], target.pose_enc[..., 3:]], -1)
    assert all(float(loss) < 1e-5 for loss in losses.camera_loss((pose,), same).values())
    torch.testing.assert_close(same.depth * same.scale[:, None, None, None],
                               target.depth * target.scale[:, None, None, None])
    _, mean = losses.log_scale(same.depth, target.depth, target.is_valid)
    torch.testing.assert_close(mean, factor.log(), atol=1e-5, rtol=0)
    mixed = torch.cat([target.t, target.pose_enc[..., 3:]], -1)  # poses in another unit than depth
    assert float(losses.camera_loss((mixed,), same)["translation"]) > 1e-3
