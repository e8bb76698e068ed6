"""What least squares are made of: residuals vanish at the truth, derivatives are those of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_worlds import poses, shaken, track_world

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import FOCAL, RESIDUAL, SCALE, Problem, State

STEP = 1e-6


@pytest.fixture
def off() -> tuple[Problem, State]:
    """A problem, and a state away from its truth."""
    T = poses(4, 0.3, 0.1)
    problem, truth = track_world(T, shaken(T, 0.1, 0.1, seed=5), tracks=12, focal=0.04)
    rng = np.random.default_rng(3)
    return problem, State(
        shaken(T, 0.05, 0.05),
        rng.normal(0, 0.1, 4),
        truth.log_depth + rng.normal(0, 0.1, 12),
        0.02,
    )


def twisted(state: State, number: int, twist: np.ndarray) -> State:
    """Move one pose by exp(twist), seen from the window."""
    T = state.T_window_camera.copy()
    turn = Rotation.from_rotvec(twist[:3]).as_matrix()
    T[number] = se3.pose(turn @ T[number, :3, :3], turn @ T[number, :3, 3] + twist[3:])
    return replace(state, T_window_camera=T)


def observed(problem: Problem, state: State) -> np.ndarray:
    at = problem.evaluate(state)
    return np.vstack([at.rays, at.depths]).T


def slope(problem: Problem, one: State, other: State) -> np.ndarray:
    return (observed(problem, one) - observed(problem, other)) / (2 * STEP)


def test_all_residuals_vanish_at_the_truth() -> None:
    T = poses(5, 0.3, 0.1)
    problem, truth = track_world(T, T, focal=0.05)
    at = problem.evaluate(truth)
    for values in (at.rays, at.depths, at.motions, at.scales):
        assert np.abs(values).max() < 1e-6
    assert at.focal == pytest.approx(1.0)  # one standard deviation from what is expected


def test_derivatives_by_poses_are_those_of_the_residuals(off: tuple[Problem, State]) -> None:
    problem, state = off
    rows, _ = problem.linearized(state, problem.evaluate(state))
    seen = problem.observations
    J = np.moveaxis(rows[:6], 0, 2) @ problem.twists(state)[seen.frame]
    for number in range(4):
        for column in range(6):
            twist = np.zeros(6)
            twist[column] = STEP
            found = slope(problem, twisted(state, number, twist), twisted(state, number, -twist))
            sign = (seen.anchor == number).astype(float) - (seen.frame == number)
            np.testing.assert_allclose(J[:, :, column] * sign[:, None], found, atol=2e-4)


def test_derivatives_by_depth_scale_and_focal_are_those_of_the_residuals(
    off: tuple[Problem, State],
) -> None:
    problem, state = off
    rows, J_depth = problem.linearized(state, problem.evaluate(state))

    def by(name: str) -> np.ndarray:
        value = getattr(state, name)
        return slope(
            problem, replace(state, **{name: value + STEP}), replace(state, **{name: value - STEP})
        )

    np.testing.assert_allclose(J_depth.T, by("log_depth"), atol=2e-4)
    np.testing.assert_allclose(rows[SCALE], by("log_scale"), atol=2e-4)
    np.testing.assert_allclose(rows[FOCAL], by("log_focal"), atol=2e-4)
    np.testing.assert_array_equal(rows[RESIDUAL], observed(problem, state))


def test_derivatives_of_motions_are_those_of_their_residuals(off: tuple[Problem, State]) -> None:
    problem, state = off
    J = problem.motion_jacobians(state, problem.evaluate(state))
    for column in range(6):
        twist = np.zeros(6)
        twist[column] = STEP
        one, other = (
            problem.evaluate(twisted(state, 2, signed)).motions for signed in (twist, -twist)
        )
        found = (one - other) / (2 * STEP)
        np.testing.assert_allclose(J[1, :, column], found[1], atol=2e-3)
        np.testing.assert_allclose(-J[2, :, column], found[2], atol=2e-3)
        assert np.abs(found[0]).max() == 0
