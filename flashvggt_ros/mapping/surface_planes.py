"""The plane that each pixel of a depth image lies on: smooth surfaces with sharp corners."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Pinhole

REACH = 2  # pixels from the middle of a window to its edge
FLAT = 2.5  # times what is usual around a pixel: windows that are more bent are no plane
AROUND = 25  # edge of the part of an image that says what is usual [px]
STEPS = 20.0  # per e-fold of residuals, in which what is usual is found
LEAST_PIXELS = 8  # of a window that must be known
FARTHER = 0.3  # by how much more a window counts as bent for each pixel that it is shifted
LEAST_RESIDUAL = 1e-3  # relative to depth, below which windows are equally flat

Array = NDArray[np.float64]


def fit_planes(depth: NDArray[np.float32], camera: Pinhole) -> NDArray[np.float32]:
    """Return the plane a (h, w, 3) of each pixel, with a . p = 1 for points p on it [1/m].

    Depth (h, w) along z, 0 where unknown: there a is 0. The inverse depth of a plane is linear in
    the pixel's column and row. It is fitted to windows of 5 by 5 pixels, and each pixel takes the
    flattest of those that hold it (Nagao and Matsuyama, Computer Graphics and Image Processing
    1979), so that no window reaches across a corner where another one does not. A pixel in no flat
    window, by the measure of what is around it, keeps its depth and faces the camera.
    """
    inverse = np.zeros(depth.shape)
    np.divide(1.0, depth, out=inverse, where=depth > 0)
    fits, bend = _fit_windows(inverse, depth > 0)
    down, right, best = _flattest(bend)
    rows, columns = np.indices(depth.shape)
    middle, along_u, along_v = fits[:, rows + down, columns + right]
    own = middle - right * along_u - down * along_v
    is_plane = (best <= FLAT * _usual(best)) & (own > 0)
    own, along_u, along_v = np.where(is_plane, [own, along_u, along_v], 0)
    facing = own - along_u * (columns - camera.cx) - along_v * (rows - camera.cy)
    facing = np.where(is_plane, facing, inverse)
    planes = np.stack([camera.fx * along_u, camera.fy * along_v, facing], axis=-1)
    planes[inverse == 0] = 0
    return planes.astype(np.float32)


def _flattest(bend: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """How far down and right of each pixel its window's middle is, and how bent (h, w) that is."""
    height, width = bend.shape
    padded = np.pad(bend, REACH, constant_values=np.inf)
    shifts = np.indices((2 * REACH + 1, 2 * REACH + 1)).reshape(2, -1)
    ranks = np.stack([
        padded[down : down + height, right : right + width]
        * (1 + FARTHER * (abs(down - REACH) + abs(right - REACH)))
        for down, right in shifts.T
    ])
    chosen = ranks.argmin(axis=0)
    best = np.take_along_axis(ranks, chosen[None], axis=0)[0]
    down, right = np.where(np.isfinite(best), shifts[:, chosen] - REACH, 0)
    return down, right, best


def _usual(residual: Array) -> Array:
    """Median of residuals (h, w) around each pixel: noise differs from part to part of an image."""
    steps = np.rint(STEPS * np.log(np.minimum(residual, 1.0) / LEAST_RESIDUAL))
    return LEAST_RESIDUAL * np.exp(cv2.medianBlur(steps.astype(np.uint8), AROUND) / STEPS)


def _fit_windows(inverse: Array, is_known: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Fit each window: value in its middle and slopes (3, h, w), and its relative residual."""
    ones = np.ones(2 * REACH + 1)
    ramp = np.arange(-REACH, REACH + 1, dtype=np.float64)

    def total(image: Array, along_u: Array, along_v: Array) -> Array:
        return np.asarray(
            cv2.sepFilter2D(image, -1, along_u, along_v, borderType=cv2.BORDER_CONSTANT)
        )

    known = is_known.astype(np.float64)
    count, uu, vv = (
        total(known, *ramps) for ramps in ((ones, ones), (ramp**2, ones), (ones, ramp**2))
    )
    u, v, uv = (total(known, *ramps) for ramps in ((ramp, ones), (ones, ramp), (ramp, ramp)))
    z, zu, zv = (total(inverse, *ramps) for ramps in ((ones, ones), (ramp, ones), (ones, ramp)))
    zz = total(inverse**2, ones, ones)
    minors = (
        uu * vv - uv * uv, uv * v - u * vv, u * uv - uu * v,
        count * vv - v * v, u * v - count * uv, count * uu - u * u,
    )
    determinant = count * minors[0] + u * minors[1] + v * minors[2]
    is_fit = (count >= LEAST_PIXELS) & (determinant > 1e-6 * count**3)
    scale = np.divide(1.0, determinant, out=np.zeros_like(z), where=is_fit)
    fits = scale * np.stack([
        minors[0] * z + minors[1] * zu + minors[2] * zv,
        minors[1] * z + minors[3] * zu + minors[4] * zv,
        minors[2] * z + minors[4] * zu + minors[5] * zv,
    ])
    squares = np.maximum(zz - (fits * np.stack([z, zu, zv])).sum(axis=0), 0)
    residual = np.sqrt(squares / np.maximum(count - 3, 1)) * count / np.maximum(z, 1e-9)
    return fits, np.where(is_fit, np.maximum(residual, LEAST_RESIDUAL), np.inf)
