"""What views say of the cells of a grid, in layers, so that a look over a table leaves it there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import GridConfig
from flashvggt_ros.mapping.depth_view import EDGE, DepthView

LAYERS = 5  # between min_height and max_height; each has log-odds of its own
UNIT = 0.05  # of log-odds, as whole numbers
HIT, MISS = 18, -12  # what one view says of a layer of a cell
MOST_OF_SUBMAP = 75  # log-odds of the views of one submap together
DEPTH_SIGMA = 0.02  # of an end point, relative to range: hits count less where it exceeds a cell
MARGIN = 0.03  # share of a ray's length, besides one cell, before its end that it does not clear
SURFACE = 0.5  # how far a surface may be before or behind the middle of a cell in it [cells]
FLOOR_SLOPE = 0.02  # height per range up to which an end point may still be the floor
NEAREST = 0.05  # depth from which on a camera clears cells [m]
BEYOND = 1e9  # depth of what is not in front of a camera: all that is seen is before it [m]

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]  # columns and rows


@dataclass(frozen=True, slots=True, eq=False)
class GridCounts:
    """What views say of cells, whose lowest is ``first`` (column, row).

    Of each layer (LAYERS, h, w) int16: ``clear``, the number of views that look through it, and
    ``hits``, the weights of those that see a point in it. Of each level between layers
    (LAYERS + 1, h, w) float32: ``near``, the weights of views that see a surface close to it, and
    ``behind``, how far that is behind it, times weight [cells].
    """

    first: NDArray[np.int64]
    clear: NDArray[np.int16]
    hits: NDArray[np.int16]
    near: NDArray[np.float32]
    behind: NDArray[np.float32]

    @classmethod
    def zeros(cls, first: NDArray[np.int64], last: NDArray[np.int64]) -> GridCounts:
        """Return what no view says of cells up to before ``last`` (column, row)."""
        width, height = (last - first).tolist()
        layers, levels = (LAYERS, height, width), (LAYERS + 1, height, width)
        return cls(
            first, np.zeros(layers, np.int16), np.zeros(layers, np.int16),
            np.zeros(levels, np.float32), np.zeros(levels, np.float32),
        )

    def window(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> GridCounts:
        """Return the part from ``low`` to before ``high``, cut to what there is; same memory."""
        first = np.maximum(low, self.first)
        (column, row), (last_column, last_row) = first - self.first, high - self.first
        rows, columns = slice(row, max(row, last_row)), slice(column, max(column, last_column))
        part = (slice(None), rows, columns)
        return GridCounts(
            first, self.clear[part], self.hits[part], self.near[part], self.behind[part]
        )

    def log_odds(self) -> NDArray[np.int8]:
        """Return log-odds (LAYERS, h, w) in UNIT; 0 where nothing is known.

        Points scatter around a surface along the rays. Where it lies on average, seen from both
        levels of a layer, before the cell or behind it, points in the cell do not count: walls
        stay as thin as they are known.
        """
        is_before = self.behind < -SURFACE * self.near
        is_behind = self.behind > SURFACE * self.near
        is_off = (is_before[1:] & is_before[:-1]) | (is_behind[1:] & is_behind[:-1])
        total = self.hits * ~is_off + MISS * self.clear
        return np.clip(total, -MOST_OF_SUBMAP, MOST_OF_SUBMAP).astype(np.int8)


class GridRays:
    """The rays of one view; ``low`` and ``high`` (column, row) bound the cells they reach."""

    def __init__(self, view: DepthView, ground_z: float, config: GridConfig) -> None:
        self._view, self._config = view, config
        self._lowest = ground_z + config.min_height
        self._thickness = (config.max_height - config.min_height) / LAYERS
        center = view.T_map_camera[:3, 3]
        R_map_camera = view.T_map_camera[:3, :3].astype(np.float32)
        offsets = view.camera.backproject(view.depth) @ R_map_camera.T
        heights = offsets[..., 2] + np.float32(center[2] - ground_z)
        is_body = (heights >= config.min_height) & (heights < config.max_height)
        between = _between(offsets, view.depth, is_body, config.resolution)
        self._offsets = np.concatenate([offsets[view.depth > 0], *between]).T
        self._heights = self._offsets[2] + np.float32(center[2] - ground_z)
        self._ranges = np.hypot(self._offsets[0], self._offsets[1])
        self._is_in_range = self._ranges <= config.max_range
        share = np.minimum(1, config.max_range / np.maximum(self._ranges, np.float32(1e-6)))
        reached = [share * offset for offset in self._offsets[:2]]
        low = np.array([each.min(initial=0) for each in reached]) + center[:2]
        high = np.array([each.max(initial=0) for each in reached]) + center[:2]
        self.low = np.floor(low / config.resolution).astype(np.int64)
        self.high = np.floor(high / config.resolution).astype(np.int64) + 1

    def count(self, counts: GridCounts) -> None:
        """Add what the view says; of a layer of a cell it says one thing."""
        counts = counts.window(self.low, self.high)
        if not counts.clear.size:
            return
        is_clear = self._look(counts)
        (columns, rows), layers, weights = self._hits(counts)
        is_clear[layers, rows, columns] = False
        counts.hits[layers, rows, columns] += weights
        is_floor = np.abs(self._heights) < self._config.min_height
        (columns, rows), _ = self._cells(is_floor, counts)
        is_clear[0, rows, columns] = True
        np.add(counts.clear, is_clear, out=counts.clear)

    def _look(self, counts: GridCounts) -> NDArray[np.bool_]:
        """Add up surfaces near cells; return which layers of cells are looked through.

        Those are that have both their upper and their lower side before the surface that is seen
        in their direction: so a table's top is not cleared by a look that just passes over it.
        """
        x, y, ranges = self._middles(counts)
        near, behind = np.empty_like(counts.near), np.empty_like(counts.near)
        resolution = np.float32(self._config.resolution)
        for level in range(LAYERS + 1):
            seen, depth = self._seen(x, y, self._lowest + level * self._thickness)
            np.divide(seen - depth, depth, out=behind[level])
        margin = MARGIN + resolution / ranges
        margin[ranges > self._config.max_range] = np.inf
        is_before = behind > margin
        weights = np.minimum(1, np.square(resolution / (np.float32(DEPTH_SIGMA) * ranges)))
        np.multiply((behind > -margin) & ~is_before, weights, out=near)
        behind *= near
        behind *= ranges / resolution
        np.add(counts.near, near, out=counts.near)
        np.add(counts.behind, behind, out=counts.behind)
        return np.asarray(is_before[1:] & is_before[:-1])

    def _middles(
        self, counts: GridCounts
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """Where cells are from the camera: x (w,), y (h,) and range (h, w) [m]."""
        center = self._view.T_map_camera[:2, 3]
        x, y = (
            (start + 0.5 + np.arange(size)) * self._config.resolution - at
            for start, size, at in zip(counts.first, counts.clear.shape[:0:-1], center, strict=True)
        )
        ranges = np.hypot(x.astype(np.float32), y.astype(np.float32)[:, None])
        return x, y, np.maximum(ranges, np.float32(1e-3))

    def _seen(
        self, x: NDArray[np.float64], y: NDArray[np.float64], z: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth that is seen in the direction of places (h, w) at height z, and their own depth.

        A level plane is seen through a homography: (column, row, 1) -> K R^T (x, y, z).
        """
        R_map_camera, step = self._view.T_map_camera[:3, :3], self._config.resolution
        below = z - self._view.T_map_camera[2, 3]
        plane = np.array([[step, 0, x[0]], [0, step, y[0]], [0, 0, below]])
        to_pixel = self._view.camera.matrix @ (R_map_camera.T @ plane)
        seen = cv2.warpPerspective(
            self._view.depth, to_pixel, (len(x), len(y)),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        )
        along_x, along_y, along_z = R_map_camera[:, 2]
        rows = (along_y * y + along_z * below).astype(np.float32)
        depth = rows[:, None] + (along_x * x).astype(np.float32)
        np.copyto(depth, BEYOND, where=depth < NEAREST)
        return np.asarray(seen), depth

    def _hits(
        self, counts: GridCounts
    ) -> tuple[Cells, NDArray[np.int64], NDArray[np.int16]]:
        """Cells, layers and weights of end points between the heights; far ones scatter."""
        lowest = np.maximum(self._config.min_height, FLOOR_SLOPE * self._ranges)
        is_hit = (self._heights >= lowest) & (self._heights < self._config.max_height)
        cells, chosen = self._cells(is_hit, counts)
        above = self._heights[chosen] - self._config.min_height
        layers = np.minimum((above / self._thickness).astype(np.int64), LAYERS - 1)
        sigma = np.maximum(DEPTH_SIGMA * self._ranges[chosen], self._config.resolution)
        weights = np.maximum(1, HIT * np.square(self._config.resolution / sigma)).astype(np.int16)
        return cells, layers, weights

    def _cells(
        self, is_chosen: NDArray[np.bool_], counts: GridCounts
    ) -> tuple[Cells, NDArray[np.int64]]:
        """Cells of the chosen end points that are in range and in the window; their numbers."""
        chosen = np.flatnonzero(is_chosen & self._is_in_range)
        height, width = counts.clear.shape[1:]
        resolution, center = self._config.resolution, self._view.T_map_camera[:2, 3]
        columns, rows = (
            np.floor((offset[chosen] + at) / resolution).astype(np.int64) - first
            for offset, at, first in zip(self._offsets[:2], center, counts.first, strict=True)
        )
        is_in = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        return (columns[is_in], rows[is_in]), chosen[is_in]


def _between(
    points: NDArray[np.float32], depth: NDArray[np.float32], is_body: NDArray[np.bool_],
    spacing: float,
) -> list[NDArray[np.float32]]:
    """Points (M, 3) between neighbors of (h, w, 3) that are on one surface and not floor.

    They are added where neighbors are more than ``spacing`` apart on the ground, up to four times
    that without a gap: on walls that are far, and on tables that are seen at a small angle.
    """
    depth = depth * is_body
    between = []
    for step in ((slice(1, None), slice(None)), (slice(None), slice(1, None))):
        back = tuple(slice(None, -1) if part.start else part for part in step)
        nearer = np.minimum(depth[step], depth[back])
        is_surface = (np.abs(depth[step] - depth[back]) <= EDGE * nearer) & (nearer > 0)
        first, second = points[step][is_surface], points[back][is_surface]
        away = second - first
        is_wide = np.square(away[:, 0]) + np.square(away[:, 1]) > spacing**2
        first, away = first[is_wide], away[is_wide]
        between += [first + np.float32(share) * away for share in (0.25, 0.5, 0.75)]
    return between
