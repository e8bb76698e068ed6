"""The occupancy grid: log-odds of the rays of depth images, drawn on the ground."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import GridConfig
from flashvggt_ros.mapping.depth_view import DepthView
from flashvggt_ros.mapping.grid_evidence import UNIT, GridCounts, GridRays
from flashvggt_ros.mapping.grid_surfaces import LAYERS, Surfaces, SurfaceSums, off_cells

logger = logging.getLogger(__name__)

UNKNOWN, FREE, OCCUPIED = -1, 0, 100
MOST = 50  # log-odds of a cell; what one submap says can outweigh all before it
CERTAIN = 20  # log-odds from which on a cell is 0 or 100
LEAST = 8  # log-odds from which on a cell is occupied: a single point that is far is no obstacle
FAINT = 0.3  # of the log-odds of a neighbor: cells below are the scatter of its points


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Cells (h, w) int8, row 0 at the lowest y: -1 unknown, 0 free to 100 occupied [percent].

    ``origin_xy`` (2,): the lowest corner of cell (0, 0) in the map [m], a multiple of
    ``resolution``, the edge of a cell [m]. As nav_msgs/OccupancyGrid has it.
    """

    resolution: float
    origin_xy: NDArray[np.float64]
    cells: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class GridPatch:
    """What some keyframes say: log-odds (LAYERS, h, w) int8 in UNIT, 0 where they say nothing.

    ``first``: column and row (2,) of its lowest cell; cell (0, 0) begins at the map's origin.
    ``surfaces``: where in its cells surfaces lie.
    """

    first: NDArray[np.int64]
    log_odds: NDArray[np.int8]
    surfaces: Surfaces


def build_grid(views: Sequence[DepthView], ground_z: float, config: GridConfig) -> Grid:
    """Draw the grid of some views; ``ground_z``: height of the ground in the map [m].

    End points from ``grid.min_height`` to ``grid.max_height`` above the ground occupy their cell,
    those on the ground clear it, and rays clear the cells on their way where they pass between the
    heights. Cells that no ray passes are unknown.
    """
    newest = views[-1].T_map_camera[:2, 3] if views else np.zeros(2)
    return add_up([cast_views(views, ground_z, config)], newest, config)


def cast_views(views: Sequence[DepthView], ground_z: float, config: GridConfig) -> GridPatch:
    """Add up what views say, each at most once of a cell's layer.

    A layer of a cell is cleared where it is in front of the surface that is seen in its direction:
    sampled rays would leave gaps between pixels. Memory is bounded by ``grid.max_cells`` around
    the last view.
    """
    rays = [GridRays(view, ground_z, config) for view in views]
    if not rays:
        nothing = SurfaceSums(np.zeros(2, np.int64), 0, 0).surfaces()
        return GridPatch(np.zeros(2, np.int64), np.zeros((LAYERS, 0, 0), np.int8), nothing)
    low = np.min([each.low for each in rays], axis=0)
    high = np.max([each.high for each in rays], axis=0)
    counts = GridCounts.zeros(*_within(low, high, views[-1].T_map_camera[:2, 3], config))
    for each in rays:
        each.count(counts)
    return GridPatch(counts.first, *counts.log_odds())


def add_up(
    patches: Sequence[GridPatch], newest_xy: NDArray[np.float64], config: GridConfig
) -> Grid:
    """Draw the grid of patches, the newest last; it outweighs the others where they contradict.

    A cell is as occupied as its most occupied layer, and where none is, as free as its freest.
    Where patches do not lie on one another exactly, the place where they see a surface together
    decides which cell it is in. Of a map of more than ``grid.max_cells`` the part around
    ``newest_xy`` (2,) [m] is drawn, with a warning.
    """
    patches = [patch for patch in patches if patch.log_odds.size]
    if not patches:
        return Grid(config.resolution, np.zeros(2), np.zeros((0, 0), np.int8))
    ends = [patch.first + patch.log_odds.shape[:0:-1] for patch in patches]
    low, high = np.min([patch.first for patch in patches], axis=0), np.max(ends, axis=0)
    first, last = _within(low, high, newest_xy, config)
    if (last - first < high - low).any():
        logger.warning(
            "the grid of the whole map would have %d cells, grid.max_cells allows %d: only what is "
            "around the newest keyframe is drawn", math.prod((high - low).tolist()),
            config.max_cells,
        )
    width, height = last - first
    most, least = np.zeros((2, height, width), np.int8)
    for layer in range(LAYERS):
        total = np.zeros((height, width), np.int8)
        for patch in patches:
            _add(total, first, patch, layer)
        places = [(patch.first - first, patch.log_odds.shape[1:], patch.surfaces)
                  for patch in patches]
        total[off_cells(layer, (height, width), places) & (total > 0)] = 0
        _thin(total)
        np.maximum(most, total, out=most)
        np.minimum(least, total, out=least)
    cells = _percent(np.where(most > 0, most, least))
    return Grid(config.resolution, first.astype(np.float64) * config.resolution, cells)


def _add(
    total: NDArray[np.int8], first: NDArray[np.int64], patch: GridPatch, layer: int
) -> None:
    """Add one layer of a patch to a grid that begins at cell ``first``."""
    height, width = patch.log_odds.shape[1:]
    shift = patch.first - first
    low = np.maximum(shift, 0)
    high = np.minimum(shift + np.array([width, height]), total.shape[::-1])
    if (high <= low).any():
        return
    window = total[low[1] : high[1], low[0] : high[0]]
    (column, row), (last_column, last_row) = low - shift, high - shift
    window += patch.log_odds[layer, row:last_row, column:last_column]
    np.clip(window, -MOST, MOST, out=window)


def _thin(log_odds: NDArray[np.int8]) -> None:
    """Forget cells (h, w) that are hardly occupied, or much less than one beside them."""
    occupied = np.maximum(log_odds, 0).view(np.uint8)
    highest = cv2.dilate(occupied, np.ones((3, 3), np.uint8))
    least = np.maximum(LEAST, FAINT * np.asarray(highest))
    log_odds[(occupied > 0) & (occupied < least)] = 0


def _percent(log_odds: NDArray[np.int8]) -> NDArray[np.int8]:
    """Cells (h, w) of log-odds; 0 stands for unknown."""
    every = np.arange(-128, 128)
    percent = np.rint(100 / (1 + np.exp(-UNIT * every)))
    percent[every >= CERTAIN] = OCCUPIED
    percent[every <= -CERTAIN] = FREE
    percent[every == 0] = UNKNOWN
    cells: NDArray[np.int8] = percent.astype(np.int8)[log_odds.astype(np.int16) + 128]
    return cells


def _within(
    low: NDArray[np.int64], high: NDArray[np.int64], center_xy: NDArray[np.float64],
    config: GridConfig,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reduce a range of cells to ``grid.max_cells`` around a place; the shorter side is kept."""
    size = high - low
    if size[0] * size[1] <= config.max_cells:
        return low, high
    shorter = int(np.argmin(size))
    kept = np.minimum(size, math.isqrt(config.max_cells))
    kept[1 - shorter] = min(size[1 - shorter], config.max_cells // kept[shorter])
    center = np.floor(center_xy / config.resolution).astype(np.int64)
    low = np.clip(center - kept // 2, low, high - kept)
    return low, low + kept
