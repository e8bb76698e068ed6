"""How one submap lies in the one before it, from the keyframes that both contain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.consensus import quantile
from flashvggt_ros.mapping.graph_factors import FREEDOMS
from flashvggt_ros.mapping.graph_measurements import covariance_at
from flashvggt_ros.mapping.submap import View

AGREEMENT = 0.1  # distance of two points or places, relative to depth, that still agrees; [rad]
MAX_PIXELS = 10_000  # more of them add time, not accuracy
MIN_PIXELS = 50
ITERATIONS = 30
TUKEY = 4.685  # cut-off, in standard deviations, of 95 % efficiency for normal noise
QUARTILE = 0.3186  # lower quartile of |x|, x normal, in standard deviations
NOISE_FLOOR = 1e-6  # relative to depth; float32
TILES = 2  # an image has TILES x TILES parts, whose errors count as independent of each other
BIWEIGHT_LOSS = 1.05  # of the mean with Tukey's biweight, against that without, for normal noise
LEAST_SIGMA = 1e-4  # rad, relative to depth, and of the logarithm of the scale
ONE_POSE_SIGMA = 0.01  # rad and relative to depth, where one pose only can be compared
NO_SIGMA = 0.5  # rad, relative to depth, and of the logarithm of the scale: nothing agrees


@dataclass(frozen=True, slots=True, eq=False)
class SubmapAlignment:
    """S_old_new, its covariance, and the share of shared pixels whose points agree, 0 to 1.

    ``covariance`` (7, 7): rotation [rad] and place in the axes and units of the old submap, and
    logarithm of the scale, as ``PoseGraph.add_between`` takes it.
    """

    S_old_new: Sim3
    inliers: float
    covariance: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The same pixels as two submaps see them: points (M, 3) and weights (M,).

    ``depth`` (M,), in units of the old one, is the geometric mean of what both say, so that neither
    one's noise decides which pixels count more; ``scale`` is the most common of the ratios
    (M,) of depths old to new. ``tile`` (M,) numbers the parts of the images that pixels lie in.
    """

    points_old: NDArray[np.float64]
    points_new: NDArray[np.float64]
    depth: NDArray[np.float64]
    weights: NDArray[np.float64]
    tile: NDArray[np.int64]
    ratios: NDArray[np.float64]
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

    The covariance comes from contradictions: of the scale between the parts of the images, because
    neighboring pixels err together (the sandwich of Liang and Zeger, Biometrika 1986); of rotation
    and place between the keyframes, widened because these are few (Student's t).

    Where too few pixels have depth, the last camera pose decides at scale 1, with no inliers.
    ``old`` and ``new`` are of equal length, at least 1, in the same order.
    """
    pairs = _pair(old, new)
    if len(pairs.weights) < MIN_PIXELS:
        return SubmapAlignment(
            continue_pose(old[-1], new[-1], 1.0), 0.0, NO_SIGMA**2 * np.eye(FREEDOMS)
        )
    leader = max(
        (continue_pose(a, b, pairs.scale) for a, b in zip(old, new, strict=True)),
        key=lambda S_old_new: _inliers(pairs, S_old_new),
    )
    S_old_new, covariance = _mean(old, new, leader, _log_scale_sigma(pairs))
    return SubmapAlignment(S_old_new, _inliers(pairs, S_old_new), covariance)


def continue_pose(old: View, new: View, scale: float) -> Sim3:
    """Return the S_old_new of a given scale that puts a keyframe's new pose on its old one."""
    to_new_camera = Sim3.from_pose(se3.inverse(new.T_submap_camera), 1.0)
    return Sim3.from_pose(old.T_submap_camera, scale) @ to_new_camera


def _mean(
    old: Sequence[View], new: Sequence[View], leader: Sim3, log_scale_sigma: float
) -> tuple[Sim3, NDArray[np.float64]]:
    """Rotation and translation between the mean poses of the keyframes that ``leader`` places.

    Returns S_old_new and its covariance (7, 7).
    """
    T_old = np.stack([view.T_submap_camera for view in old])
    T_new = np.stack([view.T_submap_camera for view in new])
    turns = T_old[:, :3, :3] @ np.swapaxes(T_new[:, :3, :3], 1, 2)
    depths = np.array([np.median(view.depth) for view in old])
    offsets = T_old[:, :3, 3] - leader.transform_pose(T_new)[:, :3, 3]
    is_placed = se3.rotation_angle(leader.rotation.T @ turns) < AGREEMENT
    is_placed &= np.linalg.norm(offsets, axis=1) <= AGREEMENT * depths
    if not is_placed.any():
        return leader, _covariance(leader, np.zeros(3), [NO_SIGMA, NO_SIGMA, log_scale_sigma])
    T_old, T_new, turns = T_old[is_placed], T_new[is_placed], turns[is_placed]
    rotation = Rotation.from_matrix(turns).mean().as_matrix()
    center_old, center_new = T_old[:, :3, 3].mean(0), T_new[:, :3, 3].mean(0)
    S_old_new = Sim3(leader.scale, rotation, center_old - leader.scale * (rotation @ center_new))
    depth = float(depths[is_placed].mean())
    turned = Rotation.from_matrix(turns @ rotation.T).as_rotvec()
    moved = (T_old - S_old_new.transform_pose(T_new))[:, :3, 3] / depth
    sigmas = [_sigma_of_mean(turned), depth * _sigma_of_mean(moved), log_scale_sigma]
    return S_old_new, _covariance(S_old_new, center_new, sigmas)


def _sigma_of_mean(deviations: NDArray[np.float64]) -> float:
    """Standard deviation of the mean of n vectors, by their deviations (n, 3) from it.

    The variance estimated from f = 3 (n - 1) numbers is itself uncertain: f / (f - 2) times it is
    that of Student's t.
    """
    count, freedoms = len(deviations), 3 * (len(deviations) - 1)
    if not freedoms:
        return ONE_POSE_SIGMA
    variance = float((deviations**2).sum()) / freedoms / count * freedoms / (freedoms - 2)
    return math.hypot(math.sqrt(variance), LEAST_SIGMA)


def _covariance(
    S_old_new: Sim3, center_new: NDArray[np.float64], sigmas: Sequence[float]
) -> NDArray[np.float64]:
    """Covariance (7, 7) from the sigmas of rotation, place and log scale at the cameras' center."""
    return covariance_at(S_old_new, center_new, np.repeat(sigmas, (3, 3, 1)))


def _log_scale_sigma(pairs: _Pairs) -> float:
    """Standard deviation of the logarithm of the scale, by the scatter of the images' parts."""
    residuals = np.log(pairs.ratios / pairs.scale)
    weights = pairs.weights * _biweights(residuals)
    pulls = np.bincount(pairs.tile, weights * residuals)
    used = int((np.bincount(pairs.tile, weights) > 0).sum())
    if used < 4:
        return NO_SIGMA
    student = used / (used - 3)  # as in _sigma_of_mean
    spread = math.sqrt(float((pulls**2).sum()) * student) / float(weights.sum())
    return math.hypot(BIWEIGHT_LOSS * spread, LEAST_SIGMA)


def _pair(old: Sequence[View], new: Sequence[View]) -> _Pairs:
    """Pair the pixels that have depth in both views, evenly thinned to MAX_PIXELS."""
    parts = []
    for number, (seen, b) in enumerate(zip(old, new, strict=True)):
        a = _on_pixels_of(seen, b)
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
                number * TILES**2 + _tile(pixels, a.depth.shape),
            )
        )
    points_old, points_new, depth_old, depth_new, weights, tile = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    scale = 1.0
    if len(weights) >= MIN_PIXELS:
        scale = most_common_ratio(depth_old / depth_new, weights)
    depth = np.sqrt(depth_old * depth_new * scale)
    return _Pairs(points_old, points_new, depth, weights, tile, depth_old / depth_new, scale)


def _on_pixels_of(old: View, new: View) -> View:
    """Return an old view on the pixels of the new one, the nearest each; depth 0 beyond its border.

    Both show the largest centered part of the keyframe's image that has their shape: it is another
    one where the images of the new submap are cut as its first one asks for.
    """
    if old.depth.shape == new.depth.shape:
        return old
    source = np.array(old.frame.image.shape[:2])
    old_size, new_size = np.array(old.depth.shape), np.array(new.depth.shape)
    step = float((old_size / source).max() / (new_size / source).max())
    edge = (old_size - step * new_size) / 2  # of the new image on the old one, top and left
    rows, columns = (
        np.floor(begin + step * (np.arange(size) + 0.5)).astype(np.intp)
        for begin, size in zip(edge, new_size, strict=True)
    )
    is_row, is_column = (rows >= 0) & (rows < old_size[0]), (columns >= 0) & (columns < old_size[1])
    to, of = np.ix_(is_row, is_column), np.ix_(rows[is_row], columns[is_column])
    depth, confidence = np.zeros(new_size, np.float32), np.zeros(new_size, np.float32)
    depth[to], confidence[to] = old.depth[of], old.confidence[of]
    (top, left), (height, width) = edge.tolist(), new.depth.shape
    moved = old.camera.part(left, top, step, width, height)
    return View(old.frame, depth, confidence, moved, old.T_submap_camera)


def _tile(pixels: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Number of the part of an image (H, W) that each of some flat pixel indices lies in."""
    rows, columns = np.divmod(pixels, shape[1])
    tile: NDArray[np.int64] = rows * TILES // shape[0] * TILES + columns * TILES // shape[1]
    return tile


def _points(view: View, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    points_camera = view.camera.backproject(view.depth).reshape(-1, 3)[pixels]
    return se3.transform_points(view.T_submap_camera, points_camera.astype(np.float64))


def _inliers(pairs: _Pairs, S_old_new: Sim3) -> float:
    return float((pairs.residuals(S_old_new) < AGREEMENT).mean())


def most_common_ratio(ratios: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Weighted mean of the positive ``ratios`` (M,), on a logarithmic scale, without outliers.

    It starts in the middle of the shortest interval that holds a quarter of them.
    """
    logs = np.log(ratios)
    ordered = np.sort(logs)
    count = len(ordered) // 4
    first = int(np.argmin(ordered[count:] - ordered[: len(ordered) - count]))
    center = float(ordered[first] + ordered[first + count]) / 2
    for _ in range(ITERATIONS):
        biweights = weights * _biweights(logs - center)
        before, center = center, float(biweights @ logs / biweights.sum())
        if abs(center - before) < 1e-9:
            break
    return float(np.exp(center))


def _biweights(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tukey's weights (M,) of residuals (M,), for the spread of the smaller ones."""
    width = TUKEY * max(quantile(np.abs(residuals), 0.25) / QUARTILE, NOISE_FLOOR)
    weights: NDArray[np.float64] = np.clip(1 - (residuals / width) ** 2, 0, None) ** 2
    return weights
