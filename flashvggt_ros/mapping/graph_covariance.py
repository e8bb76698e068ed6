"""How sure a pose graph is of what follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.graph_factors import Factors, NodePoses
from flashvggt_ros.mapping.graph_optimizer import NormalEquations, robust_weights

LEAST_REDUNDANCY = 1e-6  # share of a factor's error that the others must determine


def covariances(
    factors: Factors, poses: NodePoses, equations: NormalEquations, nodes: NDArray[np.int64],
    derivatives: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return J H^-1 J^T (F, D, D) for quantities with derivatives (F, D, 14) by nodes (F, 2)."""
    lines = [kind.linearize(poses) for kind in factors]
    weights = robust_weights(factors, [line.residuals for line in lines], 1.0)
    decomposed = equations.factorize(equations.assemble(lines, weights)[0], 0.0)
    found = []
    for pair, rows in zip(nodes, derivatives, strict=True):
        gathered = equations.gathered(rows, pair)
        found.append(gathered @ decomposed.solve(gathered.T.copy()))
    return np.array(found)


def left_out_distance(
    residual: NDArray[np.float64], explained: NDArray[np.float64], weight: float
) -> float:
    """Squared distance, in standard deviations, of a measurement from what all others say.

    ``residual`` (7,) and ``explained`` = J H^-1 J^T (7, 7) with the measurement taking part by
    ``weight``; directions that no other factor determines do not count.
    """
    values, axes = np.linalg.eigh((explained + explained.T) / 2)
    redundancy = 1 - weight * values
    is_checked = redundancy > LEAST_REDUNDANCY
    along = (axes.T @ residual)[is_checked] ** 2
    free = redundancy[is_checked]
    return float((along / (free * (free + values[is_checked]))).sum())
