"""Where surfaces lie within cells, averaged over all that see them: walls stay one cell thin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAYERS = 5  # between min_height and max_height; each has evidence of its own
SIDES = 4  # where a wall faces: -x, x, -y, y
SHAPES = SIDES + 1  # and what is no wall: table tops, thin things
UPRIGHT = 0.5  # sine of the angle to the vertical from which on a surface's normal makes a wall
WINDOW = 1.5  # how far from a wall cells are told of it [cells]
TOUCHED = 0.6  # how far the middle of a cell may be from a wall in it, with slack [cells]
OWN = 0.3  # share of a cell's points that must at least be on surfaces in it


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """Surfaces near cells of a range (h, w), by ``keys`` (M,) int64 that differ.

    A key numbers layer, shape, row and column, in this order. ``points`` (M,): weight of the points
    in the cell; ``weights`` (M,): of those near it, too; ``offsets`` (M,): their mean distance
    behind the middle of the cell [cells], all float16.
    """

    keys: NDArray[np.int64]
    points: NDArray[np.float16]
    weights: NDArray[np.float16]
    offsets: NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    keys: NDArray[np.int64]
    points: NDArray[np.float32]
    weights: NDArray[np.float32]
    sums: NDArray[np.float32]


class SurfaceSums:
    """Adds up surfaces near the cells of a range, whose lowest is ``first`` (column, row)."""

    def __init__(self, first: NDArray[np.int64], width: int, height: int) -> None:
        self._first, self._width, self._height = first, width, height
        self._parts: list[_Part] = []

    def add(
        self, places: NDArray[np.float32], planes: NDArray[np.float32],
        layers: NDArray[np.int64], weights: NDArray[np.float32],
    ) -> None:
        """Add points at ``places`` (2, M) [cells, from the map's origin] on ``planes`` (3, M).

        Planes: a, with a . p growing away from where it is seen.
        """
        level = np.hypot(planes[0], planes[1])
        is_wall = level > UPRIGHT * np.sqrt(level**2 + planes[2] ** 2)
        other = ~is_wall
        self._add_points(places[:, other], layers[other], weights[other])
        self._add_walls(
            places[:, is_wall], planes[:2, is_wall], layers[is_wall], weights[is_wall]
        )

    def _add_points(
        self, places: NDArray[np.float32], layers: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> None:
        shapes = np.full(len(layers), SIDES)
        cells = np.floor(places).astype(np.int64)
        self._append(cells, shapes, layers, weights, weights, np.zeros_like(weights))

    def _add_walls(
        self, places: NDArray[np.float32], normals: NDArray[np.float32],
        layers: NDArray[np.int64], weights: NDArray[np.float32],
    ) -> None:
        """Tell the cells before and behind each point of it.

        A wall of direction n reaches into a cell if it is no farther from its middle than
        (abs(n_x) + abs(n_y)) / 2: in these units all walls are alike.
        """
        sizes = np.abs(normals)
        units = normals / (sizes[0] + sizes[1])
        axis = (sizes[1] > sizes[0]).astype(np.int64)
        along = np.take_along_axis(units, axis[None], axis=0)[0]
        shapes = 2 * axis + (along > 0)
        own = np.floor(places)
        distance = ((places - own - np.float32(0.5)) * units).sum(axis=0)
        for step in range(-2, 3):
            offset = distance - step * along
            near = np.flatnonzero(np.abs(offset) <= WINDOW)
            cells = own[:, near].astype(np.int64)
            cells[axis[near], np.arange(len(near))] += step
            weight = weights[near]
            points = weight if step == 0 else np.zeros_like(weight)
            self._append(cells, shapes[near], layers[near], points, weight, weight * offset[near])

    def _append(
        self, cells: NDArray[np.int64], shapes: NDArray[np.int64], layers: NDArray[np.int64],
        points: NDArray[np.float32], weights: NDArray[np.float32], sums: NDArray[np.float32],
    ) -> None:
        column, row = cells - self._first[:, None]
        is_in = (column >= 0) & (column < self._width) & (row >= 0) & (row < self._height)
        keys = ((layers * SHAPES + shapes) * self._height + row) * self._width + column
        self._parts.append(_Part(keys[is_in], points[is_in], weights[is_in], sums[is_in]))

    def surfaces(self) -> Surfaces:
        """Return the sums so far, cell by cell."""
        keys = np.concatenate([np.zeros(0, np.int64), *(part.keys for part in self._parts)])
        keys, number = np.unique(keys, return_inverse=True)
        points, weights, sums = (
            np.bincount(number, np.concatenate([np.zeros(0), *values]), len(keys))
            for values in zip(
                *((part.points, part.weights, part.sums) for part in self._parts), strict=True
            )
        ) if self._parts else np.zeros((3, 0))
        offsets = sums / np.maximum(weights, 1e-9)
        points, weights = np.minimum(points, 6e4), np.minimum(weights, 6e4)
        return Surfaces(
            keys, points.astype(np.float16), weights.astype(np.float16),
            offsets.astype(np.float16),
        )


def off_cells(
    layer: int, shape: tuple[int, int],
    patches: Sequence[tuple[NDArray[np.int64], tuple[int, int], Surfaces]],
) -> NDArray[np.bool_]:
    """Return which cells (h, w) have nearly all of their points from surfaces that lie in others.

    ``patches``: of each its first cell (column, row) within (h, w), its size (h, w) and surfaces.
    """
    height, width = shape
    there, right = np.zeros((2, height * width), np.float32)
    for kind in range(SHAPES):
        points, weights, sums = np.zeros((3, height * width), np.float32)
        for (column, row), (rows, columns), surfaces in patches:
            begin = (layer * SHAPES + kind) * rows * columns
            part = slice(*np.searchsorted(surfaces.keys, [begin, begin + rows * columns]))
            y, x = np.divmod(surfaces.keys[part] - begin, columns)
            x, y = x + column, y + row
            is_in = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            cells = (y * width + x)[is_in]
            weight = surfaces.weights[part][is_in].astype(np.float32)
            points[cells] += surfaces.points[part][is_in]
            weights[cells] += weight
            sums[cells] += weight * surfaces.offsets[part][is_in]
        there += points
        right += points * (np.abs(sums) <= TOUCHED * weights)
    return (right < OWN * there).reshape(shape)
