"""Planes fitted to the points near them, where furniture stands above only: floors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.consensus import MAD, median

TUKEY = 4.685
ROUNDS = 8


def fit_near(
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    offsets: NDArray[np.float64],
    near: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Fit planes to the points near them, as wide as those below are; False where one gets lost.

    Planes are normals (n, 3) and offsets (n,), as returned; points (M, 3) beyond ``near`` (n,) of
    one have no weight.
    """
    is_fitted, moments = np.ones(len(normals), bool), moments_of(points)
    for _ in range(ROUNDS):
        weights = tukey_weights(normals @ points.T - offsets[:, None], near)
        is_fitted &= (weights > 0).sum(axis=1, dtype=np.int32) >= 8
        normals, offsets = least_squares(moments, weights, normals)
        is_fitted &= offsets < 0
        if not is_fitted.any():
            break
    return normals, offsets, is_fitted


def tukey_weights(
    heights: NDArray[np.float64], near: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Tukey's weights (n, M) of heights above floors, none beyond ``near`` (n,) of each."""
    widths = np.array([_width(*each) for each in zip(heights, near, strict=True)])
    weights = 1 - np.square(heights / widths[:, None])
    np.maximum(weights, np.zeros(weights.shape[1]), out=weights)
    return np.square(weights, out=weights)


def _width(heights: NDArray[np.float64], near: float) -> float:
    """Where weights of heights (M,) above a floor end, by those a little below it."""
    under = heights[np.flatnonzero((heights < 0) & (heights > -near))]
    return min(near, TUKEY * max(MAD * -median(under), 1e-9)) if len(under) else near


def moments_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1, the coordinates and their products with each other (M, 13) for points (M, 3)."""
    products = (points[:, :, None] * points[:, None]).reshape(-1, 9)
    return np.hstack([np.ones((len(points), 1)), points, products])


def least_squares(
    moments: NDArray[np.float64], weights: NDArray[np.float64], normals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normals (n, 3), on the side of those given, and offsets (n,) of planes through points.

    ``moments`` (M, 13) of the points, as ``moments_of`` returns them, ``weights`` (n, M)
    for each plane.
    """
    sums = weights @ moments
    totals = np.maximum(sums[:, :1], 1e-12)
    means = sums[:, 1:4] / totals
    spreads = sums[:, 4:].reshape(-1, 3, 3)
    spreads = spreads - totals[:, :, None] * means[:, :, None] * means[:, None]
    fitted = np.linalg.eigh(spreads)[1][:, :, 0]
    sides = np.einsum("ni,ni->n", fitted, normals)
    fitted *= np.where(sides < 0, -1.0, 1.0)[:, None]
    return fitted, np.einsum("ni,ni->n", fitted, means)
