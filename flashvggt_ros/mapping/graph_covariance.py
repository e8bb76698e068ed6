"""How sure a pose graph is of what follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.graph_factors import Factors, NodePoses, relative_derivatives
from flashvggt_ros.mapping.graph_optimizer import NormalEquations, robust_weights

LEAST_REDUNDANCY = 1e-6  # share of a factor's error that the others must determine


class Information:
    """A graph linearized at given poses: covariances of what follows from it."""

    def __init__(
        self, factors: Factors, poses: NodePoses, is_free: NDArray[np.bool_],
        parts: NDArray[np.int64],
    ) -> None:
        """``is_free`` (n, 7): the coordinates that may change; ``parts`` (n,): who is joined."""
        self._poses, self._parts = poses, parts
        self._equations = NormalEquations(factors, is_free)
        self._factorized = None
        if len(self._equations.free):
            lines = [kind.linearize(poses) for kind in factors]
            weights = robust_weights(factors, [line.residuals for line in lines], 1.0)
            H, _ = self._equations.assemble(lines, weights)
            self._factorized = self._equations.factorize(H, 0.0)

    def covariance(
        self, nodes: NDArray[np.int64], derivatives: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return J H^-1 J^T (D, D) of a quantity with derivatives (D, K * 7) by nodes (K,)."""
        if self._factorized is None:
            return np.zeros((len(derivatives), len(derivatives)))
        gathered = self._equations.gathered(derivatives, nodes)
        covariance: NDArray[np.float64] = gathered @ self._factorized.solve(gathered.T.copy())
        return (covariance + covariance.T) / 2

    def relative_covariance(self, first: int, second: int) -> NDArray[np.float64] | None:
        """Return that (7, 7) of S_first_second; None where nothing joins the two."""
        if self._parts[first] != self._parts[second]:
            return None
        nodes = np.array([first, second])
        return self.covariance(nodes, relative_derivatives(self._poses, nodes[None])[0])


def left_out_distance(
    residual: NDArray[np.float64], explained: NDArray[np.float64], weight: float
) -> float:
    """Squared distance, in standard deviations, of a measurement from what all others say.

    ``residual`` (7,) and ``explained`` = J H^-1 J^T (7, 7) with the measurement taking part by
    ``weight``; directions that no other factor determines do not count.
    """
    values, axes = np.linalg.eigh(explained)
    redundancy = 1 - weight * values
    is_checked = redundancy > LEAST_REDUNDANCY
    along = (axes.T @ residual)[is_checked] ** 2
    free = redundancy[is_checked]
    return float((along / (free * (free + values[is_checked]))).sum())
