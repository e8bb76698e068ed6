"""How one submap lies in the one before it, from the keyframes that both contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import View

AGREEMENT = 0.1  # distance of two points or places, relative to depth, that still agrees; [rad]
MAX_PIXELS = 10_000  # more of them add time, not accuracy
MIN_PIXELS = 50
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
    one's noise decides which pixels count more; ``scale`` is the most common ratio old to new.
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

    The scale is that of the depths of identical pixels, by iteratively reweighted least squares of
    the logarithms of their ratios (Tukey's biweight), from where these are densest. Rotation and
    translation are those that put the keyframes' new poses on their old ones: an image has one
    pose, and what two depth images of it disagree in says nothing of where it was taken from. The
    keyframe that puts the most pixels in place leads; the mean of all that agree with it counts.

    Where too few pixels have depth, the last camera pose decides at scale 1, with no inliers.
    ``old`` and ``new`` are of equal length, at least 1, in the same order.
    """
    pairs = _pair(old, new)
    if len(pairs.weights) < MIN_PIXELS:
        return SubmapAlignment(continue_pose(old[-1], new[-1], 1.0), 0.0)
    leader = max(
        (continue_pose(a, b, pairs.scale) for a, b in zip(old, new, strict=True)),
        key=lambda S_old_new: _inliers(pairs, S_old_new),
    )
    S_old_new = _mean(old, new, leader)
    return SubmapAlignment(S_old_new, _inliers(pairs, S_old_new))


def continue_pose(old: View, new: View, scale: float) -> Sim3:
    """Return the S_old_new of a given scale that puts a keyframe's new pose on its old one."""
    to_new_camera = Sim3.from_pose(se3.inverse(new.T_submap_camera), 1.0)
    return Sim3.from_pose(old.T_submap_camera, scale) @ to_new_camera


def _mean(old: Sequence[View], new: Sequence[View], leader: Sim3) -> Sim3:
    """Rotation and translation between the mean poses of the keyframes that ``leader`` places."""
    T_old = np.stack([view.T_submap_camera for view in old])
    T_new = np.stack([view.T_submap_camera for view in new])
    turns = T_old[:, :3, :3] @ np.swapaxes(T_new[:, :3, :3], 1, 2)
    depth = np.array([np.median(view.depth) for view in old])
    offsets = T_old[:, :3, 3] - leader.transform_pose(T_new)[:, :3, 3]
    is_placed = se3.rotation_angle(leader.rotation.T @ turns) < AGREEMENT
    is_placed &= np.linalg.norm(offsets, axis=1) <= AGREEMENT * depth
    if not is_placed.any():
        return leader
    rotation = Rotation.from_matrix(turns[is_placed]).mean().as_matrix()
    center_old, center_new = T_old[is_placed, :3, 3].mean(0), T_new[is_placed, :3, 3].mean(0)
    return Sim3(leader.scale, rotation, center_old - leader.scale * (rotation @ center_new))


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
    scale = 1.0
    if len(weights) >= MIN_PIXELS:
        scale = _most_common_ratio(depth_old / depth_new, weights)
    depth = np.sqrt(depth_old * depth_new * scale)
    return _Pairs(points_old, points_new, depth, weights, scale)


def _points(view: View, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    points_camera = view.camera.backproject(view.depth).reshape(-1, 3)[pixels]
    return se3.transform_points(view.T_submap_camera, points_camera.astype(np.float64))


def _inliers(pairs: _Pairs, S_old_new: Sim3) -> float:
    return float((pairs.residuals(S_old_new) < AGREEMENT).mean())


def _most_common_ratio(ratios: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Weighted mean of the positive ``ratios`` (M,), on a logarithmic scale, without outliers.

    It starts in the middle of the shortest interval that holds a quarter of them.
    """
    logs = np.log(ratios)
    ordered = np.sort(logs)
    count = len(ordered) // 4
    first = int(np.argmin(ordered[count:] - ordered[: len(ordered) - count]))
    center = float(ordered[first] + ordered[first + count]) / 2
    for _ in range(ITERATIONS):
        residuals = np.abs(logs - center)
        width = TUKEY * max(float(np.quantile(residuals, 0.25)) / QUARTILE, NOISE_FLOOR)
        biweights = weights * np.clip(1 - (residuals / width) ** 2, 0, None) ** 2
        before, center = center, float(biweights @ logs / biweights.sum())
        if abs(center - before) < 1e-9:
            break
    return float(np.exp(center))
