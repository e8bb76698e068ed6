"""Distances between the cameras of a rig, as a submap sees them and as the rig is built."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

MIN_BASELINE = 0.01  # [m]
SAME_MOMENT_NS = 5_000_000
MAX_BRACKET_NS = 300_000_000  # a camera moves evenly for so long


def baseline_pairs(
    T_submap_camera: NDArray[np.float64],
    T_base_camera: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
) -> Iterator[tuple[float, float, int]]:
    """Yield, of two cameras at one moment: offset along the baseline [units], baseline [m], stamp.

    The rows of (K, 4, 4) poses are in order of their stamps (K,).
    """
    for first, stamp in enumerate(stamps_ns):
        last = int(np.searchsorted(stamps_ns, stamp + SAME_MOMENT_NS, "right"))
        for second in range(first + 1, last):
            both = T_submap_camera[[first, second]], T_base_camera[[first, second]]
            yield from _along_baseline(*both, int(stamp))
    cameras = _group_equal(T_base_camera)
    for number, track in enumerate(cameras):
        others = np.concatenate([np.empty(0, int), *cameras[number + 1 :]])
        for before, after in pairwise(track):
            length = stamps_ns[after] - stamps_ns[before]
            since = stamps_ns[others] - stamps_ns[before]
            is_between = (since > SAME_MOMENT_NS) & (since < length - SAME_MOMENT_NS)
            for other in others[is_between & (length <= MAX_BRACKET_NS)]:
                share = (stamps_ns[other] - stamps_ns[before]) / length
                T = se3.interpolate(T_submap_camera[before], T_submap_camera[after], share)
                both = np.stack([T, T_submap_camera[other]]), T_base_camera[[before, other]]
                yield from _along_baseline(*both, int(stamps_ns[other]))


def _along_baseline(
    T_submap_camera: NDArray[np.float64], T_base_camera: NDArray[np.float64], stamp_ns: int
) -> Iterator[tuple[float, float, int]]:
    """One pair, the way of the baseline being what both cameras' (2, 4, 4) orientations say."""
    baseline = T_base_camera[1, :3, 3] - T_base_camera[0, :3, 3]
    meters = float(np.linalg.norm(baseline))
    if meters < MIN_BASELINE:
        return
    R_submap_base = T_submap_camera[:, :3, :3] @ np.swapaxes(T_base_camera[:, :3, :3], 1, 2)
    way = (R_submap_base @ (baseline / meters)).sum(axis=0)
    length = float(np.linalg.norm(way))
    if length > 1e-6:  # else both cameras' orientations contradict each other entirely
        offset = T_submap_camera[1, :3, 3] - T_submap_camera[0, :3, 3]
        yield float(offset @ way) / length, meters, stamp_ns


def _group_equal(T_base_camera: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Row numbers of equal poses (to 0.1 mm and 0.1 mrad), together."""
    rounded = np.round(T_base_camera.reshape(-1, 16), 4)
    groups = np.unique(rounded, axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(groups == group) for group in range(groups.max(initial=-1) + 1)]
