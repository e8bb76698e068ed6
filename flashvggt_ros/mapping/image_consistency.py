"""How well images agree once depth and poses say where each pixel of one lies in the next."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.tracked_frame import TrackedFrame

Array = NDArray[np.float64]
STRIDE = 4  # every n-th pixel and row is compared
GAPS = (1, 3)  # frames between the two images
LARGEST = 60.0  # difference of gray levels, at contrast 50, beyond which none is worse
TOLERANCE = 0.01  # of the differences: noise and depth have their share in them
LEAST_PIXELS = 300  # fewer of them say nothing


def differences(
    frames: Sequence[TrackedFrame], T_window_camera: Array, log_scale: Array, first: int
) -> NDArray[np.float32]:
    """Return differences of gray levels (P, h, w) of the frames from ``first`` on to earlier ones.

    ``T_window_camera`` (K, 4, 4), ``log_scale`` (K,) of the frames' depth. NaN where a pixel has no
    depth or leaves the other image; at most LARGEST, which hidden and moving things reach.
    """
    pairs = [
        (number, number - gap)
        for number in range(first, len(frames))
        for gap in GAPS
        if number >= gap and frames[number].stamp.camera == frames[number - gap].stamp.camera
    ]
    found = [
        _difference(frames[a], frames[b], T_window_camera[b], T_window_camera[a], log_scale[a])
        for a, b in pairs
    ]
    return np.stack(found) if found else np.zeros((0, 1, 1), np.float32)


def is_worse(refined: NDArray[np.float32], given: NDArray[np.float32]) -> bool:
    """Whether images agree clearly less by ``refined`` than by ``given`` differences, on average.

    Only pixels that both have count.
    """
    both = np.isfinite(refined) & np.isfinite(given)
    if np.count_nonzero(both) < LEAST_PIXELS:
        return False
    return bool(refined[both].mean() > (1 + TOLERANCE) * given[both].mean())


def _difference(
    source: TrackedFrame, target: TrackedFrame, T_window_target: Array, T_window_source: Array,
    log_scale: float,
) -> NDArray[np.float32]:
    depth = np.exp(source.log_depth[::STRIDE, ::STRIDE] + np.float32(log_scale))
    points = source.pinhole.backproject(depth, STRIDE)
    T_target_source = se3.inverse(T_window_target) @ T_window_source
    x, y, z = np.moveaxis(se3.transform_points(T_target_source, points), -1, 0)
    camera = target.pinhole
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
        is_inside = (z > 0) & (u >= 0) & (v >= 0) & (u < camera.width - 1) & (v < camera.height - 1)
    columns, rows = np.where(is_inside, [u, v], -1).astype(np.float32)
    there = cv2.remap(target.image.coarse, columns, rows, cv2.INTER_LINEAR)
    here = source.image.coarse[::STRIDE, ::STRIDE].astype(np.float32)
    difference = np.minimum(np.abs(here - there.astype(np.float32)), LARGEST)
    return np.where(is_inside, difference, np.nan).astype(np.float32)
