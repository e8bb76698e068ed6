"""The occupancy grid of the whole map, and the obstacles that were seen last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import GridConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.depth_view import DepthView, views_of
from flashvggt_ros.mapping.grid_evidence import FLOOR_SLOPE
from flashvggt_ros.mapping.occupancy_grid import Grid, GridPatch, add_up, cast_views
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

STALE = 0.5  # of a cell: what moved by more is cast anew
STALE_GROUND = 0.03  # [m]
RECENT = 16  # keyframes whose obstacles are shown


@dataclass(frozen=True, slots=True, eq=False)
class _Cast:
    """The patch of a submap; places of it (N, 3) and the ground's height when it was cast."""

    patch: GridPatch
    places: NDArray[np.float64]
    ground_z: float


class MapGrid:
    """Casts the rays of a submap once, and again only where a correction moved it."""

    def __init__(self, config: GridConfig) -> None:
        self._config = config
        self._casts: dict[int, _Cast] = {}

    def draw(
        self, closed: Sequence[Submap], live: Submap, ground_z: Mapping[int, float]
    ) -> Grid:
        """Return the grid of all submaps that still have keyframes.

        ``ground_z``: height of the ground in the map by number of submap [m].
        """
        kept = [submap for submap in closed if submap.keyframes]
        self._casts = {
            submap.index: self._cast(submap, ground_z[submap.index]) for submap in kept
        }
        patches = [self._casts[submap.index].patch for submap in kept]
        patches.append(cast_views(views_of(live), ground_z[live.index], self._config))
        newest = next((submap for submap in (live, *closed[::-1]) if submap.frames), live)
        newest_xy = newest.T_map_camera[-1, :2, 3] if newest.frames else np.zeros(2)
        return add_up(patches, newest_xy, self._config)

    def _cast(self, submap: Submap, ground_z: float) -> _Cast:
        cast = self._casts.get(submap.index)
        if cast is not None and self._is_fresh(cast, submap, ground_z):
            return cast
        patch = cast_views(views_of(submap), ground_z, self._config)
        return _Cast(patch, _places(submap), ground_z)

    def _is_fresh(self, cast: _Cast, submap: Submap, ground_z: float) -> bool:
        """Whether submap and ground are about where they were."""
        moved = np.abs(_places(submap) - cast.places).max(initial=0)
        is_level = abs(ground_z - cast.ground_z) <= STALE_GROUND
        return bool(is_level and moved <= STALE * self._config.resolution)


def _places(submap: Submap) -> NDArray[np.float64]:
    """Where its corners and its cameras are in the map (N, 3)."""
    return np.concatenate([submap.corners(), submap.T_map_camera[:, :3, 3]])


def recent_obstacles(
    submaps: Sequence[Submap], ground_z: Mapping[int, float], config: GridConfig
) -> NDArray[np.float32]:
    """Return points (M, 3) in the map [m] of what the newest RECENT keyframes see in the way.

    Between ``grid.min_height`` and ``grid.max_height`` above the ground and within
    ``grid.max_range``; one in each voxel of ``grid.resolution``.
    """
    parts: list[NDArray[np.float32]] = [np.zeros((0, 3), np.float32)]
    count = RECENT
    for submap in reversed(submaps):
        newest = views_of(submap)[-count:] if count else []
        parts += [_obstacles(view, ground_z[submap.index], config) for view in newest]
        count -= len(newest)
    points = np.concatenate(parts)
    cloud = WeightedCloud(points, np.zeros_like(points, np.uint8), np.ones(len(points), np.float32))
    return fuse_voxels(cloud, config.resolution).points


def _obstacles(view: DepthView, ground_z: float, config: GridConfig) -> NDArray[np.float32]:
    points_camera = view.camera.backproject(view.depth)[view.depth > 0]
    points_map = se3.transform_points(view.T_map_camera, points_camera)
    heights = points_map[:, 2] - ground_z
    ranges = np.linalg.norm(points_map[:, :2] - view.T_map_camera[:2, 3], axis=1)
    lowest = np.maximum(config.min_height, FLOOR_SLOPE * ranges)
    is_in_way = (heights >= lowest) & (heights < config.max_height) & (ranges <= config.max_range)
    obstacles: NDArray[np.float32] = points_map[is_in_way]
    return obstacles
