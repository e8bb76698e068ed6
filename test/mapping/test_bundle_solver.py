"""Poses, depths and focal length are found from tracks; priors decide where tracks cannot."""

import numpy as np
import pytest
from track_worlds import Array, poses, shaken, track_world

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import State
from flashvggt_ros.mapping.bundle_solver import cost, solve

WIDTHS = (10.0, 5.0, 3.0, *[2.0] * 12)


def start(truth: State, T: Array, depth_error: float = 0.15) -> State:
    """A model's guess: poses T, depths with normal errors."""
    rng = np.random.default_rng(7)
    errors = rng.normal(0, depth_error, len(truth.log_depth))
    return State(T, np.zeros(len(T)), truth.log_depth + errors, 0.0)


def pose_errors(found: State, truth: State) -> tuple[float, float]:
    """Largest errors of rotation [rad] and, after one scale, of places relative to the path."""
    a, b = found.T_window_camera, truth.T_window_camera
    turns = se3.rotation_angle(np.swapaxes(a[:, :3, :3], 1, 2) @ b[:, :3, :3])
    scale = float((a[:, :3, 3] * b[:, :3, 3]).sum() / (a[:, :3, 3] ** 2).sum())
    shifts = np.linalg.norm(scale * a[:, :3, 3] - b[:, :3, 3], axis=1)
    path = np.linalg.norm(np.diff(b[:, :3, 3], axis=0), axis=1).sum()
    return float(turns.max()), float(shifts.max() / path)


def test_exact_tracks_correct_wrong_poses_and_depths() -> None:
    T = poses(8, 0.2, 0.03)
    guess = shaken(T, 0.02, 0.05)
    problem, truth = track_world(T, guess, pixel=1e-5)
    found = solve(problem, start(truth, guess), WIDTHS)
    assert pose_errors(start(truth, guess), truth)[0] > 0.02
    rotation, translation = pose_errors(found, truth)
    assert rotation < 1e-4  # [rad]
    assert translation < 1e-3
    ratio = np.exp(found.log_depth - truth.log_depth)
    assert ratio.std() / ratio.mean() < 2e-3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_30_percent_outliers_cost_hardly_anything(seed: int) -> None:
    T = poses(8, 0.2, 0.03, seed)
    guess = shaken(T, 0.02, 0.05, seed + 10)
    problem, truth = track_world(T, guess, outliers=0.3, seed=seed)
    rotation, translation = pose_errors(solve(problem, start(truth, guess), WIDTHS), truth)
    assert rotation < 0.003  # [rad]; a ray's standard deviation
    assert translation < 0.01


def test_pure_rotation_keeps_the_translation_of_the_model() -> None:
    T = poses(8, 0.0, 0.05)
    problem, truth = track_world(T, T, depth_noise=0.1)
    found = solve(problem, start(truth, shaken(T, 0.02, 0.0)), WIDTHS)
    turns = np.swapaxes(found.T_window_camera[:, :3, :3], 1, 2) @ T[:, :3, :3]
    assert se3.rotation_angle(turns).max() < 1e-3  # [rad]
    assert np.linalg.norm(found.T_window_camera[:, :3, 3], axis=1).max() < 0.002  # [m]


@pytest.mark.parametrize("focal", [-0.05, 0.04])
def test_an_unknown_focal_length_is_found_to_one_percent(focal: float) -> None:
    T = poses(10, 0.3, 0.03)
    guess = shaken(T, 0.01, 0.03)
    problem, truth = track_world(T, guess, pixel=0.001, depth_noise=0.1, focal=focal)
    found = solve(problem, start(truth, guess), WIDTHS)
    assert found.log_focal == pytest.approx(focal, abs=0.01)


def test_fixed_poses_do_not_move() -> None:
    T = poses(8, 0.2, 0.03)
    problem, truth = track_world(T, T)
    problem.is_free[:4] = False
    guess = shaken(T, 0.02, 0.05)
    guess[:4] = T[:4]
    found = solve(problem, start(truth, guess), WIDTHS)
    np.testing.assert_array_equal(found.T_window_camera[:4], T[:4])
    assert pose_errors(found, truth)[0] < 1e-3


def test_no_step_goes_uphill() -> None:
    T = poses(6, 0.2, 0.03)
    guess = shaken(T, 0.2, 0.5)
    problem, truth = track_world(T, guess, outliers=0.5)
    state = start(truth, guess, 0.5)
    costs = []
    for _ in range(6):
        costs.append(cost(problem.evaluate(state), 2.0))
        state = solve(problem, state, (2.0,))
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < 0.7 * costs[0]
