"""The similarity between two submaps is found from what both say of the same keyframes."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import View
from flashvggt_ros.mapping.submap_alignment import align_submaps, continue_pose
from flashvggt_ros.worlds import TruthCache, TruthPredictor, make_world, walk

WORLD = make_world(walk(2))


def views(predictor: TruthPredictor) -> tuple[list[View], TruthCache]:
    """What a fresh cache of ``predictor`` says of WORLD's frames."""
    cache = predictor.new_cache()
    told = predictor.predict(WORLD.frames, cache)
    columns = (
        WORLD.frames, told.depth, told.confidence, told.cameras, told.T_submap_camera
    )  # fmt: skip
    return [View(*row) for row in zip(*columns, strict=True)], cache


def two_submaps(**errors: float) -> tuple[list[View], list[View], Sim3]:
    """The same frames as two submaps see them, and the true S_old_new."""
    predictor = TruthPredictor(WORLD, seed=11, **errors)
    (old, old_cache), (new, new_cache) = views(predictor), views(predictor)
    return old, new, old_cache.S_submap_world @ new_cache.S_submap_world.inverse()


def errors(found: Sim3, truth: Sim3, old: Sequence[View]) -> tuple[float, float, float]:
    """Errors of scale (relative), rotation [rad] and the cameras' place (relative to depth)."""
    moved = found @ truth.inverse()
    T_old_camera = np.stack([view.T_submap_camera for view in old])
    shift = moved.transform_pose(T_old_camera)[:, :3, 3] - T_old_camera[:, :3, 3]
    depth = np.median([np.median(view.depth) for view in old])
    return (
        abs(moved.scale - 1),
        float(se3.rotation_angle(moved.rotation)),
        float(np.linalg.norm(shift, axis=1).max() / depth),
    )


def test_without_noise_the_alignment_is_exact() -> None:
    old, new, truth = two_submaps()
    alignment = align_submaps(old, new)
    assert max(errors(alignment.S_old_new, truth, old)) < 1e-7
    assert alignment.inliers == 1.0


@pytest.mark.parametrize(("step", "tolerance"), [(1, 1e-6), (2, 0.01)])
def test_images_that_are_cut_in_another_shape_align_by_what_both_show(
    step: int, tolerance: float
) -> None:
    old, new, truth = two_submaps()
    cut = [cut_to_half_the_width(view, step) for view in new]
    for first, second in ((old, cut), (cut, old)):
        alignment = align_submaps(first, second)
        wanted = truth if first is old else truth.inverse()
        assert max(errors(alignment.S_old_new, wanted, first)) < tolerance
        assert alignment.inliers > 0.99


def cut_to_half_the_width(view: View, step: int) -> View:
    """The middle half of a view's columns, and of these every ``step``-th."""
    height, width = view.depth.shape
    part = slice(0, height, step), slice(width // 4, width * 3 // 4, step)
    camera = view.camera
    pinhole = Pinhole(
        camera.fx / step, camera.fy / step, (camera.cx - width // 4) / step, camera.cy / step,
        width // 2 // step, height // step,
    )  # fmt: skip
    depth, confidence = view.depth[part].copy(), view.confidence[part].copy()
    return replace(view, depth=depth, confidence=confidence, camera=pinhole)


def test_scale_is_recovered_with_30_percent_outliers_in_each_submap() -> None:
    old, new, truth = two_submaps(outliers=0.3)
    alignment = align_submaps(old, new)
    assert max(errors(alignment.S_old_new, truth, old)) < 1e-6
    assert 0.45 < alignment.inliers < 0.6  # 0.7 squared, and a few by chance


def test_with_noise_and_30_percent_outliers_scale_is_good_to_half_a_percent() -> None:
    old, new, truth = two_submaps(depth_noise=0.02, outliers=0.3)
    assert max(errors(align_submaps(old, new).S_old_new, truth, old)) < 0.005


def test_one_sided_outliers_do_not_pull_the_scale() -> None:
    old, new, truth = two_submaps(depth_noise=0.01)
    rng = np.random.default_rng(12)
    pulled = [
        replace(view, depth=np.where(rng.random(view.depth.shape) < 0.4, 3, 1) * view.depth)
        for view in new
    ]
    assert max(errors(align_submaps(old, pulled).S_old_new, truth, old)) < 0.003


def test_noise_in_both_submaps_leaves_the_scale_unbiased() -> None:
    logs = []
    for seed in range(8):
        predictor = TruthPredictor(WORLD, depth_noise=0.03, seed=seed)
        (old, a), (new, b) = views(predictor), views(predictor)
        truth = a.S_submap_world.scale / b.S_submap_world.scale
        logs.append(np.log(align_submaps(old, new).S_old_new.scale / truth))
    assert abs(np.mean(logs)) < 5e-4


def test_one_shared_keyframe_is_enough() -> None:
    old, new, truth = two_submaps(outliers=0.3)
    alignment = align_submaps(old[:1], new[:1])
    assert max(errors(alignment.S_old_new, truth, old)) < 1e-6


def test_a_wrong_camera_pose_of_one_shared_keyframe_lowers_the_inliers() -> None:
    old, new, truth = two_submaps()
    turned = new[1].T_submap_camera @ se3.pose(
        se3.matrix_from_quaternion(np.array([0.0, 0.5, 0, 1])), np.zeros(3)
    )
    alignment = align_submaps(old, [new[0], replace(new[1], T_submap_camera=turned)])
    assert max(errors(alignment.S_old_new, truth, old[:1])) < 0.05
    assert alignment.inliers < 0.7


def test_depth_that_leans_differently_in_each_submap_does_not_turn_the_join() -> None:
    old, new, truth = two_submaps()
    height, width = old[0].depth.shape
    leaning = np.linspace(0.8, 1.25, width, dtype=np.float32) * np.ones((height, 1), np.float32)
    bent = [replace(view, depth=view.depth * leaning) for view in new]
    rotation = errors(align_submaps(old, bent).S_old_new, truth, old)[1]
    assert rotation < 1e-6  # [rad]


def test_submaps_that_have_nothing_in_common_have_few_inliers() -> None:
    old, new, _ = two_submaps(outliers=1.0)
    assert align_submaps(old, new).inliers < 0.3


def test_without_any_depth_the_last_pose_continues_and_nothing_agrees() -> None:
    old, new, _ = two_submaps()
    empty = [replace(view, depth=np.zeros_like(view.depth)) for view in new]
    alignment = align_submaps(old, empty)
    assert alignment.inliers == 0.0
    continued = alignment.S_old_new.transform_pose(empty[-1].T_submap_camera)
    np.testing.assert_allclose(continued, old[-1].T_submap_camera, atol=1e-12)


def test_alignment_is_deterministic() -> None:
    old, new, _ = two_submaps(depth_noise=0.02, outliers=0.3)
    first, second = align_submaps(old, new), align_submaps(old, new)
    np.testing.assert_array_equal(first.S_old_new.matrix, second.S_old_new.matrix)


def with_wavy_depth(view: View, rng: np.random.Generator) -> View:
    """The view with depth errors of 3 %, alike within about a quarter of the image's width."""
    height, width = view.depth.shape
    waves = cv2.resize(rng.normal(size=(3, 4)), (width, height), interpolation=cv2.INTER_CUBIC)
    return replace(view, depth=view.depth * np.exp(0.03 * waves / waves.std()).astype(np.float32))


def test_the_covariance_is_that_of_the_error_though_neighboring_pixels_err_together() -> None:
    distances, scales = [], []
    for seed in range(40):
        predictor = TruthPredictor(WORLD, pose_noise=0.003, outliers=0.1, seed=seed)
        (old, a), (new, b) = views(predictor), views(predictor)
        rng = np.random.default_rng(seed)
        wavy = [[with_wavy_depth(view, rng) for view in views] for views in (old, new)]
        alignment = align_submaps(*wavy)
        found, truth = alignment.S_old_new, a.S_submap_world @ b.S_submap_world.inverse()
        turn = Rotation.from_matrix(truth.rotation @ found.rotation.T).as_rotvec()
        growth = np.log(truth.scale / found.scale)
        error = np.array([*turn, *(truth.translation - found.translation), growth])
        distances.append(error @ np.linalg.solve(alignment.covariance, error) / 7)
        scales.append(growth**2 / alignment.covariance[6, 6])
    assert 0.5 < np.mean(distances) < 2
    assert 0.5 < np.mean(scales) < 2


def test_without_any_depth_the_alignment_is_as_good_as_unknown() -> None:
    old, new, _ = two_submaps()
    empty = [replace(view, depth=np.zeros_like(view.depth)) for view in new]
    assert np.sqrt(np.diag(align_submaps(old, empty).covariance)).min() >= 0.5


def test_one_shared_keyframe_makes_the_pose_uncertain_but_not_the_scale() -> None:
    old, new, _ = two_submaps(depth_noise=0.02)
    sigmas = np.sqrt(np.diag(align_submaps(old[:1], new[:1]).covariance))
    assert sigmas[:3].min() > 0.005
    assert sigmas[6] < 0.005


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_continued_pose_has_the_scale_asked_for(scale: float) -> None:
    old, new, _ = two_submaps()
    S_old_new = continue_pose(old[0], new[0], scale)
    assert S_old_new.scale == scale
    np.testing.assert_allclose(
        S_old_new.transform_pose(new[0].T_submap_camera), old[0].T_submap_camera, atol=1e-12
    )
