"""What views say of the cells of a grid, in layers, so that a look over a table leaves it there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import GridConfig
from flashvggt_ros.mapping.depth_view import EDGE, DepthView
from flashvggt_ros.mapping.grid_surfaces import LAYERS, Surfaces, SurfaceSums, off_cells

UNIT = 0.05  # of log-odds, as whole numbers
HIT, MISS = 18, -12  # what one view says of a layer of a cell
MOST_OF_SUBMAP = 75  # log-odds of the views of one submap together
DEPTH_SIGMA = 0.02  # of an end point, relative to range: hits count less where it exceeds a cell
MARGIN = 0.02  # share of a ray's length before its end that it does not clear
FLOOR_SLOPE = 0.02  # height per range up to which an end point may still be the floor
LEVEL = 0.15  # slope between points of bent surfaces that are filled up: narrow tops of things
NEAREST = 0.05  # depth from which on a camera clears cells [m]

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]  # columns and rows


@dataclass(frozen=True, slots=True, eq=False)
class GridCounts:
    """What views say of cells, whose lowest is ``first`` (column, row).

    Of each layer (LAYERS, h, w) int16: ``clear``, the number of views that look through it, and
    ``hits``, the weights of those that see a point in it. ``surfaces``: where these points lie.
    """

    first: NDArray[np.int64]
    clear: NDArray[np.int16]
    hits: NDArray[np.int16]
    surfaces: SurfaceSums

    @classmethod
    def zeros(cls, first: NDArray[np.int64], last: NDArray[np.int64]) -> GridCounts:
        """Return what no view says of cells up to before ``last`` (column, row)."""
        width, height = (last - first).tolist()
        layers = (LAYERS, height, width)
        return cls(
            first, np.zeros(layers, np.int16), np.zeros(layers, np.int16),
            SurfaceSums(first, width, height),
        )

    def window(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> GridCounts:
        """Return the part from ``low`` to before ``high``, cut to what there is; same memory."""
        first = np.maximum(low, self.first)
        (column, row), (last_column, last_row) = first - self.first, high - self.first
        rows, columns = slice(row, max(row, last_row)), slice(column, max(column, last_column))
        part = (slice(None), rows, columns)
        return GridCounts(first, self.clear[part], self.hits[part], self.surfaces)

    def log_odds(self) -> tuple[NDArray[np.int8], Surfaces]:
        """Return log-odds (LAYERS, h, w) in UNIT, 0 where nothing is known, and the surfaces.

        Points scatter around a surface along the rays. Those in a cell that it does not reach, by
        its mean place, do not count: walls stay as thin as they are known.
        """
        surfaces, shape = self.surfaces.surfaces(), self.clear.shape[1:]
        total = MISS * self.clear
        for layer in range(LAYERS):
            is_off = off_cells(layer, shape, [(np.zeros(2, np.int64), shape, surfaces)])
            total[layer] += self.hits[layer] * ~is_off
        return np.clip(total, -MOST_OF_SUBMAP, MOST_OF_SUBMAP).astype(np.int8), surfaces


class GridRays:
    """The rays of one view; ``low`` and ``high`` (column, row) bound the cells they reach."""

    def __init__(self, view: DepthView, ground_z: float, config: GridConfig) -> None:
        self._view, self._config = view, config
        self._lowest = ground_z + config.min_height
        self._thickness = (config.max_height - config.min_height) / LAYERS
        center = view.T_map_camera[:3, 3]
        R_map_camera = view.T_map_camera[:3, :3].astype(np.float32)
        self._planes = view.planes @ R_map_camera.T
        offsets = view.camera.backproject(view.depth) @ R_map_camera.T
        heights = offsets[..., 2] + np.float32(center[2] - ground_z)
        is_body = (heights >= config.min_height) & (heights < config.max_height)
        is_known = view.depth > 0
        normals = self._planes * view.planes[..., :2].any(axis=-1, keepdims=True)
        parts = [(offsets[is_known], normals[is_known])]
        parts += _between(offsets, normals, view.depth * is_body, config.resolution)
        self._offsets, self._normals = (np.concatenate(part).T for part in zip(*parts, strict=True))
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
        (columns, rows), layers, weights, chosen = self._hits(counts)
        is_clear[layers, rows, columns] = False
        counts.hits[layers, rows, columns] += weights
        center = self._view.T_map_camera[:2, 3, None]
        counts.surfaces.add(
            ((self._offsets[:2, chosen] + center) / self._config.resolution).astype(np.float32),
            self._normals[:, chosen], layers, weights.astype(np.float32),
        )
        is_floor = np.abs(self._heights) < self._config.min_height
        (columns, rows), _ = self._cells(is_floor, counts)
        is_clear[0, rows, columns] = True
        np.add(counts.clear, is_clear, out=counts.clear)

    def _look(self, counts: GridCounts) -> NDArray[np.bool_]:
        """Return which layers of cells (LAYERS, h, w) are looked through.

        Those are that have all their corners, above and below, before the surface that is seen in
        their direction: so a table's top is not cleared by a look that just passes over it.
        """
        height, width = counts.clear.shape[1:]
        x, y = (
            (start + np.arange(size + 1)) * self._config.resolution - at
            for start, size, at in zip(
                counts.first, (width, height), self._view.T_map_camera[:2, 3], strict=True
            )
        )
        is_near = np.hypot(x, y[:, None]) <= self._config.max_range
        is_before = np.stack([
            self._is_before(x, y, self._lowest + level * self._thickness) & is_near
            for level in range(LAYERS + 1)
        ])
        is_before = is_before[1:] & is_before[:-1]
        is_before = is_before[:, 1:] & is_before[:, :-1]
        return np.asarray(is_before[:, :, 1:] & is_before[:, :, :-1])

    def _is_before(
        self, x: NDArray[np.float64], y: NDArray[np.float64], z: float
    ) -> NDArray[np.bool_]:
        """Whether places (h, w) at height z are clearly before the plane seen in their direction.

        A level plane is seen through a homography: (column, row, 1) -> K R^T (x, y, z). The share
        of its ray at which a place is, is a . p.
        """
        R_map_camera, step = self._view.T_map_camera[:3, :3], self._config.resolution
        below = z - self._view.T_map_camera[2, 3]
        level = np.array([[step, 0, x[0]], [0, step, y[0]], [0, 0, below]])
        planes = cv2.warpPerspective(
            self._planes, self._view.camera.matrix @ (R_map_camera.T @ level), (len(x), len(y)),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        )
        along = np.asarray(planes, np.float32)
        share = along[..., 0] * x.astype(np.float32)
        share += along[..., 1] * y.astype(np.float32)[:, None]
        share += along[..., 2] * np.float32(below)
        along_x, along_y, along_z = R_map_camera[:, 2]
        depth = (along_y * y + along_z * below)[:, None] + along_x * x
        return np.asarray((share > 0) & (share < 1 - MARGIN) & (depth > NEAREST))

    def _hits(
        self, counts: GridCounts
    ) -> tuple[Cells, NDArray[np.int64], NDArray[np.int16], NDArray[np.int64]]:
        """Cells, layers, weights and numbers of end points between heights; far ones scatter."""
        lowest = np.maximum(self._config.min_height, FLOOR_SLOPE * self._ranges)
        is_hit = (self._heights >= lowest) & (self._heights < self._config.max_height)
        cells, chosen = self._cells(is_hit, counts)
        above = self._heights[chosen] - self._config.min_height
        layers = np.minimum((above / self._thickness).astype(np.int64), LAYERS - 1)
        sigma = np.maximum(DEPTH_SIGMA * self._ranges[chosen], self._config.resolution)
        weights = np.maximum(1, HIT * np.square(self._config.resolution / sigma)).astype(np.int16)
        return cells, layers, weights, chosen

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
    points: NDArray[np.float32], normals: NDArray[np.float32], depth: NDArray[np.float32],
    spacing: float,
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Points (M, 3) between neighbors of (h, w, 3) that are on one surface, and their normals.

    Neighbors without ``depth`` (h, w) are left out. Points are added where neighbors are more than
    ``spacing`` apart on the ground, up to four times that without a gap: on walls that are far, and
    on tables that are seen at a small angle; but not where surfaces are bent, which is where depth
    is wrong, unless one above the other they are level.
    """
    between = []
    for step in ((slice(1, None), slice(None)), (slice(None), slice(1, None))):
        back = tuple(slice(None, -1) if part.start else part for part in step)
        nearer = np.minimum(depth[step], depth[back])
        is_surface = (np.abs(depth[step] - depth[back]) <= EDGE * nearer) & (nearer > 0)
        away = (points[step] - points[back])[..., :2]
        is_wide = is_surface & (np.square(away).sum(axis=-1) > spacing**2)
        is_wide &= _is_smooth(points, normals, step, back)
        ends = points[back][is_wide], points[step][is_wide]
        planes = normals[back][is_wide], normals[step][is_wide]
        between += [_on_planes(ends, planes, np.float32(share)) for share in (0.25, 0.5, 0.75)]
    return between


def _is_smooth(
    points: NDArray[np.float32], normals: NDArray[np.float32], step: tuple[slice, ...],
    back: tuple[slice, ...],
) -> NDArray[np.bool_]:
    """Whether neighbors of (h, w, 3) are both on planes, or below one another and level."""
    is_known = np.asarray(normals.any(axis=-1))
    is_smooth = is_known[step] & is_known[back]
    if step[0].start:
        away = points[step] - points[back]
        is_smooth |= np.abs(away[..., 2]) < LEVEL * np.hypot(away[..., 0], away[..., 1])
    return np.asarray(is_smooth)


def _on_planes(
    ends: tuple[NDArray[np.float32], NDArray[np.float32]],
    planes: tuple[NDArray[np.float32], NDArray[np.float32]], share: np.float32,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points (M, 3) at a share of the way between two on planes a (M, 3), and their planes.

    Where these meet in a corner points lie on its sides, not on the short cut. A plane of 0 is
    none.
    """
    middle = ends[0] + share * (ends[1] - ends[0])
    reach = [np.einsum("mi,mi->m", plane, middle) for plane in planes]
    other = [np.einsum("mi,mi->m", *pair) for pair in zip(planes, ends[::-1], strict=True)]
    is_known = planes[0].any(axis=1) & planes[1].any(axis=1)
    is_known &= (np.abs(np.subtract(reach, 1)) <= EDGE).all(axis=0)
    is_hollow = is_known & (other[0] < 1) & (other[1] < 1)
    is_ridge = is_known & (other[0] > 1) & (other[1] > 1)
    is_first = np.where(is_hollow, reach[0] > reach[1], share < 0.5)
    is_first = np.where(is_ridge, reach[0] < reach[1], is_first)
    along = np.where(is_hollow | is_ridge, np.where(is_first, *reach), np.float32(1))
    on_planes = (middle / along[:, None]).astype(np.float32)
    return on_planes, np.where(is_first[:, None], *planes).astype(np.float32)
