"""The cloud of the whole map: that of all submaps, fused in voxels, where they lie now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import MapConfig
from flashvggt_ros.mapping.free_space import FreeSpace, chosen_points
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

STALE = 0.25  # of a voxel: what moved by more is fused anew


class MapCloud:
    """Fuses closed submaps once, and again only where a correction moved them or points went.

    Left out are points that later submaps look through.
    """

    def __init__(self, config: MapConfig) -> None:
        self._config = config
        self._closed = WeightedCloud.concatenate(())
        self._fused: dict[int, NDArray[np.float64]] = {}  # corners of each as it was fused
        self._free_space = FreeSpace(config.voxel_size)
        self._is_kept: dict[int, NDArray[np.bool_]] = {}

    def fuse(self, closed: Sequence[Submap], live: Submap) -> WeightedCloud:
        """Return one point per voxel of ``map.voxel_size``; at most ``map.max_points``, evenly."""
        self._keep_up([submap for submap in closed if not submap.is_condensed])
        parts = [self._closed, self._cloud_map(live)]
        whole = fuse_voxels(WeightedCloud.concatenate(parts), self._config.voxel_size)
        most = self._config.max_points
        if len(whole) <= most:
            return whole
        evenly = np.arange(most) * len(whole) // most
        return WeightedCloud(whole.points[evenly], whole.colors[evenly], whole.weights[evenly])

    def _keep_up(self, closed: Sequence[Submap]) -> None:
        """Fuse what is new; everything where something moved or points went."""
        present = {submap.index for submap in closed}
        before, self._is_kept = self._is_kept, self._free_space.kept(closed)
        is_stale = not present.issuperset(self._fused) or any(
            self._has_moved(submap) or self._is_carved(submap.index, before)
            for submap in closed if submap.index in self._fused
        )
        if is_stale:
            self._closed, self._fused = WeightedCloud.concatenate(()), {}
        fresh = [submap for submap in closed if submap.index not in self._fused]
        if fresh:
            parts = [self._closed, *map(self._cloud_map, fresh)]
            whole = WeightedCloud.concatenate(parts)
            self._closed = fuse_voxels(whole, self._config.voxel_size)
            self._fused |= {submap.index: submap.corners() for submap in fresh}

    def _has_moved(self, submap: Submap) -> bool:
        """Whether a corner of the submap is elsewhere than where it was fused."""
        moved = np.abs(submap.corners() - self._fused[submap.index]).max(initial=0)
        return bool(moved > STALE * self._config.voxel_size)

    def _is_carved(self, index: int, before: Mapping[int, NDArray[np.bool_]]) -> bool:
        """Whether other points of a submap stay than before."""
        return not np.array_equal(self._is_kept[index], before[index])

    def _cloud_map(self, submap: Submap) -> WeightedCloud:
        cloud = submap.cloud_map(self._config.voxel_size)
        if submap.index in self._is_kept:
            cloud = chosen_points(cloud, self._is_kept[submap.index])
        return cloud
