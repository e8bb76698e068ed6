"""Whether two images that are said to show one place show the same surfaces, in depth and color."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole

SAME_DEPTH = 0.15  # difference of depths, relative, that is still one surface
PATCH = 9  # edge of the patches that are correlated [px]
SHIFT = 2  # by how much the warped image may lie beside, horizontally and vertically [px]
NOISE = 1.0  # variance of images without contrast: two blank patches do not match
LEAST_CONTRAST = 3.0  # standard deviation of a patch that shows something [gray levels]


@dataclass(frozen=True, slots=True, eq=False)
class SeenView:
    """One image of a fresh run: gray (H, W) float32, depth (H, W), its camera and pose (4, 4)."""

    gray: NDArray[np.float32]
    depth: NDArray[np.float32]
    camera: Pinhole
    T_run_camera: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reprojection:
    """Where one view's pixels lie in another: columns ``u`` and rows ``v`` (H, W) float32 [px].

    ``is_covisible`` (H, W): pixels whose surface the other view shows at the same depth.
    ``is_through`` (H, W): pixels whose surface the other view looks through.
    """

    u: NDArray[np.float32]
    v: NDArray[np.float32]
    is_covisible: NDArray[np.bool_]
    is_through: NDArray[np.bool_]


def gray_image(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a slightly blurred gray image (H, W) of colors (H, W, 3)."""
    gray = cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 0.8), np.float32)


def reproject(view: SeenView, other: SeenView) -> Reprojection:
    """Look up each pixel of ``view`` in ``other`` by the depth and the poses of one run."""
    u, v, z = _projected(view, other)
    height, width = other.depth.shape
    is_inside = (z > 0) & (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    there = np.asarray(cv2.remap(other.depth, u, v, cv2.INTER_NEAREST, borderValue=0))
    is_inside &= (view.depth > 0) & (there > 0)
    return Reprojection(
        u, v,
        is_inside & (np.abs(there - z) < SAME_DEPTH * z),
        is_inside & (there > z * (1 + 2 * SAME_DEPTH)),
    )  # fmt: skip


def correlate(view: SeenView, other: SeenView, seen: Reprojection) -> NDArray[np.float32]:
    """Return the correlation (H, W), -1 to 1, of patches around covisible pixels; NaN elsewhere.

    The other image is warped into the view, and patches of both are correlated (zero mean, unit
    variance) at shifts up to SHIFT pixels, because depth is not exact. NaN too where neither view
    has contrast.
    """
    warped = cv2.remap(other.gray, seen.u, seen.v, cv2.INTER_LINEAR, borderValue=0)
    return _best_correlation(view.gray, np.asarray(warped, np.float32), seen.is_covisible)


def _projected(
    view: SeenView, other: SeenView
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel's point lies in the other image (H, W) [px], and its depth there."""
    T_other_view = se3.inverse(other.T_run_camera) @ view.T_run_camera
    points = se3.transform_points(T_other_view, view.camera.backproject(view.depth))
    z = points[..., 2]
    safe = np.where(z > 1e-6, z, 1e-6)
    u = other.camera.fx * points[..., 0] / safe + other.camera.cx
    v = other.camera.fy * points[..., 1] / safe + other.camera.cy
    return (np.clip(u, -1e4, 1e4).astype(np.float32), np.clip(v, -1e4, 1e4).astype(np.float32),
            z.astype(np.float32))


def _best_correlation(
    gray: NDArray[np.float32], warped: NDArray[np.float32], is_known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    known = is_known.astype(np.float32)
    best = np.full(gray.shape, -1.0, np.float32)
    variance = np.zeros(gray.shape, np.float32)
    edge, (height, width) = [(SHIFT, SHIFT), (SHIFT, SHIFT)], gray.shape
    wide_warped, wide_known = np.pad(warped, edge), np.pad(known, edge)
    for dy, dx in np.ndindex(2 * SHIFT + 1, 2 * SHIFT + 1):
        moved = slice(dy, dy + height), slice(dx, dx + width)
        both = known * wide_known[moved]
        correlation, spread, is_enough = _correlation(gray, wide_warped[moved], both)
        np.maximum(best, correlation, out=best, where=is_enough)
        np.maximum(variance, spread, out=variance)
    best[~is_known | (np.sqrt(variance) < LEAST_CONTRAST)] = np.nan
    return best


def _correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Correlation of patches of two images where ``weight`` is 1, not 0, and their larger variance.

    And whether at least half of a patch is there.
    """
    share = np.maximum(_blurred(weight), np.float32(1e-3))
    a_there, b_there = a * weight, b * weight
    mean_a, mean_b, var_a, var_b, covariance = (
        np.divide(blurred, share, out=blurred)
        for blurred in map(
            _blurred, (a_there, b_there, a * a_there, b * b_there, a_there * b_there)
        )
    )
    var_a -= mean_a * mean_a
    var_b -= mean_b * mean_b
    covariance -= mean_a * mean_b
    zeros = np.zeros(a.shape[1], np.float32)  # a row is compared faster than a number
    np.maximum(var_a, zeros, out=var_a)
    np.maximum(var_b, zeros, out=var_b)
    covariance /= np.sqrt((var_a + NOISE) * (var_b + NOISE))
    return covariance, np.maximum(var_a, var_b), share >= 0.5


def _blurred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each patch."""
    return np.asarray(cv2.boxFilter(values, -1, (PATCH, PATCH), normalize=True), np.float32)
