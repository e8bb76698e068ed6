"""Corrections of the map reach TF as a glide, never as a jump."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.correction_limiter import CorrectionLimiter

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def random_pose(rng: np.random.Generator, reach: float, turn: float) -> NDArray[np.float64]:
    rotation = Rotation.from_rotvec(rng.uniform(-turn, turn, 3)).as_matrix()
    return se3.pose(rotation, rng.uniform(-reach, reach, 3))


def step(T_first: NDArray[np.float64], T_second: NDArray[np.float64]) -> tuple[float, float]:
    """How far [m] and by how much [rad] a pose moves."""
    moved = float(np.linalg.norm(T_second[:3, 3] - T_first[:3, 3]))
    return moved, float(se3.rotation_angle((se3.inverse(T_first) @ T_second)[:3, :3]))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.01, 5.0))
def test_no_shown_step_exceeds_true_motion_and_the_rate(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    limiter = CorrectionLimiter()
    T_map_robot = random_pose(rng, 100.0, 1.0)
    stamp_ns = START
    T_shown = limiter.correction(T_map_robot, stamp_ns, rate) @ T_map_robot
    assert np.allclose(T_shown, T_map_robot, atol=1e-9)  # the first one is where the map has it
    for _ in range(40):
        if rng.random() < 0.2:
            moved = random_pose(rng, 5.0, 0.5) @ T_map_robot
            limiter.absorb(T_map_robot, moved)
            T_map_robot = moved
        motion = random_pose(rng, 0.1, 0.1)
        T_map_robot = T_map_robot @ motion
        dt = float(rng.choice([0.0, -0.3, 0.05, 0.2]))
        stamp_ns = stamp_ns + int(dt * 1e9)
        T_before = T_shown
        T_shown = limiter.correction(T_map_robot, stamp_ns, rate) @ T_map_robot
        moved_by, turned_by = step(T_before, T_shown)
        true_step, true_turn = step(np.eye(4), motion)
        assert moved_by <= true_step + rate * max(0.0, dt) + 1e-9
        assert turned_by <= true_turn + rate * max(0.0, dt) + 1e-6


def test_what_was_shown_stays_when_the_map_moves_and_then_goes_there_in_the_time_it_takes() -> None:
    limiter = CorrectionLimiter()
    T_before = se3.pose(np.eye(3), np.array([50.0, 0.0, 0.0]))
    limiter.correction(T_before, START, 0.5)
    turned = Rotation.from_rotvec([0, 0, 0.3]).as_matrix()
    T_after = se3.pose(turned, np.array([50.0, 2.0, 0.0]))
    limiter.absorb(T_before, T_after)
    at_once = limiter.correction(T_after, START, 0.5) @ T_after
    np.testing.assert_allclose(at_once, T_before, atol=1e-9)
    later = limiter.correction(T_after, START + SECOND, 0.5) @ T_after
    np.testing.assert_allclose(later[:3, 3], [50.0, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(later[:3, :3], turned, atol=1e-9)  # 0.3 rad take 0.6 s
    arrived = limiter.correction(T_after, START + 4 * SECOND, 0.5)
    np.testing.assert_allclose(arrived, np.eye(4), atol=1e-12)


def test_a_turn_of_the_map_moves_a_robot_far_from_its_origin_no_faster() -> None:
    limiter = CorrectionLimiter()
    T_before = se3.pose(np.eye(3), np.array([1000.0, 0.0, 0.0]))
    limiter.correction(T_before, START, 0.5)
    turned = se3.pose(Rotation.from_rotvec([0, 0, 0.01]).as_matrix(), np.zeros(3))
    T_after = turned @ T_before  # 10 m aside
    limiter.absorb(T_before, T_after)
    shown = limiter.correction(T_after, START + SECOND // 10, 0.5) @ T_after
    assert step(T_before, shown)[0] == pytest.approx(0.05, abs=1e-9)


def test_time_does_not_run_backwards() -> None:
    limiter = CorrectionLimiter()
    limiter.correction(np.eye(4), START + SECOND, 1.0)
    T_after = se3.pose(np.eye(3), np.array([3.0, 0.0, 0.0]))
    limiter.absorb(np.eye(4), T_after)
    for stamp_ns in (START, START + SECOND // 2, START + SECOND):
        shown = limiter.correction(T_after, stamp_ns, 1.0) @ T_after
        np.testing.assert_allclose(shown, np.eye(4), atol=1e-9)
