"""Lens distortion after OpenCV: plumb_bob, rational_polynomial and equidistant (fisheye).

Formulas: OpenCV's calib3d and fisheye documentation; the latter is Kannala and Brandt, PAMI 2006.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Calibration, Pinhole

Array = NDArray[np.float64]


def distort(x: Array, y: Array, calibration: Calibration) -> tuple[Array, Array]:
    """Bend ideal rays (x/z, y/z), any shape, to where the lens puts them, in the same units."""
    k = calibration.coefficients
    if calibration.distortion == "none":
        return x, y
    if calibration.distortion == "equidistant":
        radius = np.hypot(x, y)
        theta = np.arctan(radius)
        square = theta**2
        bent = theta * (1 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))))
        factor = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 1e-12)
        return x * factor, y * factor
    square = x**2 + y**2
    factor = 1 + square * (k[0] + square * (k[1] + square * k[4]))
    if calibration.distortion == "rational_polynomial":
        factor = factor / (1 + square * (k[5] + square * (k[6] + square * k[7])))
    across = 2 * k[2] * x * y + k[3] * (square + 2 * x**2)
    down = k[2] * (square + 2 * y**2) + 2 * k[3] * x * y
    return x * factor + across, y * factor + down


@dataclass(frozen=True, slots=True, eq=False)
class UndistortionMap:
    """Where each pixel of an ideal image lies in the distorted one.

    ``u`` and ``v`` (H, W) float32: in the source image after ``shrink`` x ``shrink`` of its pixels
    were averaged to one, which keeps small ideal images free of aliasing. ``is_seen`` (H, W): False
    where the place is outside the source, or where the model of the lens folds over.
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    is_seen: NDArray[np.bool_]
    shrink: int

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the ideal image (H, W, 3); black where nothing is seen."""
        if self.shrink > 1:
            height, width = (size // self.shrink for size in image.shape[:2])
            whole = np.ascontiguousarray(image[: height * self.shrink, : width * self.shrink])
            image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))
        ideal = cv2.remap(image, self.u, self.v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        ideal[~self.is_seen] = 0
        return np.asarray(ideal, np.uint8)


def undistortion_map(calibration: Calibration, ideal: Pinhole) -> UndistortionMap:
    """Make the map to an ideal camera that looks the same way as the calibrated one."""
    source = calibration.pinhole
    column, row = np.meshgrid(
        np.arange(ideal.width, dtype=np.float64), np.arange(ideal.height, dtype=np.float64)
    )
    x, y = (column - ideal.cx) / ideal.fx, (row - ideal.cy) / ideal.fy
    radius = np.hypot(x, y)
    x, y = distort(x, y, calibration)
    u, v = x * source.fx + source.cx, y * source.fy + source.cy
    inside = (u > -0.5) & (u < source.width - 0.5) & (v > -0.5) & (v < source.height - 0.5)
    fold = _fold_radius(calibration, float(radius.max()))
    shrink = max(1, int(min(source.fx / ideal.fx, source.fy / ideal.fy) + 1e-9))
    return UndistortionMap(
        u=((u + 0.5) / shrink - 0.5).astype(np.float32),
        v=((v + 0.5) / shrink - 0.5).astype(np.float32),
        is_seen=inside & (radius < fold),
        shrink=shrink,
    )


def _fold_radius(calibration: Calibration, largest: float) -> float:
    """Return the distance from the axis, up to ``largest``, at which rays begin to run backwards.

    Polynomials fitted to the middle of a lens do that beyond the rays they were fitted to.
    Tangential terms are left aside.
    """
    k = calibration.coefficients
    if calibration.distortion != "equidistant":
        k = (*k[:2], 0.0, 0.0, *k[4:])
    radius = np.linspace(0.0, largest, 4096)
    straight = replace(calibration, coefficients=k)
    bent, _ = distort(radius, np.zeros_like(radius), straight)
    backwards = np.flatnonzero(np.diff(bent) <= 0)
    return float(radius[backwards[0]]) if len(backwards) else np.inf
