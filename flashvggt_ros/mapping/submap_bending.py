"""How each submap is bent, and where its middle lies, by all that the pose graph believes.

A graph of rigid submaps cannot say what drift within one does: its ends do not meet those of its
neighbors, and what turns them lies at the joins. Here each has three nodes, its first keyframe, its
middle and its last keyframe. Joins hold ends; what was measured of a submap as a whole (loops,
surfaces, scale, up) holds its middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import LoopConfig
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.graph_factors import EvenFactors, NodePoses
from flashvggt_ros.mapping.graph_gauge import free_coordinates
from flashvggt_ros.mapping.graph_measurements import (
    Between,
    Factor,
    ScaleFactor,
    UpFactor,
    covariance_at,
    gather,
)
from flashvggt_ros.mapping.graph_optimizer import solve
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap

Drift = list[tuple[NDArray[np.float64], NDArray[np.float64]]]  # see _drift

FIRST, MIDDLE, LAST = range(3)  # of the nodes of a submap
UNEVEN = 0.25  # by how much the halves of a submap bend differently, relative to what they bend
BENT = 0.4  # what submaps drift within, relative to what joins of rigid ones must be loosened by
JOIN_ERROR = 3.0  # of a join, relative to what the pixels of the shared keyframes say of it
PLACE = 0.25  # how far an end may slide, relative to a half's length and what it turns or grows


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """How a submap begins in the one before, by the keyframes that both have alone.

    ``factor``: the id of what the pose graph made of it; S_before_submap and its covariance (7, 7).
    """

    factor: int
    before: int
    S_before_submap: Sim3
    covariance: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BentPlace:
    """Where a submap's middle lies in the map, and how it is bent about it."""

    S_map_submap: Sim3
    bend: Bend


def bend_submaps(
    graph: PoseGraph, submaps: Sequence[Submap], joins: Mapping[int, Join], config: LoopConfig
) -> dict[int, BentPlace]:
    """Return where each submap that has a node lies; call it after ``graph.optimize``.

    ``joins``: that of each submap, by number, which is joined to the one before. Submaps that the
    graph holds fixed stay as they are. Without joins nothing is bent.
    """
    nodes = set(graph.nodes)
    placed = [submap for submap in submaps if submap.index in nodes]
    if not joins:
        return {
            submap.index: BentPlace(graph.pose(submap.index), Bend.none())
            for submap in placed if submap.index not in graph.fixed
        }
    row = {submap.index: 3 * number for number, submap in enumerate(placed)}
    starts = [S for submap in placed for S in _start(submap, graph)]
    drifts = {submap.index: _drift(submap, config) for submap in placed}
    halves = [half for n, drift in drifts.items() for half in _halves(drift, row[n])]
    factors: dict[int, Factor] = dict(enumerate([*_factors(graph, joins, row), *halves]))
    free = [submap for submap in placed if submap.index not in graph.fixed]
    gathered, _ = gather(factors, {node: node for node in range(len(starts))})
    gathered = gathered._replace(even=_even(free, row, drifts))
    fixed = [row[index] + end for index in graph.fixed if index in row for end in range(3)]
    is_free = free_coordinates({n: n for n in range(len(starts))}, [*factors.values()], fixed)
    poses = solve(gathered, NodePoses.of(starts), is_free).poses
    return {
        submap.index: _place(*(poses.similarity(row[submap.index] + end) for end in range(3)))
        for submap in free
    }


def _start(submap: Submap, graph: PoseGraph) -> tuple[Sim3, Sim3, Sim3]:
    """Where the solver begins: a rigid submap, or one that stays as it is."""
    S_map_submap = graph.pose(submap.index)
    bend = submap.bend if submap.index in graph.fixed else Bend.none()
    return S_map_submap @ bend.S_middle_first, S_map_submap, S_map_submap @ bend.S_middle_last


def _place(first: Sim3, middle: Sim3, last: Sim3) -> BentPlace:
    return BentPlace(middle, Bend(middle.inverse() @ first, middle.inverse() @ last))


def _factors(
    graph: PoseGraph, joins: Mapping[int, Join], row: Mapping[int, int]
) -> list[Factor]:
    """What the graph knows, of middles, but for joins, which are of ends."""
    ends = {join.factor: index for index, join in joins.items()}
    found: list[Factor] = []
    for number, factor in graph.factors.items():
        if number in ends:
            join = joins[ends[number]]
            found.append(Between(
                row[join.before] + LAST, row[ends[number]] + FIRST, join.S_before_submap,
                JOIN_ERROR**2 * join.covariance, is_robust=False,
            ))
        elif isinstance(factor, Between):
            found.append(Between(
                row[factor.first] + MIDDLE, row[factor.second] + MIDDLE, factor.S_first_second,
                factor.covariance, factor.is_robust,
            ))
        elif isinstance(factor, ScaleFactor):
            node = row[factor.node] + MIDDLE
            found.append(ScaleFactor(node, factor.meters_per_unit, factor.sigma))
        else:
            found.append(UpFactor(row[factor.node] + MIDDLE, factor.up_node, factor.sigma))
    return found


def _halves(drift: Drift, row: int) -> list[Between]:
    """How much each half may be bent: not at all, give or take what submaps drift."""
    halves = []
    for end, (middle, sigmas) in enumerate(drift):
        covariance = covariance_at(Sim3.identity(), middle, sigmas)
        halves.append(
            Between(row + end, row + end + 1, Sim3.identity(), covariance, is_robust=False)
        )
    return halves


def _even(
    free: Sequence[Submap], row: Mapping[int, int], drifts: Mapping[int, Drift]
) -> EvenFactors:
    """Both halves of a submap bend about alike."""
    chosen = [drifts[submap.index] for submap in free]
    nodes = [[row[submap.index] + end for end in range(3)] for submap in free]
    return EvenFactors(
        np.array(nodes, np.int64).reshape(-1, 3),
        np.array([[middle for middle, _ in halves] for halves in chosen]).reshape(-1, 2, 3),
        UNEVEN * np.array([halves[0][1] for halves in chosen]).reshape(-1, 7),
    )


def _drift(submap: Submap, config: LoopConfig) -> Drift:
    """Of each half the middle of its path (3,), and what it may drift about that: sigmas (7,)."""
    centers = submap.T_submap_camera[:, :3, 3]
    extent = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    rotation, growth = (
        BENT * drift / np.sqrt(2) for drift in (config.rotation_drift, config.scale_drift)
    )
    place = max(PLACE * extent / 2 * max(rotation, growth), 1e-9)
    sigmas = np.repeat([rotation, place, growth], (3, 3, 1))
    return [(centers[len(centers) * share // 4], sigmas) for share in (1, 3)]
