"""Sparse nonlinear least squares over the nodes of a pose graph, with robust kernels."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu
from scipy.stats import chi2

from flashvggt_ros.mapping.graph_factors import FREEDOMS, Factors, Linearization, NodePoses

MAX_ITERATIONS = 60
INLIER = 0.999  # share of the errors of true factors that a robust kernel takes as normal
ANNEALING = 4.0  # by which the kernels narrow in each step
LEAST_CHANGE = 1e-5  # of the cost, relative, that is worth another iteration
MOST_GROWTH = 0.5  # of a node's scale in one step
SETTLED = 0.1  # change of the cost, relative, below which the kernels narrow
LEAST_DAMPING, MOST_DAMPING = 1e-9, 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Poses, the weight (F,) of each factor kind, costs before and after, and iterations taken.

    The cost is half the sum of squared residuals in standard deviations, under the robust kernels.
    """

    poses: NodePoses
    weights: tuple[NDArray[np.float64], ...]
    cost_before: float
    cost_after: float
    iterations: int


class NormalEquations:
    """H = J^T W J over the free coordinates of the nodes; its sparsity is worked out once."""

    def __init__(self, factors: Factors, is_free: NDArray[np.bool_]) -> None:
        """``is_free`` (n, 7): which coordinates of which node may change."""
        self._factors = factors
        self._shape = is_free.shape
        self.free = np.flatnonzero(is_free)
        position = np.full(is_free.size, -1)
        position[self.free] = np.arange(len(self.free))
        self._coordinates = [
            position[
                np.repeat(kind.nodes * FREEDOMS, FREEDOMS, axis=1)
                + np.tile(np.arange(FREEDOMS), kind.nodes.shape[1])
            ]
            for kind in factors
        ]
        rows = [np.repeat(c, c.shape[1], axis=1).ravel() for c in self._coordinates]
        columns = [np.tile(c, (1, c.shape[1])).ravel() for c in self._coordinates]
        row, column = np.concatenate(rows), np.concatenate(columns)
        self._is_used = (row >= 0) & (column >= 0)
        size = len(self.free)
        diagonal = np.arange(size)
        key = np.concatenate([column[self._is_used] * size + row[self._is_used],
                              diagonal * (size + 1)])
        cells, self._cell = np.unique(key, return_inverse=True)
        self._indices = cells % size
        self._pointers = np.searchsorted(cells // size, np.arange(size + 1))
        self._diagonal = self._cell[len(key) - size :]

    def assemble(
        self, lines: list[Linearization], weights: list[NDArray[np.float64]]
    ) -> tuple[sparse.csc_matrix, NDArray[np.float64]]:
        """Return H (sparse) and the gradient, both over the free coordinates."""
        blocks, gradient = [], np.zeros(len(self.free))
        for line, weight, coordinates in zip(lines, weights, self._coordinates, strict=True):
            weighted = line.derivatives * weight[:, None, None]
            blocks.append((np.swapaxes(weighted, 1, 2) @ line.derivatives).ravel())
            slopes = np.einsum("fdk,fd->fk", weighted, line.residuals)
            is_used = coordinates >= 0
            gradient += np.bincount(coordinates[is_used], slopes[is_used], len(self.free))
        values = np.concatenate([np.concatenate(blocks)[self._is_used], np.zeros(len(self.free))])
        cells = np.bincount(self._cell, values, len(self._indices))
        size = len(self.free)
        return sparse.csc_matrix((cells, self._indices, self._pointers), (size, size)), gradient

    def factorize(self, H: sparse.csc_matrix, damping: float) -> SuperLU:
        """Return the factors of H with its diagonal grown by the share ``damping``."""
        damped = H.copy()
        diagonal = damped.data[self._diagonal]
        floor = 1e-12 * max(float(diagonal.max(initial=0.0)), 1.0)
        damped.data[self._diagonal] += damping * diagonal + floor
        options = {"SymmetricMode": True}
        return splu(damped, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)

    def spread(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a change of the free coordinates as one of all (n, 7), at most MOST_GROWTH."""
        delta = np.zeros(self._shape)
        delta.ravel()[self.free] = change
        return delta * min(1.0, MOST_GROWTH / max(float(np.abs(delta[:, 6]).max()), MOST_GROWTH))

    def gathered(self, derivatives: NDArray[np.float64], nodes: NDArray[np.int64]) -> NDArray:
        """Return derivatives (D, K * 7) by some nodes (K,) as rows over all free coordinates."""
        full = np.zeros((len(derivatives), *self._shape))
        for k, node in enumerate(nodes):
            full[:, node] += derivatives[:, k * FREEDOMS : (k + 1) * FREEDOMS]
        return full.reshape(len(derivatives), -1)[:, self.free]


def solve(factors: Factors, poses: NodePoses, is_free: NDArray[np.bool_]) -> Solution:
    """Minimize the robust cost by Levenberg-Marquardt, deterministic.

    Robust factors have the kernel of Geman and McClure, made by graduated non-convexity (Yang et
    al., RA-L 2020): it starts so wide that all of them count, and narrows, so that the start need
    not be near the solution.
    """
    equations = NormalEquations(factors, is_free)
    width = _first_width(factors, poses)
    cost_before = _robust_cost(factors, poses)
    damping, iterations = 1e-6, 0
    while iterations < MAX_ITERATIONS and len(equations.free):
        iterations += 1
        lines = [kind.linearize(poses) for kind in factors]
        weights = robust_weights(factors, [line.residuals for line in lines], width)
        H, gradient = equations.assemble(lines, weights)
        cost = _cost([line.residuals for line in lines], weights)
        change = equations.factorize(H, damping).solve(-gradient)
        moved = poses.moved(equations.spread(change))
        moved_cost = _cost([kind.residuals(moved) for kind in factors], weights)
        is_better = moved_cost <= cost
        if is_better:
            poses, damping = moved, max(damping / 10, LEAST_DAMPING)
        elif damping >= MOST_DAMPING:
            break
        else:
            damping = damping * 10
        if width == 1.0 and is_better and cost - moved_cost <= LEAST_CHANGE * (cost + 1e-9):
            break
        if is_better and cost - moved_cost <= SETTLED * cost + SETTLED**3:
            width = max(1.0, min(width / ANNEALING, _first_width(factors, poses)))
    residuals = [kind.residuals(poses) for kind in factors]
    weights = robust_weights(factors, residuals, 1.0)
    return Solution(
        poses, tuple(weights), cost_before, _robust_cost(factors, poses), iterations
    )


def robust_weights(
    factors: Factors, residuals: list[NDArray[np.float64]], width: float
) -> list[NDArray[np.float64]]:
    """Return the weights (F,) of each kind, 0 to 1, for kernels ``width`` times as wide as normal.

    Geman and McClure: (width c^2 / (r^2 + width c^2))^2, c^2 the chi-square quantile INLIER.
    """
    weights = []
    are_robust = [
        kind.is_robust for kind in (factors.between, factors.scale, factors.up, factors.even)
    ]
    for is_robust, errors in zip(are_robust, residuals, strict=True):
        wide = width * inlier_limit(errors.shape[1])
        kernel = (wide / ((errors**2).sum(axis=1) + wide)) ** 2
        weights.append(np.where(is_robust, kernel, 1.0))
    return weights


@functools.cache
def inlier_limit(freedoms: int) -> float:
    """Squared distance in standard deviations that true factors exceed once in a thousand."""
    return float(chi2.ppf(INLIER, freedoms))


def _first_width(factors: Factors, poses: NodePoses) -> float:
    """Kernel width at which every robust factor still counts, at least 1."""
    widest = 1.0
    for kind in factors:
        residuals = kind.residuals(poses)[kind.is_robust]
        worst = float((residuals**2).sum(axis=1).max(initial=0.0))
        widest = max(widest, 2 * worst / inlier_limit(residuals.shape[1]))
    return widest


def _cost(residuals: list[NDArray[np.float64]], weights: list[NDArray[np.float64]]) -> float:
    parts = zip(residuals, weights, strict=True)
    return sum(float(weight @ (errors**2).sum(axis=1)) for errors, weight in parts) / 2


def _robust_cost(factors: Factors, poses: NodePoses) -> float:
    total = 0.0
    for kind in factors:
        errors = kind.residuals(poses)
        squares, limit = (errors**2).sum(axis=1), inlier_limit(errors.shape[1])
        bounded = squares * limit / (squares + limit)
        total += float(np.where(kind.is_robust, bounded, squares).sum()) / 2
    return total
