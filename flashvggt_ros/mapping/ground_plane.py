"""The floor in a cloud: the lowest wide plane below the cameras that is about level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.fitted_planes import (
    fit_near,
    least_squares,
    moments_of,
    tukey_weights,
)

MOST_POINTS = 20_000  # that the plane is fitted to
SCORED_POINTS = 800  # that candidates are compared on
POLISHED_POINTS = 2000  # that the best of them are compared on
TRIPLES = 24_000
CANDIDATES = 3000
BLOCK = 64  # of them that are looked at together, to stay in the processor's cache
POLISHED = 40  # candidates that are fitted before they are compared again
THICKNESS = 0.08  # of the floor by noise, relative to the camera's height above it
BELOW_PENALTY = 2.0  # points of the floor that one point below it outweighs
LAYERS_BONUS = 4.0  # for points that lie in layers: tables and a ceiling are level like the floor
TILT_PENALTY = 0.05  # at the largest tilt
LAYER = 0.08  # thickness of one, relative to the cameras' median height above the candidates
MIN_SHARE = 0.02  # of the points that lie on a candidate
MIN_FLOOR = 0.045  # of the points that must lie on the floor
MIN_EXTENT = 0.3  # standard deviation of the floor's points sideways, relative to the height
MIN_POINTS = 60
MAX_SIGMA = 0.1  # a normal known less well is called unknown [rad]
NORMAL_FLOOR = 0.006  # floors, and what networks make of them, are no flatter [rad]
AMBIGUITY = 0.002  # tilt, times the share of the points that are floor: others pass for it [rad]
MARGIN = 0.02  # by which the winner must be better than planes of another direction
SAME_DIRECTION = 0.995  # cosine
HEIGHT_FLOOR = 0.015  # relative to the height
GROUPS = 10  # of the jackknife
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class GroundPlane:
    """The plane normal @ p = offset in a submap; lengths in the submap's units.

    ``normal`` (3,) is of length 1 and points up, its standard deviation about each level axis is
    ``sigma_rad``. ``inliers`` is the share of all points that lie on it. ``height`` of the cameras
    above it is the median, ``sigma_height`` its standard deviation.
    """

    normal: NDArray[np.float64]
    offset: float
    inliers: float
    sigma_rad: float
    height: float
    sigma_height: float

    def heights(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far points (..., 3) are above the plane, negative below it."""
        above: NDArray[np.float64] = points @ self.normal - self.offset
        return above


def find_ground(
    points_submap: NDArray[np.floating],
    up_guess: NDArray[np.float64],
    max_tilt_rad: float,
    camera_centers: NDArray[np.float64],
) -> GroundPlane | None:
    """Find the floor among points (M, 3), below camera centers (K, 3), all in the submap frame.

    Planes through three points are candidates where they lie below the cameras and their normal is
    within ``max_tilt_rad`` of ``up_guess`` (3,); of them the one wins that has many points close
    to it and few below it, so that neither ceiling nor wall nor table is a floor (RANSAC, Fischler
    and Bolles 1981). A point is close within a share of the cameras' height above the plane,
    because errors of depth along the rays lift a floor's points in this proportion; that tables
    and a ceiling are level too speaks for a direction. The winner is fitted again with Tukey's
    weights, their width from the points below it: furniture stands above only. Sigmas are a
    jackknife's over patches of the floor, and larger where it is seen little of.

    None where no plane is wide and certain enough, or another is about as good.
    Equal input gives equal output.
    """
    points = np.asarray(points_submap, np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    centers = np.asarray(camera_centers, np.float64)
    centers = centers[np.isfinite(centers).all(axis=1)]
    length = float(np.linalg.norm(up_guess))
    if len(points) < MIN_POINTS or not len(centers) or not 0 < length < math.inf:
        return None
    rng = np.random.default_rng(SEED)
    if len(points) > MOST_POINTS:
        points = points[rng.choice(len(points), MOST_POINTS, replace=False)]
    origin = np.median(centers, axis=0)
    up = np.asarray(up_guess, np.float64) / length
    found = _search(points - origin, up, math.cos(max_tilt_rad), centers - origin, rng)
    if found is None:
        return None
    plane = _fit(points - origin, centers - origin, *found)
    if plane is None or plane.normal @ up < math.cos(max_tilt_rad):
        return None
    return replace(plane, offset=plane.offset + float(plane.normal @ origin))


def _search(
    points: NDArray[np.float64],
    up: NDArray[np.float64],
    min_cosine: float,
    centers: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float] | None:
    """Normal and offset of the best candidate; the cameras' median is the origin."""
    normals, offsets = _planes(points, up, rng)
    is_level = normals @ up >= min_cosine
    normals, offsets = normals[is_level], offsets[is_level]
    is_below = (normals @ centers.T > offsets[:, None]).all(axis=1)
    normals, offsets = normals[is_below][:CANDIDATES], offsets[is_below][:CANDIDATES]
    scores = _scores(_some(points, SCORED_POINTS, rng), normals, offsets)
    best = np.argsort(-scores, kind="stable")[:POLISHED]
    some = _some(points, POLISHED_POINTS, rng)
    best = best[scores[best] > -np.inf]
    if not len(best):
        return None
    normals, offsets, is_fitted = fit_near(
        some, normals[best], offsets[best], THICKNESS * -offsets[best]
    )
    is_candidate = is_fitted & (normals @ up >= min_cosine)
    normals, offsets = normals[is_candidate], offsets[is_candidate]
    if not len(normals):
        return None
    tilts = (1 - normals @ up) / max(1 - min_cosine, 1e-9)
    scores = _scores(some, normals, offsets) - TILT_PENALTY * tilts
    scores += LAYERS_BONUS * _sharpness(some, normals, offsets)
    winner = int(np.argmax(scores))
    rivals = scores[normals @ normals[winner] < SAME_DIRECTION]
    is_clear = scores[winner] - rivals.max(initial=-np.inf) > MARGIN
    is_found = np.isfinite(scores[winner]) and is_clear
    return (normals[winner], float(offsets[winner])) if is_found else None


def _some(
    points: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    chosen: NDArray[np.float64] = points[rng.choice(len(points), min(len(points), count), False)]
    return chosen


def _planes(
    points: NDArray[np.float64], up: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normals (n, 3), on the side of ``up``, and offsets (n,) of planes through triples of points.

    By turns the three are from anywhere, from the third of the points that is seen lowest, and at
    about the same distance from the origin, so that they are more often on one plane.
    """
    triples = rng.integers(len(points), size=(3, TRIPLES))
    distances = np.linalg.norm(points, axis=1)
    lowest = np.argsort(points @ up / np.maximum(distances, 1e-12))[: len(points) // 3]
    triples[:, 1::3] = lowest[rng.integers(len(lowest), size=triples[:, 1::3].shape)]
    order = np.argsort(distances)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    reach = max(3, len(points) // 20)
    near = rank[triples[0, 2::3]] + rng.integers(-reach, reach + 1, triples[1:, 2::3].shape)
    triples[1:, 2::3] = order[np.clip(near, 0, len(points) - 1)]
    first, second, third = points.take(triples, axis=0)
    normals = np.cross(second - first, third - first)
    lengths = np.linalg.norm(normals, axis=1)
    is_plane = lengths > 1e-12
    normals = normals[is_plane] / lengths[is_plane, None]
    normals *= np.where(normals @ up < 0, -1.0, 1.0)[:, None]
    return normals, np.einsum("ij,ij->i", normals, first[is_plane])


def _scores(
    points: NDArray[np.float64], normals: NDArray[np.float64], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points near each plane (n,), nearer ones more, less a penalty for those below; or -inf."""
    scores = np.full(len(normals), -np.inf)
    zeros = np.zeros(len(points))
    for start in range(0, len(normals), BLOCK):
        part = slice(start, start + BLOCK)
        widths = -THICKNESS * offsets[part, None]
        heights = (normals[part] / widths) @ points.T
        heights += 1 / THICKNESS  # in thicknesses
        below = (heights < -1.5).sum(axis=1, dtype=np.int32)
        near = np.subtract(1, np.square(heights, out=heights), out=heights)
        is_wide = (near > 0).sum(axis=1, dtype=np.int32) >= MIN_SHARE * len(points)
        np.maximum(near, zeros, out=near)
        found = (near.sum(axis=1) - BELOW_PENALTY * below) / len(points)
        scores[part] = np.where(is_wide, found, -np.inf)
    return scores


def _sharpness(
    points: NDArray[np.float64], normals: NDArray[np.float64], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Root of the sum of squares of the shares (n,) of points in the layers along each normal."""
    thickness = LAYER * float(np.median(-offsets))
    heights = (normals @ points.T - offsets[:, None]) / thickness
    bins = np.clip(heights + 20, 0, 99).astype(int) + 100 * np.arange(len(normals))[:, None]
    layers = np.bincount(bins.ravel(), minlength=100 * len(normals)).reshape(-1, 100)
    sharpness: NDArray[np.float64] = np.linalg.norm(layers[:, 1:-1] / len(points), axis=1)
    return sharpness


def _fit(
    points: NDArray[np.float64],
    centers: NDArray[np.float64],
    normal: NDArray[np.float64],
    offset: float,
) -> GroundPlane | None:
    """Fit the candidate to the points near it; None where they do not determine it."""
    near = np.array([THICKNESS * -offset])
    normals, offsets, is_fitted = fit_near(points, normal[None], np.array([offset]), near)
    if not is_fitted[0]:
        return None
    normal, offset = normals[0], float(offsets[0])
    heights = points @ normal - offset
    weights = tukey_weights(heights[None], np.array([THICKNESS * -offset]))[0]
    is_near = weights > 0
    if is_near.sum() < max(MIN_POINTS, MIN_FLOOR * len(points)):
        return None
    patches = _patches(points[is_near], normal, -offset)
    extent = math.sqrt(max(0.0, float(np.linalg.eigvalsh(np.cov(points[is_near].T))[1])))
    if extent < MIN_EXTENT * -offset:
        return None
    sigma_rad, sigma_offset = _jackknife(points[is_near], weights[is_near], patches, normal, offset)
    if not sigma_rad <= MAX_SIGMA:
        return None
    share = float(is_near.mean())
    sigma_rad = math.hypot(sigma_rad, NORMAL_FLOOR, AMBIGUITY / share)
    height = float(np.median(centers @ normal - offset))
    return GroundPlane(
        normal, offset, share, sigma_rad, height,
        math.hypot(sigma_offset, HEIGHT_FLOOR * height),
    )


def _patches(
    points: NDArray[np.float64], normal: NDArray[np.float64], size: float
) -> NDArray[np.int64]:
    """Which of GROUPS groups each point (M, 3) is in: squares of a size on the plane, at random."""
    axes = np.linalg.svd(normal[None])[2][1:]
    cells = np.floor(points @ axes.T / (size / 2)).astype(int)
    patches = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    groups = np.random.default_rng(SEED).permutation(patches.max() + 1) % GROUPS
    found: NDArray[np.int64] = groups[patches]
    return found


def _jackknife(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    normal: NDArray[np.float64],
    offset: float,
) -> tuple[float, float]:
    """Standard deviations of normal, about each level axis [rad], and of offset [units]."""
    numbers = np.unique(groups)
    if len(numbers) < 4:
        return math.inf, math.inf
    given = np.repeat(normal[None], len(numbers), axis=0)
    without = weights * (groups != numbers[:, None])
    normals, offsets = least_squares(moments_of(points), without, given)
    factor = (len(numbers) - 1) / len(numbers)
    tilts, shifts = ((normals - normal) ** 2).sum(), ((offsets - offset) ** 2).sum()
    return math.sqrt(factor * tilts / 2), math.sqrt(factor * shifts)
