"""Colored points and their fusion in voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.sim3 import Sim3

LARGEST_EXACT = 2**53  # integers below it are exact as float64
DENSE = 32  # voxels per point, up to which a table of all of them is faster than sorting, ...
LARGEST_TABLE = 2_000_000  # ... and voxels up to which it is small


@dataclass(frozen=True, slots=True, eq=False)
class WeightedCloud:
    """Points (M, 3) float32, colors (M, 3) uint8 RGB and weights (M,) float32 > 0, in one frame."""

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def concatenate(cls, clouds: Sequence[WeightedCloud]) -> WeightedCloud:
        """Return all points of ``clouds``, which may be none, in one cloud."""
        return cls(
            np.concatenate([np.zeros((0, 3), np.float32), *(c.points for c in clouds)]),
            np.concatenate([np.zeros((0, 3), np.uint8), *(c.colors for c in clouds)]),
            np.concatenate([np.zeros(0, np.float32), *(c.weights for c in clouds)]),
        )

    def transformed(self, S_a_b: Sim3) -> WeightedCloud:
        """Return this cloud of frame b in frame a."""
        return replace(self, points=S_a_b.transform_points(self.points))


def fuse_voxels(cloud: WeightedCloud, voxel_size: float) -> WeightedCloud:
    """Return one point for each occupied voxel of edge ``voxel_size``: the weighted mean.

    Voxel boundaries lie at multiples of ``voxel_size`` from the frame's origin. Weights add up, so
    that fusing parts and then their results weighs every first point alike. The order of the result
    is that of the voxels (x, then y, then z), whatever the order of the points; the means depend on
    that order only within rounding (float64 sums).
    """
    return fuse_with(cloud, np.zeros(len(cloud), np.float64), voxel_size)[0]


def fuse_with(
    cloud: WeightedCloud, values: NDArray[np.float64], voxel_size: float
) -> tuple[WeightedCloud, NDArray[np.float64]]:
    """Return what ``fuse_voxels`` does, and the weighted mean in each voxel of ``values`` (M,)."""
    if len(cloud) == 0:
        return cloud, values
    voxel = voxel_of_each(cloud.points, voxel_size)
    weights = cloud.weights.astype(np.float64)
    total = np.bincount(voxel, weights)
    points = np.empty((len(total), 3), np.float32)
    colors = np.empty((len(total), 3), np.uint8)
    for axis in range(3):
        points[:, axis] = np.bincount(voxel, weights * cloud.points[:, axis]) / total
        colors[:, axis] = np.rint(np.bincount(voxel, weights * cloud.colors[:, axis]) / total)
    means = np.bincount(voxel, weights * values) / total
    return WeightedCloud(points, colors, total.astype(np.float32)), means


def voxel_of_each(points: NDArray[np.floating], voxel_size: float) -> NDArray[np.int64]:
    """Return the rank (M,) of each point's voxel among the occupied ones, by x, then y, then z."""
    if not len(points):
        return np.zeros(0, np.int64)
    cells = [np.floor(points[:, axis] / np.float64(voxel_size)) for axis in range(3)]
    cells = [cell - cell.min() for cell in cells]
    extent = [int(cell.max()) + 1 for cell in cells]
    volume = math.prod(extent)
    if volume >= LARGEST_EXACT:
        order = np.lexsort(cells[::-1])
        return _ranks(order, np.any([np.diff(cell[order]) != 0 for cell in cells], axis=0))
    key = ((cells[0] * extent[1] + cells[1]) * extent[2] + cells[2]).astype(np.int64)
    if volume > min(DENSE * len(points), LARGEST_TABLE):
        order = np.argsort(key)
        return _ranks(order, np.diff(key[order]) != 0)
    is_occupied = np.zeros(volume, bool)
    is_occupied[key] = True
    occupied = np.flatnonzero(is_occupied)
    rank = np.empty(volume, np.int64)
    rank[occupied] = np.arange(len(occupied))
    return rank[key]


def _ranks(order: NDArray[np.int64], is_next: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rank (M,) of each point's voxel by the order of the points, and where the next voxel begins.

    ``is_next`` (M - 1,): of all but the first.
    """
    voxel = np.empty(len(order), np.int64)
    voxel[order] = np.concatenate([[0], np.cumsum(is_next)])
    return voxel
