"""What is measured of the nodes of a pose graph: records, and the arrays made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_factors import (
    FREEDOMS,
    BetweenFactors,
    EvenFactors,
    Factors,
    NodePoses,
    ScaleFactors,
    UpFactors,
    seen_from,
)


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """A measured S_first_second and its covariance (7, 7).

    Order of the covariance: rotation [rad] and translation, both along the axes and in the units of
    the first node, logarithm of the scale.
    """

    first: int
    second: int
    S_first_second: Sim3
    covariance: NDArray[np.float64]
    is_robust: bool


@dataclass(frozen=True, slots=True)
class ScaleFactor:
    """Measured meters per unit of a node; ``sigma`` is that of its logarithm."""

    node: int
    meters_per_unit: float
    sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class UpFactor:
    """Measured unit vector (3,) against gravity in a node's frame; sigma [rad]."""

    node: int
    up_node: NDArray[np.float64]
    sigma: float


Factor = Between | ScaleFactor | UpFactor


def nodes_of(factor: Factor) -> tuple[int, ...]:
    """Return the nodes that a factor is about."""
    return (factor.first, factor.second) if isinstance(factor, Between) else (factor.node,)


def gather(
    measured: Mapping[int, Factor], rows: Mapping[int, int]
) -> tuple[Factors, list[int]]:
    """Return the factors in arrays, by kind, and their ids in that order.

    ``rows``: where each node is in the arrays of poses, by its number.
    """
    between = [(i, f) for i, f in measured.items() if isinstance(f, Between)]
    scales = [(i, f) for i, f in measured.items() if isinstance(f, ScaleFactor)]
    ups = [(i, f) for i, f in measured.items() if isinstance(f, UpFactor)]
    factors = Factors(
        _between([f for _, f in between], rows),
        ScaleFactors(
            np.array([[rows[f.node]] for _, f in scales], np.int64).reshape(-1, 1),
            np.log([f.meters_per_unit for _, f in scales]),
            np.array([f.sigma for _, f in scales]),
        ),
        UpFactors(
            np.array([[rows[f.node]] for _, f in ups], np.int64).reshape(-1, 1),
            np.array([f.up_node for _, f in ups]).reshape(-1, 3),
            np.array([f.sigma for _, f in ups]),
        ),
        EvenFactors.none(),
    )
    return factors, [i for i, _ in (*between, *scales, *ups)]


def _between(factors: list[Between], rows: Mapping[int, int]) -> BetweenFactors:
    measured = [factor.S_first_second for factor in factors]
    return BetweenFactors(
        np.array([[rows[f.first], rows[f.second]] for f in factors], np.int64).reshape(-1, 2),
        NodePoses(
            np.array([S.rotation for S in measured]).reshape(-1, 3, 3),
            np.array([S.translation for S in measured]).reshape(-1, 3),
            np.log([S.scale for S in measured]),
        ),
        np.array([whitening(f.covariance) for f in factors]).reshape(-1, FREEDOMS, FREEDOMS),
        np.array([f.is_robust for f in factors], np.bool_),
    )


def whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W (7, 7) with W covariance W^T = 1; ValueError where there is none."""
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError(f"covariance is not positive definite: {covariance}") from None
    inverse: NDArray[np.float64] = np.linalg.inv(root)
    return inverse


def place_sigma(covariance: NDArray[np.float64], arm: NDArray[np.float64]) -> float:
    """Return the largest standard deviation of where a point of the second node is.

    ``covariance`` (7, 7) in the order of Between; ``arm`` (3,): from the second node's origin.
    """
    moves = seen_from(arm)[3:6]
    variance = float(np.linalg.eigvalsh(moves @ covariance @ moves.T)[-1])
    return math.sqrt(max(variance, 0.0))


def covariance_at(
    S_first_second: Sim3, anchor_second: NDArray[np.float64], sigmas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the covariance (7, 7) of a similarity measured at a point (3,) of the second frame.

    ``sigmas`` (7,): rotation [rad] about the point, the point's place in units of the first frame,
    logarithm of the scale about the point; errors of these are independent where the point is the
    middle of what was measured. At the second frame's origin they are not: a turn moves it.
    """
    arm = S_first_second.scale * (S_first_second.rotation @ anchor_second)
    at_origin = seen_from(-arm)
    return (at_origin * np.asarray(sigmas, np.float64) ** 2) @ at_origin.T


def with_drift(
    covariance: NDArray[np.float64], S_first_second: Sim3, T_first_camera: NDArray[np.float64],
    rotation_drift: float, scale_drift: float,
) -> NDArray[np.float64]:
    """Return the covariance (7, 7) of a join with what the first submap may have bent before it.

    ``covariance`` is that of S_first_second as the shared keyframes have it; T_first_camera
    (K, 4, 4) are the first submap's poses. Over its life a submap turns by ``rotation_drift`` [rad]
    and its scale changes by ``scale_drift`` (standard deviations), and at least by what a random
    walk of K steps makes of the errors at the join. Both act about the middle of its path.
    """
    centers = T_first_camera[:, :3, 3]
    extent = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    steps = len(centers)
    rotation = np.hypot(rotation_drift, np.sqrt(steps * np.trace(covariance[:3, :3]) / 3))
    growth = np.hypot(scale_drift, np.sqrt(steps * covariance[6, 6]))
    middle_second = S_first_second.inverse().transform_points(centers[steps // 2])
    place = 0.25 * extent * max(rotation, growth)
    sigmas = np.repeat([rotation, max(place, 1e-9), growth], (3, 3, 1))
    return covariance + covariance_at(S_first_second, middle_second, sigmas)
