"""Which submaps show the same surfaces, and how these lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import LoopConfig
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import place_sigma
from flashvggt_ros.mapping.overlap_registration import (
    Registration,
    SurfaceCloud,
    register,
    surface_cloud,
)
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap

MOST = 8  # pairs that are registered at a time, the nearest first
CERTAIN = 0.15  # sigma of the place of a submap that may be registered with another one [ranges]


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Two submaps, by number, that show the same surfaces; ``first`` is the older one."""

    first: int
    second: int
    registration: Registration


class OverlapSearch:
    """Registers each pair of closed submaps once, as soon as it is certain that they overlap.

    Only where the pose graph says that two submaps lie within a fraction of their depth: surfaces
    alone do not tell one room from another, nor where along a corridor one is. So nothing far is
    joined, which is what loop closure is for.
    """

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._clouds: dict[int, SurfaceCloud] = {}
        self._asked: set[tuple[int, int]] = set()

    def find(self, closed: Sequence[Submap], graph: PoseGraph) -> list[Overlap]:
        """Return the overlaps among closed submaps that were not asked for before."""
        kept = [submap for submap in closed if submap.keyframes]
        numbers = {submap.index for submap in kept}
        self._clouds = {n: cloud for n, cloud in self._clouds.items() if n in numbers}
        self._asked = {pair for pair in self._asked if numbers.issuperset(pair)}
        for submap in kept:
            if submap.index not in self._clouds:
                self._clouds[submap.index] = surface_cloud(submap)
        found = []
        for first, second in self._nearest(kept, graph)[:MOST]:
            self._asked.add((first, second))
            S_first_second = graph.pose(first).inverse() @ graph.pose(second)
            registration = register(
                self._clouds[first], self._clouds[second], S_first_second, self._config
            )
            if registration is not None:
                found.append(Overlap(first, second, registration))
        return found

    def _nearest(self, kept: Sequence[Submap], graph: PoseGraph) -> list[tuple[int, int]]:
        """Pairs that may overlap and lie certainly enough, those with the nearest centers first."""
        bounds = {submap.index: _bounds(submap) for submap in kept}
        pairs = []
        for number, second in enumerate(kept):
            for first in kept[:number]:
                pair = first.index, second.index
                if pair in self._asked or not _meet(bounds[pair[0]], bounds[pair[1]]):
                    continue
                if {*pair} <= graph.fixed or not self._is_certain(*pair, graph):
                    continue
                middles = [bounds[index].mean(axis=0) for index in pair]
                pairs.append((float(np.linalg.norm(middles[0] - middles[1])), pair))
        return [pair for _, pair in sorted(pairs)]

    def _is_certain(self, first: int, second: int, graph: PoseGraph) -> bool:
        """Whether the middle of the second submap is known well enough, seen from the first."""
        clouds = self._clouds[first], self._clouds[second]
        relative = graph.relative(first, second)
        if relative is None or not all(len(cloud.points) for cloud in clouds):
            return False
        S_first_second: Sim3 = relative.S_first_second
        middle = S_first_second.transform_points(clouds[1].points.mean(axis=0))
        arm = middle - S_first_second.translation
        return place_sigma(relative.covariance, arm) <= CERTAIN * clouds[0].range


def _bounds(submap: Submap) -> NDArray[np.float64]:
    """Lowest and highest corner (2, 3) of the box around a submap in the map [m]."""
    corners = submap.corners()
    if not len(corners):
        return np.zeros((2, 3))
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _meet(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return bool((first[0] < second[1]).all() and (second[0] < first[1]).all())
