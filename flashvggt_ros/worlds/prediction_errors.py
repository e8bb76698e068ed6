"""How predictions go wrong: noise that confidence knows of, outliers, and drift within a submap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

LEAST = 0.1  # of the true depth that is left, however large the noise
SMOOTH_CELLS = (4, 5)  # rows and columns of independent errors in one image
SPREAD_CELLS = (6, 8)


@dataclass(frozen=True, slots=True)
class DepthErrors:
    """Errors of depth images.

    ``noise``: standard deviation relative to depth, pixel by pixel. ``smooth_noise``: the same of
    an error that a fifth of the image has in common. ``outliers``: share of pixels whose depth is
    wrong by a factor of 0.3 to 3. ``spread``: standard deviation of the logarithm of the noise's
    level from one part of an image to another; confidence is 1 + 1 / level, and less, most of the
    time, where an outlier is. Without spread confidence is 2 everywhere: it knows nothing.
    """

    noise: float = 0.0
    smooth_noise: float = 0.0
    outliers: float = 0.0
    spread: float = 0.0

    def applied(
        self, depth: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what becomes of depth images (N, H, W), and their confidence (N, H, W)."""
        depth = depth.copy()
        level = np.ones_like(depth)
        if self.spread:
            level = np.exp(self.spread * smooth(depth.shape, SPREAD_CELLS, rng))
        if self.smooth_noise:
            depth *= np.exp(self.smooth_noise * smooth(depth.shape, SMOOTH_CELLS, rng))
        if self.noise:
            noise = 1 + self.noise * level * rng.standard_normal(depth.shape, np.float32)
            depth *= np.maximum(noise, np.float32(LEAST))
        confidence = 1 + np.reciprocal(level)
        if self.outliers:
            is_wrong = rng.random(depth.shape, np.float32) < self.outliers
            count = np.count_nonzero(is_wrong)
            depth[is_wrong] *= np.exp(rng.uniform(np.log(0.3), np.log(3.0), count))
            if self.spread:
                doubt = rng.uniform(0.2, 1.2, count).astype(np.float32)
                confidence[is_wrong] = 1 + doubt * (confidence[is_wrong] - 1)
        return depth, confidence


@dataclass(frozen=True, slots=True)
class Drift:
    """How a submap bends, more and more, as it grows; neighboring frames agree all the same.

    At its ``frames``-th frame a submap draws everything larger by ``scale``, and has turned by
    ``yaw`` [rad] about the vertical: a chain of submaps gains as much with each of them. The sign
    is the same for all, the worst case, or with ``is_random`` drawn for each submap.
    """

    scale: float = 0.02
    yaw: float = math.radians(0.5)
    frames: int = 24
    is_random: bool = False

    def bent(
        self, T_world_camera: NDArray[np.float64], sign: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the poses (K, 4, 4) of a submap's frames, and how much larger depth is (K,)."""
        life = sign * np.arange(len(T_world_camera)) / self.frames
        scales = 1 + self.scale * life
        turns = se3.matrix_from_quaternion(_yaw_quaternions(self.yaw * life))
        steps = np.diff(T_world_camera[:, :3, 3], axis=0)
        steps = 0.5 * (scales[1:] + scales[:-1])[:, None] * steps
        steps = (turns[1:] @ steps[..., None])[..., 0]
        places = T_world_camera[0, :3, 3] + np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
        return se3.pose(turns @ T_world_camera[:, :3, :3], places), scales


def smooth(
    shape: tuple[int, ...], cells: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Normal noise (N, H, W) that changes smoothly from one of ``cells`` to the next."""
    coarse = rng.standard_normal((shape[0], *cells), np.float32)
    return np.stack([cv2.resize(image, shape[:0:-1], interpolation=cv2.INTER_CUBIC)
                     for image in coarse])


def _yaw_quaternions(yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    zero = np.zeros_like(yaw)
    return np.stack([zero, zero, np.sin(yaw / 2), np.cos(yaw / 2)], axis=-1)
