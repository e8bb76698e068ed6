"""Levenberg and Marquardt for bundle adjustment; depths are eliminated by Schur's complement.

Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment: A Modern Synthesis, 1999.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import FOCAL, SCALE, Evaluation, Problem, State, rotate

Array = NDArray[np.float64]
DEPTH_WIDTH = 1.5  # of Cauchy's kernel on depths [standard deviations]
MOTION_WIDTH = 2.0  # and on motions [standard deviations]
DAMPING = 1e-4  # at the start, relative to the diagonal
LEAST_DAMPING = 1e-7
ATTEMPTS = 4  # with ever more damping, before a step is given up
LEAST_CURVATURE = 1e-9
MOST_DEPTH_CHANGE = 0.5  # of a log depth in one step


def solve(problem: Problem, state: State, widths: Sequence[float]) -> State:
    """Take one step downhill at each of the ``widths``, where there is one.

    A width is that of Cauchy's kernel on the rays [standard deviations]: wide ones first, so that a
    start that is off by many pixels finds its way.
    """
    at, damping = problem.evaluate(state), DAMPING
    for width in widths:
        system = _System.at(problem, state, at, width)
        before = cost(at, width)
        for _ in range(ATTEMPTS):
            candidate = _step(state, system, damping)
            there = problem.evaluate(candidate) if candidate is not None else None
            if candidate is not None and there is not None and cost(there, width) < before:
                state, at, damping = candidate, there, max(damping / 5, LEAST_DAMPING)
                break
            damping = max(damping * 10, DAMPING)
    return state


def cost(at: Evaluation, width: float) -> float:
    """Half the sum of all squared residuals; rays, depths and motions by Cauchy's kernel."""
    total = _cauchy((at.rays**2).sum(axis=1), width) + _cauchy(at.depths**2, DEPTH_WIDTH)
    total += _cauchy(at.motions**2, MOTION_WIDTH)
    return (total + float((at.scales**2).sum()) + at.focal**2) / 2


def _cauchy(squares: Array, width: float) -> float:
    return width**2 * float(np.log1p(squares / width**2).sum())


def _weights(squares: Array, width: float) -> Array:
    """Square roots of the kernel's weights, for residuals and rows alike."""
    weights: Array = 1 / np.sqrt(1 + squares / width**2)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """Normal equations: ``H`` and ``g`` of the D that are ``free`` of poses, scales, focal length.

    These are numbered 6 K, K and 1. Apart from them those of the M depths, ``H_depth`` and
    ``g_depth`` (M,), and ``W`` (M, D) between both.
    """

    free: NDArray[np.int64]
    H: Array
    g: Array
    W: Array
    H_depth: Array
    g_depth: Array

    @classmethod
    def at(cls, problem: Problem, state: State, at: Evaluation, width: float) -> _System:
        """Linearize, with each residual weighted as its kernel says."""
        seen, (M, K) = problem.observations, (len(state.log_depth), len(state.log_scale))
        J, J_depth = problem.jacobians(state, at)
        weights = np.empty((len(seen.track), 3))
        weights[:, :2] = _weights((at.rays**2).sum(axis=1), width)[:, None]
        weights[:, 2] = _weights(at.depths**2, DEPTH_WIDTH)
        rows = np.empty((len(seen.track), 3, 9))
        rows[:, :, :8] = J * weights[:, :, None]
        rows[:, :2, 8], rows[:, 2, 8] = at.rays * weights[:, :2], at.depths * weights[:, 2]
        J_depth *= weights
        coupling = (J_depth[:, None] @ rows)[:, 0]
        sums = _Sums.of_observations(problem, rows).joined(_Sums.of_motions(problem, state, at))
        H, g = sums.normal_equations(K)
        scales = np.arange(6 * K, 7 * K)
        H[scales, scales] += 1 / problem.priors.log_scale_sigma**2
        g[scales] += at.scales / problem.priors.log_scale_sigma
        if problem.has_focal:
            H[-1, -1] += 1 / problem.priors.log_focal_sigma**2
            g[-1] += at.focal / problem.priors.log_focal_sigma
        free = np.flatnonzero([*np.repeat(problem.is_free, 6), *np.ones(K), problem.has_focal])
        return cls(
            free, H[np.ix_(free, free)], g[free], _couplings(problem, coupling, M, free),
            _sums(seen.track, (J_depth**2).sum(axis=1), M),
            _sums(seen.track, coupling[:, 8], M),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums of J^T J (B, 9, 9) over rows that act on the same two poses; the last column are r.

    They act on the pose of ``plus`` (B,), in reverse on that of ``minus``, whose scale is theirs.
    """

    plus: NDArray[np.int64]
    minus: NDArray[np.int64]
    blocks: Array

    @classmethod
    def of_observations(cls, problem: Problem, rows: Array) -> _Sums:
        seen = problem.observations
        pairs = seen.anchor * len(problem.is_free) + seen.frame
        starts = np.flatnonzero(np.diff(pairs, prepend=-1))
        ends = np.append(starts[1:], len(pairs)).tolist()
        blocks = np.empty((len(starts), 9, 9))
        for number, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
            flat = rows[start:end].reshape(-1, 9)
            blocks[number] = flat.T @ flat
        return cls(seen.anchor[starts], seen.frame[starts], blocks)

    @classmethod
    def of_motions(cls, problem: Problem, state: State, at: Evaluation) -> _Sums:
        prior = problem.priors.motion
        weights = _weights(at.motions**2, MOTION_WIDTH)
        rows = np.zeros((len(weights), 6, 9))
        rows[:, :, :6] = problem.motion_jacobians(state, at) * weights[:, :, None]
        rows[:, :, 8] = at.motions * weights
        return cls(prior.second, prior.first, np.swapaxes(rows, 1, 2) @ rows)

    def joined(self, others: _Sums) -> _Sums:
        return _Sums(
            np.append(self.plus, others.plus),
            np.append(self.minus, others.minus),
            np.concatenate([self.blocks, others.blocks]),
        )

    def normal_equations(self, K: int) -> tuple[Array, Array]:
        """H (D, D) and g (D,) with D = 7 K + 1: poses, scales, focal length."""
        D, signs = 7 * K + 1, np.repeat([1.0, -1.0, 1.0], (6, 6, 2))
        source = [*range(6), *range(6), SCALE, FOCAL]  # columns of the blocks that act on these:
        places = _places(self.plus, self.minus, K)
        rows = self.blocks[:, source] * signs[:, None]
        at = places[:, :, None] * D + places[:, None]
        H = _sums(at.ravel(), (rows[:, :, source] * signs).ravel(), D * D).reshape(D, D)
        return H, _sums(places.ravel(), rows[:, :, 8].ravel(), D)


def _places(plus: NDArray[np.int64], minus: NDArray[np.int64], K: int) -> NDArray[np.int64]:
    """Columns (N, 14) of both twists, of the scale and of the focal length."""
    places = np.empty((len(plus), 14), np.int64)
    places[:, :6] = 6 * plus[:, None] + np.arange(6)
    places[:, 6:12] = 6 * minus[:, None] + np.arange(6)
    places[:, 12] = 6 * K + minus
    places[:, 13] = 7 * K
    return places


def _couplings(problem: Problem, coupling: Array, M: int, free: NDArray[np.int64]) -> Array:
    """W (M, D) from each observation's share (N, 9)."""
    seen, K, D = problem.observations, len(problem.is_free), len(free)
    columns = _places(seen.anchor, seen.frame, K)
    number = np.full(7 * K + 1, D)  # what is not free goes to a column that is cut off
    number[free] = np.arange(D)
    places = number[columns] + (D + 1) * seen.track[:, None]
    values = np.hstack([coupling[:, :6], -coupling[:, :6], coupling[:, 6:8]])
    return _sums(places.ravel(), values.ravel(), M * (D + 1)).reshape(M, D + 1)[:, :D]


def _sums(index: NDArray[np.int64], values: Array, size: int) -> Array:
    """Sums (size,) of the values of each index."""
    return np.asarray(np.bincount(index, values, size), np.float64)


def _step(state: State, system: _System, damping: float) -> State | None:
    """Solve the damped system; None where it cannot be solved."""
    H = system.H + np.diag(damping * system.H.diagonal() + LEAST_CURVATURE)
    H_depth = system.H_depth * (1 + damping) + LEAST_CURVATURE
    root = np.sqrt(H_depth)
    scaled = system.W / root[:, None]  # its product with itself takes half the time of any other
    reduced, right = H - scaled.T @ scaled, system.g - scaled.T @ (system.g_depth / root)
    # NumPy throughout: SciPy has BLAS threads of its own, which fight with NumPy's over few cores.
    try:
        np.linalg.cholesky(reduced)
    except np.linalg.LinAlgError:  # not positive definite, or not finite
        return None
    found = -np.linalg.solve(reduced, right)
    change_depth = -(system.g_depth + system.W @ found) / H_depth
    change = np.zeros(7 * len(state.log_scale) + 1)
    change[system.free] = found
    if not (np.isfinite(change).all() and np.isfinite(change_depth).all()):
        return None
    return _moved(state, change, change_depth)


def _moved(state: State, change: Array, change_depth: Array) -> State:
    T, K = state.T_window_camera, len(state.log_scale)
    twists = change[: 6 * K].reshape(K, 6)
    turns = Rotation.from_rotvec(twists[:, :3]).as_matrix()
    return State(
        se3.pose(turns @ T[:, :3, :3], rotate(turns, T[:, :3, 3]) + twists[:, 3:]),
        state.log_scale + change[6 * K : 7 * K],
        state.log_depth + change_depth.clip(-MOST_DEPTH_CHANGE, MOST_DEPTH_CHANGE),
        state.log_focal + float(change[-1]),
    )
