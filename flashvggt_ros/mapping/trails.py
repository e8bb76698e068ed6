"""Paths of submaps that were merged into others: they lie where these do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import Submap


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """All that is left of submap ``number``: where its keyframes were.

    ``stamps`` (K) and T_submap_camera (K, 4, 4) of those that are not shared, bent as it was;
    ``carrier`` is the number of the submap that it was merged into.
    """

    number: int
    carrier: int
    S_carrier_submap: Sim3
    stamps: tuple[FrameStamp, ...]
    T_submap_camera: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses ``T_map_camera`` (K, 4, 4) of ``frames`` (K), in order of arrival."""

    frames: tuple[FrameStamp, ...]
    T_map_camera: NDArray[np.float64]


class Trails:
    """The trails of a map. Merging a submap that carries others takes no time: they follow."""

    def __init__(self, trails: Sequence[Trail] = ()) -> None:
        self._trails = {trail.number: trail for trail in trails}
        self.frames = sum(len(trail.stamps) for trail in trails)

    def merge(self, submap: Submap, carrier: Submap) -> None:
        """Let a closed submap's path lie where another submap lies, as the two lie now."""
        S_carrier_submap = carrier.S_map_submap.inverse() @ submap.S_map_submap
        own = slice(submap.shared, None)
        as_it_lies = submap.S_map_submap.inverse().transform_pose(submap.T_map_camera[own])
        trail = Trail(
            submap.index, carrier.index, S_carrier_submap, submap.stamps[own], as_it_lies
        )
        self._trails[trail.number] = trail
        self.frames += len(trail.stamps)

    def before(self, end: int) -> tuple[Trail, ...]:
        """Return the trails with numbers less than ``end``, in order, each on a submap."""
        for number in self._trails:
            self._settle(number)
        return tuple(self._trails[n] for n in sorted(self._trails) if n < end)

    def _settle(self, number: int) -> None:
        """Let a trail hang on a submap that still is one, and all between them, too."""
        chain = [number]
        while self._trails[chain[-1]].carrier in self._trails:
            chain.append(self._trails[chain[-1]].carrier)
        last = self._trails[chain.pop()]
        for passed in reversed(chain):
            trail = self._trails[passed]
            S_last_submap = last.S_carrier_submap @ trail.S_carrier_submap
            last = replace(trail, carrier=last.carrier, S_carrier_submap=S_last_submap)
            self._trails[passed] = last


def paths(
    submaps: Sequence[Submap], trails: Sequence[Trail], first: int = 0
) -> Iterator[Trajectory]:
    """Yield the path of each submap and trail from number ``first`` on, in order of arrival."""
    placed = {submap.index: submap for submap in submaps}
    parts: dict[int, Submap | Trail] = {trail.number: trail for trail in trails} | placed
    for number in sorted(parts):
        part = parts[number]
        if number < first:
            continue
        if isinstance(part, Submap):
            yield Trajectory(part.stamps[part.shared :], part.T_map_camera[part.shared :])
            continue
        S_map_submap = placed[part.carrier].S_map_submap @ part.S_carrier_submap
        yield Trajectory(part.stamps, S_map_submap.transform_pose(part.T_submap_camera))
