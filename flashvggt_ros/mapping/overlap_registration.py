"""How two submaps that show the same surfaces lie to each other: surface on surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import LoopConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.consensus import MAD, median
from flashvggt_ros.mapping.depth_view import DepthView
from flashvggt_ros.mapping.graph_measurements import seen_from
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import voxel_of_each

CELL = 0.03  # edge of the cells whose points are averaged [ranges]
FARTHEST = 2.5  # beyond which no surface is taken [ranges]
STEEPEST = 0.2  # cosine of the angle at which a surface must at least be seen
LEAST_POINTS = 2  # of a cell
LEAST_ALIKE = 0.9  # length of the mean of a cell's normals
MOST_POINTS = 2500  # of one submap that are compared
LEAST_MATCHES = 200
RADII = (0.15, 0.12, 0.1, 0.08, 0.065, 0.05, 0.05, 0.05)  # of matches, step by step [ranges]
SAME_SIDE = 0.85  # cosine between the normals of matches
TUKEY = 4.685  # cut-off, in standard deviations
LEAST_SIGMA = 0.002  # of distances between surfaces [ranges]
AS_GOOD = 1.05  # times the sigma after registration: a guess that is no worse
TOGETHER = 60.0  # matches whose errors count as one
LEAST_SHARE = 0.15  # of the points of the smaller submap that must lie on the other one
BENT = 0.33  # of what a submap may bend along its life, its parts may not fit
FREE = (0.05, 0.1, 0.1)  # sigmas of rotation [rad], place [ranges] and log scale before a match
LARGEST = (0.1, 0.15, 0.1)  # how far a registration may lead away from the guess, in these units


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceCloud:
    """Points (M, 3) on surfaces of a submap, with normals to where they are seen from (M, 3).

    ``eyes`` (M, 3): from where. ``ages`` (M,): when, from 0 to 1, in the submap's life. ``range``:
    median depth [submap units], the measure of all distances here. ``tree`` finds points.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    eyes: NDArray[np.float64]
    ages: NDArray[np.float64]
    range: float
    tree: cKDTree

    @classmethod
    def of(cls, table: NDArray[np.float64], size: float) -> SurfaceCloud:
        """Take columns (M, 10) of points, normals, eyes and ages."""
        points = table[:, :3]
        return cls(points, table[:, 3:6], table[:, 6:9], table[:, 9], size, cKDTree(points))


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """S_first_second, its covariance (7, 7) as Between has it, and the share of common points."""

    S_first_second: Sim3
    covariance: NDArray[np.float64]
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A step of a registration: normal equations about the ``center`` of the matches.

    ``sigma``: of the distances of matches from each other's planes, before the step. ``eye`` (3,):
    from where these were seen; ``lag``: how much older the one submap was then, 0 to 1. ``share``:
    of the points of the smaller submap that have a match.
    """

    center: NDArray[np.float64]
    eye: NDArray[np.float64]
    lag: float
    information: NDArray[np.float64]
    step: NDArray[np.float64]
    sigma: float
    share: float


def surface_cloud(submap: Submap) -> SurfaceCloud:
    """Return the surfaces that the keyframes of a submap see, one point in each cell and side."""
    views = [
        DepthView.of(keyframe.sketch, T_submap_camera, 1.0)
        for keyframe, T_submap_camera in zip(
            submap.keyframes, submap.T_submap_camera[submap.shared :], strict=True
        )
    ]
    depths = np.concatenate([np.zeros(0), *(view.depth[view.depth > 0] for view in views)])
    if not len(depths):
        return SurfaceCloud.of(np.zeros((0, 10)), 1.0)
    median = float(np.median(depths))
    life = max(submap.frames - 1, 1)
    parts = [
        _surfaces(view, FARTHEST * median, (submap.shared + number) / life)
        for number, view in enumerate(views)
    ]
    return SurfaceCloud.of(_averaged(np.concatenate(parts), CELL * median), median)


def register(
    first: SurfaceCloud, second: SurfaceCloud, S_first_second: Sim3, config: LoopConfig
) -> Registration | None:
    """Find S_first_second, near a first guess, from surfaces that both submaps show.

    Each submap's points are matched with the nearest of the other one that face the same way, and
    moved onto their planes (Chen and Medioni, Image and Vision Computing 1992), by similarities,
    with Tukey's biweight, in radii that shrink. It is done both ways, and turns and growth act on
    the middle of each match (Rusinkiewicz, A Symmetric Objective Function for ICP, 2019): noise of
    the points of one submap alone would make that one shrink (regression dilution). The covariance
    is that of the normal equations, besides what submaps may be bent in themselves. A guess that
    fits as well is kept as it is. None where too few surfaces agree, or only far from the guess.
    """
    if min(len(first.points), len(second.points)) < LEAST_MATCHES:
        return None
    S_guess, fit = S_first_second, None
    for radius in RADII:
        fit = _fit(first, second, S_first_second, radius)
        if fit is None:
            return None
        S_first_second = _stepped(S_first_second, fit)
    given = _fit(first, second, S_guess, RADII[-1])
    assert fit is not None
    if given is not None and given.sigma <= AS_GOOD * fit.sigma:
        S_first_second, fit = S_guess, given
    if fit.share < LEAST_SHARE or not _is_near(S_guess, S_first_second, fit.center, first.range):
        return None
    covariance = _covariance(S_first_second, fit, first.range, config)
    return Registration(S_first_second, covariance, fit.share)


def _surfaces(view: DepthView, farthest: float, age: float) -> NDArray[np.float64]:
    """Columns (M, 10), as of a SurfaceCloud, of the pixels on planes, in the view's map."""
    is_plane = (view.depth > 0) & (view.depth < farthest) & view.planes[..., :2].any(axis=-1)
    points = view.camera.backproject(view.depth)[is_plane].astype(np.float64)
    planes = view.planes[is_plane].astype(np.float64)
    sizes = np.linalg.norm(planes, axis=1)
    is_seen = STEEPEST * sizes * np.linalg.norm(points, axis=1) < 1  # a . p is 1
    normals = -(planes / sizes[:, None])[is_seen] @ view.T_map_camera[:3, :3].T
    points = se3.transform_points(view.T_map_camera, points[is_seen])
    seen = np.tile([*view.T_map_camera[:3, 3], age], (len(points), 1))
    return np.hstack([points, normals, seen])


def _averaged(table: NDArray[np.float64], cell: float) -> NDArray[np.float64]:
    """Return the mean rows (M, 10) of each cell, those apart that face other ways."""
    points, normals = table[:, :3], table[:, 3:6]
    axis = np.abs(normals).argmax(axis=1)
    side = 2 * axis + (np.take_along_axis(normals, axis[:, None], axis=1)[:, 0] > 0)
    sides = 6 * voxel_of_each(points, cell) + side
    _, number, counts = np.unique(sides, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(number, c) / counts for c in table.T], axis=1)
    sizes = np.linalg.norm(means[:, 3:6], axis=1)
    means[:, 3:6] /= np.maximum(sizes, 1e-9)[:, None]
    return np.asarray(means[(counts >= LEAST_POINTS) & (sizes >= LEAST_ALIKE)])


def _fit(
    first: SurfaceCloud, second: SurfaceCloud, S_first_second: Sim3, radius: float
) -> _Fit | None:
    """Match the points of two clouds and find the step that puts them on each other's planes."""
    ones, others, normals, share = _matched(first, second, S_first_second, radius * first.range)
    if len(ones) < LEAST_MATCHES:
        return None
    points = S_first_second.transform_points(second.points[others])
    residuals = ((first.points[ones] - points) * normals).sum(axis=1)
    sigma = max(MAD * median(np.abs(residuals)), LEAST_SIGMA * first.range)
    weights = np.clip(1 - (residuals / (TUKEY * sigma)) ** 2, 0, None) ** 2
    middles = (first.points[ones] + points) / 2
    center = middles.mean(axis=0)
    arms = middles - center
    slopes = np.column_stack([np.cross(arms, normals), normals, (arms * normals).sum(axis=1)])
    pulls = slopes * (weights / (sigma**2 * TOGETHER))[:, None]
    free = np.repeat(FREE, (3, 3, 1)) * np.repeat([1, first.range, 1], (3, 3, 1))
    information = pulls.T @ slopes + np.diag(free**-2.0)
    step = np.linalg.solve(information, pulls.T @ residuals)
    eye = S_first_second.transform_points(second.eyes[others].mean(axis=0))
    lag = abs(float((first.ages[ones] - second.ages[others]).mean()))
    return _Fit(center, eye, lag, information, step, sigma, share)


def _matched(
    first: SurfaceCloud, second: SurfaceCloud, S_first_second: Sim3, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], float]:
    """Pairs, as rows of first and second, the normals (M, 3) of their planes, and the share.

    The nearest points of the first to some of the second, and of the second to some of the first.
    """
    steps = [math.ceil(len(cloud.points) / MOST_POINTS) for cloud in (first, second)]
    some = np.arange(0, len(first.points), steps[0])
    others = np.arange(0, len(second.points), steps[1])
    points = S_first_second.transform_points(second.points[others])
    _, near = first.tree.query(points, distance_upper_bound=radius)
    points = S_first_second.inverse().transform_points(first.points[some])
    _, far = second.tree.query(points, distance_upper_bound=radius / S_first_second.scale)
    others, near = others[near < len(first.points)], near[near < len(first.points)]
    some, far = some[far < len(second.points)], far[far < len(second.points)]
    ones, others = np.concatenate([near, some]), np.concatenate([others, far])
    normals = first.normals[ones], second.normals[others] @ S_first_second.rotation.T
    is_alike = (normals[0] * normals[1]).sum(axis=1) > SAME_SIDE
    is_first = np.arange(len(ones)) < len(near)
    share = [
        (is_alike & ~is_first).sum() * steps[0] / len(first.points),
        (is_alike & is_first).sum() * steps[1] / len(second.points),
    ][len(second.points) < len(first.points)]
    planes = np.where(is_first[:, None], *normals)
    return ones[is_alike], others[is_alike], planes[is_alike], min(float(share), 1.0)


def _stepped(S_first_second: Sim3, fit: _Fit) -> Sim3:
    rotation = Rotation.from_rotvec(fit.step[:3]).as_matrix()
    scale = math.exp(fit.step[6])
    shift = fit.center + fit.step[3:6] - scale * (rotation @ fit.center)
    return Sim3(scale, rotation, shift) @ S_first_second


def _is_near(S_guess: Sim3, S_found: Sim3, center: NDArray[np.float64], size: float) -> bool:
    """Whether a registration is where it was looked for, at the middle of what was matched."""
    moved = S_found @ S_guess.inverse()
    shift = np.linalg.norm(moved.transform_points(center) - center) / size
    turn = float(se3.rotation_angle(moved.rotation))
    moves = np.array([turn, shift, abs(math.log(moved.scale))])
    return bool((moves <= LARGEST).all())


def _covariance(
    S_first_second: Sim3, fit: _Fit, size: float, config: LoopConfig
) -> NDArray[np.float64]:
    """Covariance (7, 7) in the order of Between, from that of a step about the matches' center.

    Submaps grow along their lives: what one of them saw when it was older than the other one lies
    grown about where it was seen from, and the tie is that much looser in this direction.
    """
    bent = BENT * np.repeat([config.rotation_drift, config.scale_drift], (3, 4))
    bent[3:6] *= size
    growth = fit.lag * config.scale_drift * seen_from(fit.center - fit.eye)[:, 6]
    at_center = np.linalg.inv(fit.information) + np.diag(bent**2) + np.outer(growth, growth)
    at_origin = seen_from(S_first_second.translation - fit.center)
    covariance: NDArray[np.float64] = at_origin @ at_center @ at_origin.T
    return covariance
