"""What is measured of a node of a pose graph becomes measurements of a neighbor that replaces it.

Measurements are chained and averaged to first order; nothing is linearized for good, and the number
of measurements falls with that of the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_factors import FREEDOMS, NodePoses, skew
from flashvggt_ros.mapping.graph_measurements import (
    Between,
    Factor,
    ScaleFactor,
    UpFactor,
    gather,
    seen_from,
)
from flashvggt_ros.mapping.graph_optimizer import robust_weights

LEAST_WEIGHT = 0.1  # of a robust factor that still counts as accepted
LEAST_SIGMA = 0.005  # of an average of scales [log] or ups [rad]: what is common does not cancel

Poses = Callable[[int], Sim3]


@dataclass(frozen=True, slots=True, eq=False)
class Inheritance:
    """The neighbor ``heir`` that stands for a node, and what is measured of heirs in its stead."""

    heir: int
    factors: tuple[Factor, ...]


def as_believed(
    factors: Sequence[Factor], poses: NodePoses, rows: Mapping[int, int]
) -> list[Factor]:
    """Return factors as sure as their residuals let them be, without those that nobody believes.

    ``rows``: where each node is in ``poses``, by its number.
    """
    arrays, numbers = gather(dict(enumerate(factors)), rows)
    residuals = [kind.residuals(poses) for kind in arrays]
    weights = np.concatenate(robust_weights(arrays, residuals, 1.0)).tolist()
    believed = []
    for number, weight in zip(numbers, weights, strict=True):
        factor = factors[number]
        if isinstance(factor, Between):
            factor = replace(factor, covariance=factor.covariance / max(weight, LEAST_WEIGHT))
        if weight >= LEAST_WEIGHT:
            believed.append(factor)
    return believed


def inherit(
    node: int, factors: Iterable[Factor], pose: Poses, fixed: Collection[int],
    preferred: Collection[int],
) -> Inheritance | None:
    """Give what is measured of a node to the neighbor that it is joined to most surely.

    ``factors``: all that name the node. A neighbor that is ``preferred`` comes before others, one
    that moves before one that is ``fixed``: that needs no measurements. A fixed node is replaced by
    a fixed one. Of a node between two others nothing is lost; of one between more, that errors of
    the join to the heir are common to the others (its information is spread as a star, where the
    exact one would join all neighbors). None where nothing can replace the node.
    """
    known = list(factors)
    edges = _edges_from(node, known, pose, fixed)
    unary = [factor for factor in known if not isinstance(factor, Between)]
    anchor = next((other for other in edges if other in fixed and node not in fixed), None)
    while anchor is not None and unary:
        edges[anchor] = _told(edges[anchor], unary.pop(), pose(anchor))
    if node in fixed:
        others = (set(fixed) & set(preferred)) or set(fixed)
        others -= {node}
        if not others:
            return None
        heir = min(others, key=lambda other: abs(other - node))
        to_heir = _exact(node, heir, pose)
    else:
        if not edges:
            return None
        heir = min(edges, key=lambda other: _rank(edges[other], fixed, preferred))
        to_heir = edges[heir]
    from_heir = inverted(to_heir)
    made: list[Factor] = [
        chained(from_heir, edge) for other, edge in edges.items()
        if other != heir and not {other, heir} <= set(fixed)
    ]
    if heir not in fixed:
        made += [_carried_over(factor, to_heir) for factor in unary]
    return Inheritance(heir, tuple(made))


def inverted(edge: Between) -> Between:
    """Return the same measurement, seen from its second node."""
    S = edge.S_first_second.inverse()
    turn = S.rotation
    moves = np.zeros((FREEDOMS, FREEDOMS))
    moves[:3, :3] = -turn
    moves[3:6, :3] = -S.scale * turn @ skew(edge.S_first_second.translation)
    moves[3:6, 3:6] = -S.scale * turn
    moves[3:6, 6] = -S.translation
    moves[6, 6] = -1
    return replace(
        edge, first=edge.second, second=edge.first, S_first_second=S,
        covariance=_symmetric(moves @ edge.covariance @ moves.T),
    )


def chained(edge: Between, following: Between) -> Between:
    """Return S_a_c of S_a_b and S_b_c, whose errors are independent; believed from then on."""
    S = edge.S_first_second
    arm = S.scale * (S.rotation @ following.S_first_second.translation)
    before, after = seen_from(arm), np.zeros((FREEDOMS, FREEDOMS))
    after[:3, :3], after[3:6, 3:6], after[6, 6] = S.rotation, S.scale * S.rotation, 1
    covariance = before @ edge.covariance @ before.T + after @ following.covariance @ after.T
    return Between(
        edge.first, following.second, S @ following.S_first_second, _symmetric(covariance),
        is_robust=False,
    )


def averaged(edge: Between, other: Between) -> Between:
    """Return the mean of two measurements of the same nodes, in the direction of the first.

    Where they contradict each other its covariance is larger by as much (Birge, 1932).
    """
    if other.first != edge.first:
        other = inverted(other)
    S = edge.S_first_second
    turn = Rotation.from_matrix(other.S_first_second.rotation @ S.rotation.T).as_rotvec()
    shift = other.S_first_second.translation - S.translation
    change = np.array([*turn, *shift, math.log(other.S_first_second.scale / S.scale)])
    gain = np.linalg.solve(edge.covariance + other.covariance, edge.covariance).T
    tension = change @ np.linalg.solve(edge.covariance + other.covariance, change) / FREEDOMS
    covariance = (edge.covariance - gain @ edge.covariance) * max(1.0, float(tension))
    return replace(
        edge, S_first_second=_changed(S, gain @ change), covariance=_symmetric(covariance),
        is_robust=edge.is_robust and other.is_robust,
    )


def averaged_scale(scale: ScaleFactor, other: ScaleFactor) -> ScaleFactor:
    """Return the mean of two measurements of one node's scale."""
    ours, theirs, sigma = _weights(scale.sigma, other.sigma)
    logs = math.log(scale.meters_per_unit), math.log(other.meters_per_unit)
    tension = (logs[0] - logs[1]) ** 2 / (scale.sigma**2 + other.sigma**2)
    mean = math.exp(ours * logs[0] + theirs * logs[1])
    return replace(scale, meters_per_unit=mean, sigma=max(sigma * _stretch(tension), LEAST_SIGMA))


def averaged_up(up: UpFactor, other: UpFactor) -> UpFactor:
    """Return the mean of two measurements of which way is up in one node's frame."""
    ours, theirs, sigma = _weights(up.sigma, other.sigma)
    mean = ours * up.up_node + theirs * other.up_node
    tension = float(((up.up_node - other.up_node) ** 2).sum()) / (up.sigma**2 + other.sigma**2) / 2
    length = float(np.linalg.norm(mean))
    if length < LEAST_SIGMA:  # they are opposite: neither is known to be right
        return up if up.sigma <= other.sigma else other
    return replace(up, up_node=mean / length, sigma=max(sigma * _stretch(tension), LEAST_SIGMA))


def _edges_from(
    node: int, factors: Iterable[Factor], pose: Poses, fixed: Collection[int]
) -> dict[int, Between]:
    """Return one measurement from a node to each neighbor; fixed ones count as one neighbor."""
    anchor: int | None = None
    edges: dict[int, Between] = {}
    for factor in factors:
        if not isinstance(factor, Between):
            continue
        edge = factor if factor.first == node else inverted(factor)
        if edge.second in fixed and node not in fixed:
            anchor = edge.second if anchor is None else anchor
            if edge.second != anchor:
                edge = chained(edge, _exact(edge.second, anchor, pose))
        edge = replace(edge, is_robust=False)
        known = edges.get(edge.second)
        edges[edge.second] = averaged(known, edge) if known is not None else edge
    return edges


def _exact(first: int, second: int, pose: Poses) -> Between:
    """How two nodes lie that do not move."""
    S_first_second = pose(first).inverse() @ pose(second)
    return Between(first, second, S_first_second, np.zeros((FREEDOMS, FREEDOMS)), False)


def _rank(
    edge: Between, fixed: Collection[int], preferred: Collection[int]
) -> tuple[bool, bool, float]:
    """Return what is less for a better heir; the node's own frame is common to all edges."""
    volume = float(np.linalg.slogdet(edge.covariance)[1])
    return edge.second in fixed, edge.second not in preferred, volume


def _told(edge: Between, factor: ScaleFactor | UpFactor, S_map_fixed: Sim3) -> Between:
    """Add to S_node_fixed what is measured of the node itself (a step of a Kalman filter)."""
    S = edge.S_first_second
    if isinstance(factor, ScaleFactor):
        slopes = np.eye(FREEDOMS)[6:]
        ratio = S_map_fixed.scale / (S.scale * factor.meters_per_unit)
        errors = np.array([math.log(ratio)])
    else:
        R_map_node = S_map_fixed.rotation @ S.rotation.T
        slopes = np.hstack([-R_map_node @ skew(factor.up_node), np.zeros((3, 4))])
        errors = R_map_node @ factor.up_node - [0.0, 0.0, 1.0]
    spread = slopes @ edge.covariance @ slopes.T + factor.sigma**2 * np.eye(len(errors))
    gain = np.linalg.solve(spread, slopes @ edge.covariance).T
    covariance = edge.covariance - gain @ slopes @ edge.covariance
    return replace(
        edge, S_first_second=_changed(S, gain @ errors), covariance=_symmetric(covariance)
    )


def _changed(S: Sim3, change: NDArray[np.float64]) -> Sim3:
    """S changed as covariances count it: turned from the left, shifted, grown."""
    turn = Rotation.from_rotvec(change[:3]).as_matrix()
    return Sim3(S.scale * math.exp(change[6]), turn @ S.rotation, S.translation + change[3:6])


def _carried_over(factor: ScaleFactor | UpFactor, to_heir: Between) -> Factor:
    """What a measurement of a node says of its heir."""
    S_node_heir, covariance = to_heir.S_first_second, to_heir.covariance
    if isinstance(factor, ScaleFactor):
        sigma = math.hypot(factor.sigma, math.sqrt(covariance[6, 6]))
        return ScaleFactor(to_heir.second, factor.meters_per_unit * S_node_heir.scale, sigma)
    sigma = math.hypot(factor.sigma, math.sqrt(np.trace(covariance[:3, :3]) / 3))
    return UpFactor(to_heir.second, S_node_heir.rotation.T @ factor.up_node, sigma)


def _weights(sigma: float, other: float) -> tuple[float, float, float]:
    """Weights of two measurements in their mean, and its standard deviation."""
    total = sigma**-2 + other**-2
    return sigma**-2 / total, other**-2 / total, total**-0.5


def _stretch(tension: float) -> float:
    return math.sqrt(max(1.0, tension))


def _symmetric(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    symmetric: NDArray[np.float64] = (covariance + covariance.T) / 2
    return symmetric
