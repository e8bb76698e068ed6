"""The cloud of the whole map: that of all submaps, fused in voxels, where they lie now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flashvggt_ros.config import MapConfig
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

STALE = 0.25  # of a voxel: what moved by more is fused anew


class MapCloud:
    """Fuses closed submaps once, and all of them again only where a correction moved them."""

    def __init__(self, config: MapConfig) -> None:
        self._config = config
        self._closed = WeightedCloud.concatenate(())
        self._fused: dict[int, Sim3] = {}

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
        """Fuse what is new; everything where something moved or was condensed."""
        present = {submap.index for submap in closed}
        is_stale = not present.issuperset(self._fused) or any(
            self._has_moved(submap) for submap in closed if submap.index in self._fused
        )
        if is_stale:
            self._closed, self._fused = WeightedCloud.concatenate(()), {}
        fresh = [submap for submap in closed if submap.index not in self._fused]
        if fresh:
            parts = [self._closed, *map(self._cloud_map, fresh)]
            whole = WeightedCloud.concatenate(parts)
            self._closed = fuse_voxels(whole, self._config.voxel_size)
            self._fused |= {submap.index: submap.S_map_submap for submap in fresh}

    def _has_moved(self, submap: Submap) -> bool:
        """Whether a corner of the submap is elsewhere than where it was fused."""
        corners = submap.corners()
        now = submap.S_map_submap.transform_points(corners)
        then = self._fused[submap.index].transform_points(corners)
        return bool(np.abs(now - then).max(initial=0) > STALE * self._config.voxel_size)

    def _cloud_map(self, submap: Submap) -> WeightedCloud:
        voxel_size = self._config.voxel_size / submap.S_map_submap.scale
        return submap.cloud(voxel_size).transformed(submap.S_map_submap)
