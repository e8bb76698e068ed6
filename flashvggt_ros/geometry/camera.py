"""Pinhole cameras and their calibration. Camera axes are optical: x right, y down, z forward."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

DISTORTION_COEFFICIENTS = {"none": 0, "plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Ideal camera: u = fx x/z + cx, v = fy y/z + cy; pixel centers at integer (u, v) [px]."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"camera intrinsics are not finite: {numbers}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal length must be positive, not fx={self.fx}, fy={self.fy}")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"image size must be positive, not {self.width}x{self.height}")

    @classmethod
    def from_fov(cls, fov_x: float, fov_y: float, width: int, height: int) -> Pinhole:
        """Camera with the principal point at (width/2, height/2), as VGGT has it [rad, px]."""
        fx = width / 2 / math.tan(fov_x / 2)
        fy = height / 2 / math.tan(fov_y / 2)
        return cls(fx, fy, width / 2, height / 2, width, height)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def fov(self) -> tuple[float, float]:
        """Horizontal and vertical field of view [rad], as VGGT defines it: 2 atan(size / 2f)."""
        return (
            2 * math.atan(self.width / 2 / self.fx),
            2 * math.atan(self.height / 2 / self.fy),
        )

    def reduced(self, reduction: int) -> Pinhole:
        """The camera of the image in which so many pixels, across and down, were made one."""
        return self.part(0, 0, reduction, self.width // reduction, self.height // reduction)

    def part(self, left: float, top: float, step: float, width: int, height: int) -> Pinhole:
        """The camera of an image of pixels ``step`` of this one's wide, from an edge on [px]."""
        return Pinhole(
            self.fx / step,
            self.fy / step,
            (self.cx - left + 0.5) / step - 0.5,
            (self.cy - top + 0.5) / step - 0.5,
            width,
            height,
        )

    def backproject(self, depth: NDArray[np.float32], step: int = 1) -> NDArray[np.float32]:
        """Points (h, w, 3) in the camera frame from depth along z (h, w).

        ``step``: depth is that of every n-th pixel and row of the image.
        """
        u = np.arange(0, self.width, step, dtype=np.float32) - np.float32(self.cx)
        v = np.arange(0, self.height, step, dtype=np.float32) - np.float32(self.cy)
        if depth.shape != (len(v), len(u)):
            raise ValueError(f"depth is {depth.shape}, camera is {(len(v), len(u))}")
        u, v = u / np.float32(self.fx), v / np.float32(self.fy)
        return np.stack([depth * u[None, :], depth * v[:, None], depth], axis=-1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A camera as camera_info describes it: pinhole and lens distortion.

    ``distortion`` is one of none, plumb_bob (k1 k2 p1 p2 k3), rational_polynomial (k1 k2 p1 p2 k3
    k4 k5 k6) and equidistant (k1 k2 k3 k4; Kannala and Brandt).
    """

    pinhole: Pinhole
    distortion: str
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.distortion not in DISTORTION_COEFFICIENTS:
            raise ValueError(
                f"distortion model '{self.distortion}' is not one of "
                f"{', '.join(DISTORTION_COEFFICIENTS)}"
            )
        wanted = DISTORTION_COEFFICIENTS[self.distortion]
        if len(self.coefficients) != wanted:
            raise ValueError(
                f"{self.distortion} needs {wanted} coefficients, got {len(self.coefficients)}"
            )
        if not all(math.isfinite(value) for value in self.coefficients):
            raise ValueError(f"distortion coefficients are not finite: {self.coefficients}")

    def reduced(self, reduction: int) -> Calibration:
        """The same lens on an image with so many pixels, across and down, made one."""
        return replace(self, pinhole=self.pinhole.reduced(reduction)) if reduction > 1 else self
