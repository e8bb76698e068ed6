"""A cloud in blocks of space, so that only those are sent again in which something changed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

BLOCKS_ACROSS = 6  # about, along the longest side of the cloud
STEP = 0.8  # from one share of kept points to the next: the same ones stay while a map grows
OUTLIERS = 0.5  # on either side of the cloud's extent [percent]
MOST_SAMPLED = 50_000  # points that the extent, and the spacing, are measured with
_MIXERS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D], np.uint32)
_HASHES = 2**32


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Points (M, 3) float16 from ``center`` (3,) and their colors (M, 3); ``digest`` of both."""

    center: NDArray[np.float64]
    points: NDArray[np.float16]
    colors: NDArray[np.uint8]
    digest: int


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """The box from ``low`` to ``high`` (3,) that holds nearly all points of a cloud."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, points: NDArray[np.float32]) -> Extent:
        """Return the extent of at least one point (M, 3), without outliers."""
        some = points[:: max(1, len(points) // MOST_SAMPLED)].astype(np.float64)
        low, high = np.percentile(some, [OUTLIERS, 100 - OUTLIERS], axis=0)
        return cls(low, high)

    @property
    def size(self) -> float:
        """The longest side."""
        return float((self.high - self.low).max())


def block_edge(size: float) -> float:
    """Return the edge of blocks for a cloud of that size, a power of two: it seldom changes."""
    return float(2.0 ** np.ceil(np.log2(max(size, 1e-6) / BLOCKS_ACROSS)))


def thin(
    points: NDArray[np.float32], colors: NDArray[np.uint8], most: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return about ``most`` of the points at most, evenly; a point's place decides for it."""
    if len(points) <= most:
        return points, colors
    steps = np.ceil(np.log(most / len(points)) / np.log(STEP))
    bits = np.ascontiguousarray(points, np.float32).view(np.uint32)
    hashes = (bits * _MIXERS).sum(axis=1, dtype=np.uint32)
    hashes = (hashes ^ (hashes >> 15)) * _MIXERS[0]
    kept = hashes < STEP**steps * _HASHES
    return points[kept], colors[kept]


def split(
    points: NDArray[np.float32], colors: NDArray[np.uint8], edge: float
) -> dict[tuple[int, ...], Block]:
    """Return the blocks of a cloud, cubes of ``edge``, by their place."""
    if not len(points):
        return {}
    places = np.floor(points / np.float32(edge)).astype(np.int32)
    places_from = places - places.min(axis=0)
    spans = places_from.max(axis=0).astype(np.int64) + 1
    keys = (places_from[:, 0] * spans[1] + places_from[:, 1]) * spans[2] + places_from[:, 2]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    blocks: dict[tuple[int, ...], Block] = {}
    for rows in np.split(order, starts[1:]):
        place = places[rows[0]]
        center = (place.astype(np.float64) + 0.5) * edge
        near = (points[rows] - center).astype(np.float16)
        chosen = np.ascontiguousarray(colors[rows])
        digest = zlib.crc32(chosen.data, zlib.crc32(near.data))
        blocks[tuple(place.tolist())] = Block(center, near, chosen, digest)
    return blocks


def spacing(blocks: dict[tuple[int, ...], Block]) -> float:
    """Return the median distance of a point to its nearest neighbor in the fullest block."""
    fullest: Any = max(blocks.values(), key=lambda block: len(block.points)).points
    if len(fullest) < 2:
        return 0.0
    some = fullest[:: max(1, len(fullest) // 2000)]
    distances, _ = cKDTree(fullest).query(some, k=2)
    return float(np.median(distances[:, 1]))
