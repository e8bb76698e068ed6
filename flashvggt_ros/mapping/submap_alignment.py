"""How one submap lies in the one before it, from the keyframes that both contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3, align_points
from flashvggt_ros.mapping.submap import View

AGREEMENT = 0.1  # distance of a pixel's two points, relative to its depth, that still agrees
MAX_PIXELS = 10_000  # more of them add time, not accuracy
MIN_PIXELS = 50
CENTER_SHARE = 0.1  # weight of the camera centers, relative to that of all pixels
ITERATIONS = 30
TUKEY = 4.685  # cut-off, in standard deviations, of 95 % efficiency for normal noise
QUARTILE = 0.3186  # lower quartile of |x|, x normal, in standard deviations
NOISE_FLOOR = 1e-6  # relative to depth; float32


@dataclass(frozen=True, slots=True, eq=False)
class SubmapAlignment:
    """S_old_new and the share of shared pixels whose points agree under it, 0 to 1."""

    S_old_new: Sim3
    inliers: float


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The same pixels as two submaps see them: points (M, 3) and weights (M,).

    ``depth`` (M,), in units of the old one, is the geometric mean of what both say, so that neither
    one's noise decides which pixels count more; ``scale`` is the most frequent ratio old to new.
    """

    points_old: NDArray[np.float64]
    points_new: NDArray[np.float64]
    depth: NDArray[np.float64]
    weights: NDArray[np.float64]
    scale: float

    def residuals(self, S_old_new: Sim3) -> NDArray[np.float64]:
        """Distances of each pixel's two points, relative to its depth (M,)."""
        offsets = self.points_old - S_old_new.transform_points(self.points_new)
        distances: NDArray[np.float64] = np.linalg.norm(offsets, axis=1)
        return distances / self.depth


def align_submaps(old: Sequence[View], new: Sequence[View]) -> SubmapAlignment:
    """Find S_old_new from the views that two submaps have of the same keyframes.

    Identical images make pixel-to-pixel correspondences, so that nothing need be matched. The scale
    starts where the ratios of depths are densest, rotation and translation at the best of the
    shared camera poses; then the points, and with a tenth of their weight the camera centers, are
    aligned by iteratively reweighted least squares (Tukey's biweight of the distance relative to
    depth, its width from the lower quartile). More than half of the pixels may be wrong.

    Where too few pixels have depth, the last camera pose decides at scale 1, with no inliers.
    ``old`` and ``new`` are of equal length, at least 1, in the same order.
    """
    pairs = _pair(old, new)
    if len(pairs.weights) < MIN_PIXELS:
        return SubmapAlignment(continue_pose(old[-1], new[-1], 1.0), 0.0)
    starts = [continue_pose(a, b, pairs.scale) for a, b in zip(old, new, strict=True)]
    start = max(starts, key=lambda S_old_new: _inliers(pairs, S_old_new))
    S_old_new = _refine(pairs, old, new, start)
    return SubmapAlignment(S_old_new, _inliers(pairs, S_old_new))


def continue_pose(old: View, new: View, scale: float) -> Sim3:
    """Return the S_old_new of a given scale that puts a keyframe's new pose on its old one."""
    to_new_camera = Sim3.from_pose(se3.inverse(new.T_submap_camera), 1.0)
    return Sim3.from_pose(old.T_submap_camera, scale) @ to_new_camera


def _refine(pairs: _Pairs, old: Sequence[View], new: Sequence[View], S_old_new: Sim3) -> Sim3:
    centers_old = np.stack([view.T_submap_camera[:3, 3] for view in old])
    centers_new = np.stack([view.T_submap_camera[:3, 3] for view in new])
    source = np.concatenate([pairs.points_new, centers_new])
    target = np.concatenate([pairs.points_old, centers_old])
    for _ in range(ITERATIONS):
        residuals = pairs.residuals(S_old_new)
        width = TUKEY * max(float(np.quantile(residuals, 0.25)) / QUARTILE, NOISE_FLOOR)
        biweights = np.clip(1 - (residuals / width) ** 2, 0, None) ** 2
        weights = pairs.weights * biweights / pairs.depth**2
        center_weight = CENTER_SHARE * weights.sum() / len(centers_old)
        try:
            refined = align_points(
                source,
                target,
                np.append(weights, np.full(len(centers_old), center_weight)),
                is_symmetric=True,
            )
        except ValueError:  # the agreeing pixels lie on one line: nothing to refine with
            return S_old_new
        change = np.abs(refined.matrix - S_old_new.matrix).max()
        S_old_new = refined
        if change < 1e-7:
            break
    return S_old_new


def _pair(old: Sequence[View], new: Sequence[View]) -> _Pairs:
    """Pair the pixels that have depth in both views, evenly thinned to MAX_PIXELS."""
    parts = []
    for a, b in zip(old, new, strict=True):
        is_valid = (a.depth > 0) & (b.depth > 0)
        pixels = np.flatnonzero(is_valid)
        pixels = pixels[:: max(1, len(pixels) * len(old) // MAX_PIXELS)]
        parts.append(
            (
                _points(a, pixels),
                _points(b, pixels),
                a.depth.ravel()[pixels].astype(np.float64),
                b.depth.ravel()[pixels].astype(np.float64),
                np.sqrt(a.confidence.ravel()[pixels] * b.confidence.ravel()[pixels], dtype=float),
            )
        )
    points_old, points_new, depth_old, depth_new, weights = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    scale = _densest(depth_old / depth_new) if len(weights) >= MIN_PIXELS else 1.0
    depth = np.sqrt(depth_old * depth_new * scale)
    return _Pairs(points_old, points_new, depth, weights, scale)


def _points(view: View, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    points_camera = view.camera.backproject(view.depth).reshape(-1, 3)[pixels]
    return se3.transform_points(view.T_submap_camera, points_camera.astype(np.float64))


def _inliers(pairs: _Pairs, S_old_new: Sim3) -> float:
    return float((pairs.residuals(S_old_new) < AGREEMENT).mean())


def _densest(values: NDArray[np.float64]) -> float:
    """Middle of the shortest interval that holds a quarter of the positive ``values``."""
    logs = np.sort(np.log(values))
    count = len(logs) // 4
    first = int(np.argmin(logs[count:] - logs[: len(logs) - count]))
    return float(np.exp((logs[first] + logs[first + count]) / 2))
