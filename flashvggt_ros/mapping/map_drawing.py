"""Cloud and grid of the whole map, drawn anew only when what they show has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map_cloud import MapCloud
from flashvggt_ros.mapping.map_grid import MapGrid
from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud

Version = tuple[int, int]


class MapDrawing:
    """Draws submaps, the last of which is live, or empty; equal versions show the same."""

    def __init__(self, config: Config) -> None:
        self._map_cloud = MapCloud(config.map)
        self._map_grid = MapGrid(config.grid)
        self._cloud: tuple[Version, WeightedCloud] | None = None
        self._grid: tuple[Version, Grid] | None = None

    def cloud(self, submaps: Sequence[Submap], version: Version) -> WeightedCloud:
        """Return the points of all submaps in the map."""
        if self._cloud is None or self._cloud[0] != version:
            *closed, live = submaps
            self._cloud = version, self._map_cloud.fuse(closed, live)
        return self._cloud[1]

    def grid(
        self, submaps: Sequence[Submap], ground_z: Mapping[int, float], version: Version
    ) -> Grid:
        """Return the occupancy grid; ``ground_z``: height of the ground by number of submap [m]."""
        if self._grid is None or self._grid[0] != version:
            *closed, live = submaps
            self._grid = version, self._map_grid.draw(closed, live, ground_z)
        return self._grid[1]
