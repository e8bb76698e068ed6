"""The predictor tells the truth, and errs exactly as it is asked to."""

import numpy as np
import pytest

from flashvggt_ros.frame import ChunkPrediction
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.worlds import (
    Drift,
    TruthCache,
    TruthPredictor,
    lookalike_world,
    make_world,
    walk,
)

WORLD = make_world(walk(24))


def told(predictor: TruthPredictor, size: int = 8) -> tuple[ChunkPrediction, TruthCache]:
    """The last of three chunks of a fresh cache."""
    cache = predictor.new_cache()
    for start in range(0, 24, size):
        prediction = predictor.predict(WORLD.frames[start : start + size], cache)
    return prediction, cache


def test_without_errors_poses_and_depth_are_true_in_the_caches_frame_and_scale() -> None:
    prediction, cache = told(TruthPredictor(WORLD))
    S_world_submap = cache.S_submap_world.inverse()
    poses = S_world_submap.transform_pose(prediction.T_submap_camera)
    np.testing.assert_allclose(poses, WORLD.T_world_camera, atol=1e-9)
    depth = prediction.depth * S_world_submap.scale
    np.testing.assert_allclose(depth, WORLD.depth[16:], rtol=1e-6)
    assert (prediction.confidence == 2).all()


def test_drift_makes_each_submap_larger_by_2_percent_and_turns_it_by_half_a_degree() -> None:
    drift = Drift(frames=23)
    prediction, cache = told(TruthPredictor(WORLD, drift=drift))
    ratio = prediction.depth[-1] / WORLD.depth[-1] / cache.S_submap_world.scale
    np.testing.assert_allclose(ratio, 1.02, rtol=1e-5)
    poses = cache.S_submap_world.inverse().transform_pose(prediction.T_submap_camera)
    np.testing.assert_allclose(poses[0], WORLD.T_world_camera[0], atol=1e-9)
    turn = poses[-1, :3, :3] @ WORLD.T_world_camera[-1, :3, :3].T
    assert np.degrees(se3.rotation_angle(turn)) == pytest.approx(0.5)
    assert turn[2, 2] == pytest.approx(1.0)
    step, true_step = (np.linalg.norm(T[-1, :3, 3] - T[-2, :3, 3])
                       for T in (poses, WORLD.T_world_camera))
    assert step / true_step == pytest.approx(1.02, rel=1e-3)


def test_drift_cannot_be_seen_between_neighbors() -> None:
    T_world_camera, scales = Drift().bent(WORLD.T_world_camera, 1.0)
    relative = se3.inverse(T_world_camera[10]) @ T_world_camera[11]
    true = se3.inverse(WORLD.T_world_camera[10]) @ WORLD.T_world_camera[11]
    np.testing.assert_allclose(relative[:3, 3] / scales[10], true[:3, 3], atol=2e-4)
    assert se3.rotation_angle(relative[:3, :3].T @ true[:3, :3]) < 5e-4


def test_drift_has_one_sign_or_a_random_one_for_each_cache() -> None:
    constant, random = (TruthPredictor(WORLD, drift=Drift(is_random=r)) for r in (False, True))
    assert {constant.new_cache().sign for _ in range(20)} == {1.0}
    assert {random.new_cache().sign for _ in range(20)} == {-1.0, 1.0}


def test_poses_told_earlier_in_a_drifting_submap_stay() -> None:
    predictor = TruthPredictor(WORLD, drift=Drift())
    cache = predictor.new_cache()
    first = predictor.predict(WORLD.frames[:8], cache).T_submap_camera
    second = predictor.predict(WORLD.frames[8:16], cache).T_submap_camera
    np.testing.assert_allclose(second[:8], first, atol=1e-9)


def test_depth_noise_and_outliers_are_as_large_as_asked_for() -> None:
    prediction, cache = told(TruthPredictor(WORLD, depth_noise=0.02, outliers=0.1))
    errors = prediction.depth / WORLD.depth[16:] / cache.S_submap_world.scale - 1
    assert np.mean(np.abs(errors) > 0.1) == pytest.approx(0.09, abs=0.01)
    assert np.std(errors[np.abs(errors) < 0.08]) == pytest.approx(0.02, rel=0.05)


def test_smooth_noise_is_shared_by_neighboring_pixels() -> None:
    prediction, cache = told(TruthPredictor(WORLD, smooth_noise=0.02))
    errors = np.log(prediction.depth / WORLD.depth[16:] / cache.S_submap_world.scale)
    assert 0.01 < errors.std() < 0.025
    assert np.abs(np.diff(errors, axis=2)).max() < 0.01


def test_confidence_is_low_where_the_noise_is_large() -> None:
    noisy = TruthPredictor(WORLD, depth_noise=0.02, noise_spread=0.7, outliers=0.05)
    prediction, cache = told(noisy)
    errors = np.abs(prediction.depth / WORLD.depth[16:] / cache.S_submap_world.scale - 1)
    is_trusted = prediction.confidence > np.median(prediction.confidence)
    assert prediction.confidence.min() >= 1
    assert np.median(errors[is_trusted]) < 0.7 * np.median(errors[~is_trusted])
    is_wrong = errors > 0.3
    assert is_wrong[is_trusted].mean() < 0.6 * is_wrong[~is_trusted].mean()


def test_two_visits_of_one_place_are_true_and_of_two_lookalikes_overlaid() -> None:
    world, lookalikes = lookalike_world(seed=0, visits=(0, 1, 0), step=0.5)
    predictor = TruthPredictor(world, lookalikes=lookalikes)
    cell = lookalikes.cell
    half = len(cell) // 2
    first = np.flatnonzero(cell[:half] == 0)[10:13]
    returned = half + np.flatnonzero(cell[half:] == 0)[10:13]
    elsewhere = np.flatnonzero(cell == 1)[10:13]
    for later, offset in ((returned, 0.0), (elsewhere, 5.0)):
        cache = predictor.new_cache()
        numbers = [*first, *later]
        prediction = predictor.predict([world.frames[number] for number in numbers], cache)
        poses = cache.S_submap_world.inverse().transform_pose(prediction.T_submap_camera)
        np.testing.assert_allclose(poses[:3], world.T_world_camera[first], atol=1e-9)
        shift = world.T_world_camera[later, :3, 3] - poses[3:, :3, 3]
        np.testing.assert_allclose(shift, np.tile([offset, 0, 0], (3, 1)), atol=1e-9)


def test_equal_seeds_give_equal_predictions() -> None:
    errors = {"depth_noise": 0.02, "smooth_noise": 0.01, "outliers": 0.1, "pose_noise": 0.01}
    first, second = (told(TruthPredictor(WORLD, **errors))[0] for _ in "ab")
    np.testing.assert_array_equal(first.depth, second.depth)
    np.testing.assert_array_equal(first.T_submap_camera, second.T_submap_camera)


def test_each_cache_has_a_frame_and_a_scale_of_its_own() -> None:
    predictor = TruthPredictor(WORLD)
    transforms: list[Sim3] = [predictor.new_cache().S_submap_world for _ in range(30)]
    scales = [S.scale for S in transforms]
    assert min(scales) < 0.6 and max(scales) > 1.8
    assert all(0.4 <= scale <= 2.5 for scale in scales)
