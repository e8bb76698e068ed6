"""Meters per unit are found from odometry, baselines, depth and height, or said to be unknown."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.metric_scale import (
    ScaleEstimate,
    combine_scales,
    scale_from_depth,
    scale_from_height,
    scale_from_odometry,
    scale_from_rig,
)
from flashvggt_ros.mapping.rig_ties import find_ties

Array = NDArray[np.float64]
UNIT = 0.37  # meters


def path(rng: np.random.Generator, count: int, bend: float = 0.1) -> Array:
    """Poses (count, 4, 4) of a walk: 0.1 to 0.3 m and about ``bend`` [rad] a step."""
    yaw = np.cumsum(rng.normal(0, bend, count))
    steps = rng.uniform(0.1, 0.3, count)
    places = np.cumsum(np.stack([steps * np.cos(yaw), steps * np.sin(yaw), 0 * yaw], 1), axis=0)
    half = yaw / 2
    turns = se3.matrix_from_quaternion(np.stack([0 * yaw, 0 * yaw, np.sin(half), np.cos(half)], 1))
    return se3.pose(turns, places)


def in_submap(T_world_camera: Array, rng: np.random.Generator, noise: float = 0.0) -> Array:
    """The poses in a frame of their own, in units of UNIT, their places shaken by ``noise`` [m]."""
    turn = se3.matrix_from_quaternion(rng.normal(size=4))
    moved = Sim3(1 / UNIT, turn, rng.normal(0, 3, 3)).transform_pose(T_world_camera)
    moved[:, :3, 3] += rng.normal(0, noise / UNIT, (len(moved), 3)) if noise else 0.0
    return moved


def moved_by(T: Array, steps: Array) -> Array:
    """The poses with other steps (K - 1, 3) between them."""
    places = np.concatenate([T[:1, :3, 3], T[0, :3, 3] + np.cumsum(steps, axis=0)])
    return se3.pose(T[:, :3, :3], places)


def error(estimate: ScaleEstimate | None) -> float:
    assert estimate is not None
    return abs(np.log(estimate.meters_per_unit / UNIT))


def noisy_steps(truth: Array, rng: np.random.Generator) -> Array:
    """Odometry whose steps are wrong by 5 %, and 30 % of them by a factor of 0 to 4."""
    steps = np.diff(truth[:, :3, 3], axis=0) * rng.normal(1, 0.05, (len(truth) - 1, 1))
    is_wrong = rng.permutation(len(steps)) < 0.3 * len(steps)
    steps[is_wrong] *= rng.uniform(0, 4, (is_wrong.sum(), 1))
    return moved_by(truth, steps)


def wrong_poses(truth: Array, rng: np.random.Generator) -> Array:
    """Odometry whose poses are wrong by 1 cm, and 30 % of them by about a meter."""
    odom = truth.copy()
    is_wrong = rng.permutation(len(odom)) < 0.3 * len(odom)
    odom[:, :3, 3] += rng.normal(0, np.where(is_wrong, 1.0, 0.01)[:, None], (len(odom), 3))
    return odom


@pytest.mark.parametrize("worsen", [noisy_steps, wrong_poses])
def test_scale_is_recovered_from_odometry_with_5_percent_noise_and_30_percent_outliers(worsen):
    errors, sigmas = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = path(rng, 60)
        estimate = scale_from_odometry(in_submap(truth, rng), worsen(truth, rng))
        if estimate is None:
            continue
        errors.append(error(estimate))
        sigmas.append(estimate.sigma)
    assert len(errors) >= 38
    assert np.quantile(errors, 0.95) < 0.03
    assert np.mean(np.array(errors) < 2 * np.array(sigmas)) >= 0.9


def test_combined_over_submaps_the_scale_is_within_2_percent_though_poses_are_noisy():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(8):  # each submap's scale is related to the first one's by its alignment
        truth = path(rng, 24)
        found.append(scale_from_odometry(in_submap(truth, rng, 0.005), noisy_steps(truth, rng)))
    assert error(combine_scales([each for each in found if each])) < 0.02


def test_bursts_of_slip_and_jumps_of_odometry_do_no_harm():
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = path(rng, 40)
        steps = np.diff(truth[:, :3, 3], axis=0) * rng.normal(1, 0.02, (39, 1))
        steps[10:20] *= 1.6
        steps[[5, 30]] += rng.normal(0, 2, (2, 3))
        errors.append(error(scale_from_odometry(in_submap(truth, rng), moved_by(truth, steps))))
    assert max(errors) < 0.03


def test_odometry_whose_clock_lags_50_ms_biases_the_scale_by_less_than_1_percent():
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        time = np.arange(0, 24, 0.5)  # [s]; the robot speeds up and brakes between 0.2 and 1 m/s

        def place(time: Array, phase: float) -> Array:
            way = 0.6 * time - 0.8 * np.cos(0.5 * time + phase)
            return np.stack([5 * np.sin(way / 5), 5 * np.cos(way / 5), 0 * way], axis=1)

        phase = rng.uniform(0, 6)
        true, late = (
            se3.pose(np.eye(3), place(time - lag, phase)) for lag in (0.0, 0.05)
        )  # fmt: skip
        errors.append(error(scale_from_odometry(in_submap(true, rng, 0.002), late)))
    assert max(errors) < 0.01


def test_standing_and_turning_on_the_spot_leave_the_scale_unknown():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turning = path(rng, 24)
        turning[:, :3, 3] = 0
        model = in_submap(turning, rng, 0.01)
        for jitter in (0.0, 0.002, 0.05):
            odom = turning.copy()
            odom[:, :3, 3] += rng.normal(0, jitter, (24, 3))
            assert scale_from_odometry(model, odom) is None


def test_a_few_poses_or_none_leave_the_scale_unknown_and_unknown_rows_are_skipped():
    rng = np.random.default_rng(0)
    truth = path(rng, 40)
    submap = in_submap(truth, rng)
    assert scale_from_odometry(submap[:3], truth[:3]) is None
    assert scale_from_odometry(np.zeros((0, 4, 4)), np.zeros((0, 4, 4))) is None
    assert scale_from_odometry(submap, np.full_like(truth, np.nan)) is None
    truth[::4] = np.nan
    submap[3] = np.inf
    assert error(scale_from_odometry(submap, truth)) < 0.001


BASELINES = {"side by side": (0.0, 0.12), "back to back": (np.pi, 0.4)}


def rig(rng: np.random.Generator, turn: float, baseline: float, late_ns: int) -> tuple[Array, ...]:
    """Poses, places on the rig and stamps of two cameras; the second takes images ``late_ns``."""
    half = turn / 2
    R = se3.matrix_from_quaternion(np.array([0, 0, np.sin(half), np.cos(half)]))
    T_base_second = se3.pose(R, np.array([0, baseline, 0.0]))
    fine = path(rng, 201, 0.01)
    number = np.arange(0, 200, 10)
    share = late_ns / 20_000_000  # poses of the path are 20 ms apart: it moves at 0.5 m/s
    fine[:, :3, 3] *= 0.05
    second = se3.interpolate(fine[number], fine[number + 1], np.full(20, share % 1))
    second = second if share < 1 else fine[number + int(share)]
    T = np.stack([fine[number], second @ T_base_second], 1).reshape(-1, 4, 4)
    T_base = np.stack([np.eye(4), T_base_second] * 20)
    stamps = (np.arange(20)[:, None] * 200_000_000 + np.array([0, late_ns])).ravel()
    return T, T_base, stamps


@pytest.mark.parametrize("late_ns", [0, 4_000_000, 100_000_000])
@pytest.mark.parametrize("name", BASELINES)
def test_scale_is_recovered_from_a_rig_baseline_whichever_way_the_cameras_look(name, late_ns):
    errors, sigmas = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        T, T_base, stamps = rig(rng, *BASELINES[name], late_ns)
        model = in_submap(T, rng, 0.004)
        is_wrong = rng.random(len(model)) < 0.1
        model[is_wrong, :3, 3] += rng.normal(0, 1, (is_wrong.sum(), 3))
        order = rng.permutation(len(model))
        estimate = scale_from_rig(model[order], find_ties(T_base[order], stamps[order]))
        errors.append(error(estimate))
        sigmas.append(estimate.sigma)
    assert np.quantile(errors, 0.9) < 0.03
    assert np.mean(np.array(errors) < 2 * np.array(sigmas)) >= 0.9


def test_one_camera_or_a_baseline_lost_in_noise_leave_the_scale_unknown():
    rng = np.random.default_rng(1)
    T, T_base, stamps = rig(rng, 0.0, 0.12, 0)
    assert scale_from_rig(in_submap(T, rng)[::2], find_ties(T_base[::2], stamps[::2])) is None
    assert scale_from_rig(in_submap(T, rng, 0.5), find_ties(T_base, stamps)) is None
    unknown = np.full_like(T_base, np.nan)
    assert scale_from_rig(in_submap(T, rng), find_ties(unknown, stamps)) is None


def depths(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Four slanted walls (4, h, w) [m], 1 to 5 m away."""
    v, u = (np.arange(size) / size for size in shape)
    slopes = rng.uniform(-1, 1, (4, 2, 1, 1))
    return (3 + slopes[:, 0] * (u[None, :] - 0.5) * 2 + slopes[:, 1] * v[:, None]).astype(
        np.float32
    )


def test_scale_is_recovered_from_depth_images_with_holes_steps_and_another_size():
    errors, sigmas = [], []
    for seed in range(30):
        shapes = ((168, 224), (240, 424)) if seed % 2 else ((168, 224), (60, 80))
        model, measured = (depths(np.random.default_rng(seed), shape) for shape in shapes)
        rng = np.random.default_rng(seed + 100)
        model *= rng.normal(1, 0.03, model.shape).astype(np.float32) / np.float32(UNIT)
        measured = np.round(measured / 0.1) * np.float32(0.1)
        measured[rng.random(measured.shape) < 0.4] = rng.choice([0.0, np.nan, np.inf])
        measured[:, :, : measured.shape[2] // 4] *= 1.7
        told: list[NDArray[np.float32] | None] = [*measured[:3], None]
        estimate = scale_from_depth(model, np.ones_like(model), told)
        errors.append(error(estimate))
        sigmas.append(estimate.sigma)
    assert max(errors) < 0.03
    assert np.mean(np.array(errors) < 2 * np.array(sigmas)) >= 0.9


def test_depth_that_is_missing_or_has_nothing_to_do_with_the_view_leaves_the_scale_unknown():
    rng = np.random.default_rng(0)
    model = depths(rng, (168, 224))
    sure = np.ones_like(model)
    assert scale_from_depth(model, sure, [None] * 4) is None
    assert scale_from_depth(model, sure, list(np.zeros_like(model))) is None
    assert scale_from_depth(model * np.nan, sure, list(model)) is None
    cells = np.exp(rng.uniform(-2, 2, (4, 6, 8)))
    wrong = np.kron(cells, np.ones((1, 28, 28))).astype(np.float32)
    assert scale_from_depth(model, sure, list(wrong)) is None


def test_the_height_above_the_ground_gives_the_scale_or_nothing():
    estimate = scale_from_height(2.0, 0.04, 0.74)
    assert error(estimate) < 1e-9
    assert 0.02 < estimate.sigma < 0.03
    for height, sigma, meters in [(0, 0, 1), (-1, 0, 1), (1, 0.5, 1), (np.nan, 0, 1), (1, 0, 0)]:
        assert scale_from_height(height, sigma, meters) is None


def test_sources_that_agree_make_the_scale_surer_and_repetition_does_not():
    odometry = ScaleEstimate(1.0, 0.02, "odometry", 20)
    depth = ScaleEstimate(1.01, 0.02, "depth", 100)
    assert combine_scales([]) is None
    assert combine_scales([odometry] * 5).sigma == pytest.approx(0.02)
    both = combine_scales([odometry, depth])
    assert both.source == "odometry+depth"
    assert both.count == 120
    assert both.sigma < 0.016
    assert 1.0 < both.meters_per_unit < 1.01


def test_a_source_that_contradicts_two_others_is_overruled_and_two_that_contradict_are_unsure():
    odometry = ScaleEstimate(1.0, 0.02, "odometry", 20)
    rig = ScaleEstimate(1.01, 0.02, "rig", 20)
    wrong = ScaleEstimate(1.6, 0.02, "camera_height", 1)
    broken = ScaleEstimate(float("nan"), 0.02, "depth", 1)
    found = combine_scales([odometry, rig, wrong, broken])
    assert abs(np.log(found.meters_per_unit)) < 0.03
    assert combine_scales([odometry, wrong]).sigma > 0.1
