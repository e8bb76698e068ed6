"""Similarity transforms: ``S_a_b`` maps points from frame b to frame a, p_a = s R p_b + t."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3


@dataclass(frozen=True, slots=True, eq=False)
class Sim3:
    """Scale s > 0 (units of a per unit of b), rotation R (3, 3), translation t (3,)."""

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Sim3:
        """Return the transform that changes nothing."""
        return cls(1.0, np.eye(3), np.zeros(3))

    @classmethod
    def from_pose(cls, T_a_b: NDArray[np.float64], scale: float) -> Sim3:
        """Return S_a_b of a frame b at T_a_b (4, 4) whose unit is ``scale`` units of a."""
        return cls(scale, T_a_b[:3, :3].copy(), T_a_b[:3, 3].copy())

    @property
    def matrix(self) -> NDArray[np.float64]:
        """[s R, t; 0, 1] (4, 4)."""
        return se3.pose(self.scale * self.rotation, self.translation)

    def __matmul__(self, S_b_c: Sim3) -> Sim3:
        """Return S_a_c = S_a_b @ S_b_c."""
        return Sim3(
            self.scale * S_b_c.scale,
            self.rotation @ S_b_c.rotation,
            self.scale * (self.rotation @ S_b_c.translation) + self.translation,
        )

    def inverse(self) -> Sim3:
        """Return S_b_a."""
        rotation = self.rotation.T
        return Sim3(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def transform_points(self, points_b: NDArray[Any]) -> NDArray[Any]:
        """Return points (..., 3) of frame b in frame a, in the points' own float type."""
        return se3.transform_points(self.matrix, points_b)

    def transform_pose(self, T_b_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return poses (..., 4, 4) of frame b in frame a: rigid, only their place is scaled."""
        return se3.pose(
            self.rotation @ T_b_camera[..., :3, :3],
            self.scale * (T_b_camera[..., :3, 3] @ self.rotation.T) + self.translation,
        )


def align_points(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    is_symmetric: bool = False,
) -> Sim3:
    """Return the S that minimizes sum w |target - S source|^2 (Umeyama, PAMI 1991, eq. 34 to 43).

    ``source`` and ``target`` are (M, 3), ``weights`` (M,) not negative. Noise in ``source`` makes
    that scale too small; with ``is_symmetric`` it is the ratio of both spreads instead (Horn, JOSA
    1987, section 2.E), which noise of both alike leaves unbiased, and which makes aligning there
    and back exact inverses. Raises ValueError where the points do not determine S: fewer than three
    of them, or all on one line.
    """
    total = float(weights.sum())
    if not total > 0:
        raise ValueError("cannot align points whose weights sum to zero")
    share = weights / total
    source_mean, target_mean = share @ source, share @ target
    source_centered, target_centered = source - source_mean, target - target_mean
    covariance = (target_centered * share[:, None]).T @ source_centered
    U, spread, Vt = np.linalg.svd(covariance)
    if not spread[1] > 1e-12 * spread[0] or not np.isfinite(spread).all():
        raise ValueError(f"cannot align {len(source)} points: they lie on one line")
    signs = np.ones(3)
    signs[2] = np.sign(np.linalg.det(U) * np.linalg.det(Vt))
    rotation = (U * signs) @ Vt
    source_variance = float(share @ (source_centered**2).sum(axis=1))
    target_variance = float(share @ (target_centered**2).sum(axis=1))
    scale = float(spread @ signs) / source_variance
    if is_symmetric:
        scale = math.sqrt(target_variance / source_variance)
    return Sim3(scale, rotation, target_mean - scale * (rotation @ source_mean))
