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
from flashvggt_ros.mapping.bundle_problem import (
    FOCAL,
    RESIDUAL,
    SCALE,
    Evaluation,
    Problem,
    State,
    rotate,
)

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
    total = _cauchy((at.rays**2).sum(axis=0), width) + _cauchy(at.depths**2, DEPTH_WIDTH)
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
        rows, by_depth = problem.linearized(state, at)
        twists = problem.twists(state)
        ray_weights = _weights((at.rays**2).sum(axis=0), width)
        weights = np.stack([ray_weights, ray_weights, _weights(at.depths**2, DEPTH_WIDTH)], axis=1)
        rows *= weights
        by_depth *= weights.T
        coupling = sum(rows[:, :, i] * by_depth[i] for i in range(3))
        H, g = _normal_equations(
            _observation_blocks(problem, twists, rows) + _motion_blocks(problem, state, at)
        )
        scales = np.arange(6 * K, 7 * K)
        H[scales, scales] += 1 / problem.priors.log_scale_sigma**2
        g[scales] += at.scales / problem.priors.log_scale_sigma
        if problem.has_focal:
            H[-1, -1] += 1 / problem.priors.log_focal_sigma**2
            g[-1] += at.focal / problem.priors.log_focal_sigma
        free = np.flatnonzero([*np.repeat(problem.is_free, 6), *np.ones(K), problem.has_focal])
        return cls(
            free, H[np.ix_(free, free)], g[free], _couplings(problem, twists, coupling, free, M),
            _sums(seen.track, (by_depth**2).sum(axis=0), M),
            _sums(seen.track, coupling[RESIDUAL], M),
        )  # fmt: skip


def _observation_blocks(problem: Problem, twists: Array, rows: Array) -> Array:
    """Sums of J^T J (K, K, 9, 9) over the ``rows`` (9, N, 3) of each anchor and frame.

    They act on the pose of the first, in reverse on that of the second, whose scale is theirs.
    ``twists`` are those of the problem.
    """
    pairs, K = problem.pairs, len(problem.is_free)
    ends = np.append(pairs.starts[1:], rows.shape[1]).tolist()
    sums = np.empty((len(ends), 9, 9))
    for number, (start, end) in enumerate(zip(pairs.starts.tolist(), ends, strict=True)):
        flat = rows[:, start:end].reshape(9, -1)
        sums[number] = flat @ flat.T
    turns = np.tile(np.eye(9), (len(ends), 1, 1))
    turns[:, :6, :6] = twists[pairs.frame]
    blocks = np.zeros((K, K, 9, 9))
    blocks[pairs.anchor, pairs.frame] = np.swapaxes(turns, 1, 2) @ sums @ turns
    return blocks


def _motion_blocks(problem: Problem, state: State, at: Evaluation) -> Array:
    """Do the same for the motions: (K, K, 9, 9) by second and first frame."""
    prior, K = problem.priors.motion, len(problem.is_free)
    weights = _weights(at.motions**2, MOTION_WIDTH)
    rows = np.zeros((len(weights), 6, 9))
    rows[:, :, :6] = problem.motion_jacobians(state, at) * weights[:, :, None]
    rows[:, :, RESIDUAL] = at.motions * weights
    blocks = np.zeros((K, K, 9, 9))
    blocks[prior.second, prior.first] = np.swapaxes(rows, 1, 2) @ rows
    return blocks


def _normal_equations(blocks: Array) -> tuple[Array, Array]:
    """H (D, D) and g (D,) of blocks (K, K, 9, 9), with D = 7 K + 1: poses, scales, focal length."""
    K = len(blocks)
    every = np.arange(K)
    by_plus, by_minus = blocks.sum(axis=1), blocks.sum(axis=0)
    poses = -np.swapaxes(blocks[:, :, :6, :6], 1, 2).reshape(6 * K, 6 * K)
    poses += poses.T
    poses.reshape(K, 6, K, 6)[every, :, every] += (by_plus + by_minus)[:, :6, :6]
    scales = np.swapaxes(blocks[:, :, :6, SCALE], 1, 2).copy()  # (K, 6, K) to poses
    scales[every, :, every] -= by_minus[:, :6, SCALE]
    others = (by_plus - by_minus)[:, :6, FOCAL:].reshape(6 * K, 2)

    H, g = np.zeros((7 * K + 1, 7 * K + 1)), np.zeros(7 * K + 1)
    H[: 6 * K, : 6 * K] = poses
    H[: 6 * K, 6 * K : -1] = scales.reshape(6 * K, K)
    H[6 * K + every, 6 * K + every] = by_minus[:, SCALE, SCALE]
    H[: 6 * K, -1], g[: 6 * K] = others.T
    H[6 * K : -1, -1], g[6 * K : -1] = by_minus[:, SCALE, FOCAL:].T
    H[-1, -1], g[-1] = by_minus[:, FOCAL, FOCAL:].sum(axis=0)
    H[6 * K : -1, : 6 * K] = H[: 6 * K, 6 * K : -1].T
    H[-1, :-1] = H[:-1, -1]
    return H, g


def _couplings(
    problem: Problem, twists: Array, coupling: Array, free: NDArray[np.int64], M: int
) -> Array:
    """W (M, D) from each observation's share (9, N); ``twists`` are those of the problem."""
    seen, K = problem.observations, len(problem.is_free)
    turns = np.ascontiguousarray(np.moveaxis(twists, 0, 2))[:, :, seen.frame]
    by_twist = [sum(turns[i, j] * coupling[i] for i in range(6)) for j in range(6)]
    anchor = np.empty(M, np.int64)
    anchor[seen.track] = seen.anchor
    column = np.full(7 * K + 1, len(free))  # what is not free goes to a column that is cut off
    column[free] = np.arange(len(free))
    W = np.zeros((M, len(free) + 1))
    for number, share in enumerate(by_twist):
        W[seen.track, column[6 * seen.frame + number]] = -share
    for number, share in enumerate(by_twist):
        W[np.arange(M), column[6 * anchor + number]] += _sums(seen.track, share, M)
    W[seen.track, column[6 * K + seen.frame]] = coupling[SCALE]
    W[:, column[-1]] = _sums(seen.track, coupling[FOCAL], M)
    return W[:, :-1]


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
