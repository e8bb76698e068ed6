"""Free space: points that later views look through were on something that has gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.depth_view import DepthView, evenly, views_of
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud

LEAST_VIEWS = 2  # that must look through a point
BEYOND = 0.1  # how much deeper than a point they must see, relative to depth, ...
BEYOND_VOXELS = 2  # ... and besides that
VIEWS = 8  # of one submap that are asked, evenly chosen
NEAREST = 0.05  # depth from which on a camera sees points [m]
BLOCK = 65_536  # points that are looked at together, to stay in the processor's cache
STALE = 1.0  # of a voxel: submaps that moved by more against each other are compared anew


def carve(
    points_map: NDArray[np.float32], views: Sequence[DepthView], voxel_size: float
) -> NDArray[np.bool_]:
    """Return which of points (M, 3) in the map stay; ``views`` in the order of time.

    A point goes if at least LEAST_VIEWS views see more than 10 % and two voxels beyond it, in its
    pixel and the eight around it, and none after the first of these sees a surface within this
    distance of it. Takes about 15 ns for each point and view on one core.
    """
    through = np.zeros(len(points_map), np.uint8)
    rows = np.ascontiguousarray(points_map.T)  # x, y and z in a row each are faster to go through
    for view in views:
        P_image_map = _projection(view)
        nearest = _nearest_around(view.depth)
        for start in range(0, len(points_map), BLOCK):
            part = slice(start, start + BLOCK)
            points_image = P_image_map[:, :3] @ rows[:, part]
            points_image += P_image_map[:, 3:]
            seen, is_through, is_surface = _compare(points_image, view, nearest, voxel_size)
            counts = through[part][seen] + is_through
            counts[is_surface] = 0
            through[part][seen] = counts
    return through < LEAST_VIEWS


def carve_clouds(submap: Submap, voxel_size: float) -> list[WeightedCloud]:
    """Return the camera clouds of a live submap without what its own later views look through.

    ``voxel_size`` [m]. Geometry inside a submap is final, so the points go for good.
    """
    clouds = list(submap.clouds_camera)
    count, own = len(clouds), slice(submap.shared, None)
    poses, scales = submap.T_map_camera[own], submap.scales[own]
    numbered = list(zip(evenly(count, VIEWS), views_of(submap, VIEWS), strict=True))
    for number, cloud in enumerate(clouds):
        later = [view for asked, view in numbered if asked > number]
        if len(later) >= LEAST_VIEWS:
            S_map_camera = Sim3.from_pose(poses[number], scales[number])
            is_kept = carve(S_map_camera.transform_points(cloud.points), later, voxel_size)
            clouds[number] = chosen_points(cloud, is_kept)
    return clouds


def chosen_points(cloud: WeightedCloud, is_chosen: NDArray[np.bool_]) -> WeightedCloud:
    """Return the part of a cloud that a mask (M,) chooses."""
    if is_chosen.all():
        return cloud
    chosen = np.flatnonzero(is_chosen)
    return WeightedCloud(
        cloud.points.take(chosen, axis=0), cloud.colors.take(chosen, axis=0),
        cloud.weights.take(chosen),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Carved:
    """Which points (M,) of a submap stay, and how it lay to each that was asked (by number).

    ``asked``: places (N, 3) of both in meters, from where the other one is.
    """

    is_kept: NDArray[np.bool_]
    asked: dict[int, NDArray[np.float64]]


class FreeSpace:
    """Remembers for each closed submap which of its points later submaps look through.

    Nothing is lost: where a correction moves submaps against each other they are compared anew. A
    comparison takes the points of one submap and VIEWS views of a later one that is near. When a
    submap closes in a map of 500,000 points, all of them near, that is 0.1 s.
    """

    def __init__(self, voxel_size: float) -> None:
        self._voxel_size = voxel_size
        self._carved: dict[int, _Carved] = {}

    def kept(self, closed: Sequence[Submap]) -> dict[int, NDArray[np.bool_]]:
        """Return a mask (M,) over the points of each closed submap, by its number."""
        kept = [submap for submap in closed if submap.keyframes]
        views: dict[int, list[DepthView]] = {}
        self._carved = {
            submap.index: self._updated(submap, kept[number + 1 :], views)
            for number, submap in enumerate(kept)
        }
        return {index: carved.is_kept for index, carved in self._carved.items()}

    def _updated(
        self, submap: Submap, later: Sequence[Submap], views: dict[int, list[DepthView]]
    ) -> _Carved:
        """Ask the later submaps that were not asked yet; all of them where one has moved.

        ``views`` of submaps are added as they are needed.
        """
        count = len(submap.cloud(self._voxel_size / submap.S_map_submap.scale)[0])
        carved = self._carved.get(submap.index, _nothing_carved(count))
        corners = submap.corners()
        relative = {other.index: _relative(corners, other) for other in later}
        if any(
            np.abs(then - relative[index]).max(initial=0) > STALE * self._voxel_size
            for index, then in carved.asked.items() if index in relative
        ):
            carved = _nothing_carved(count)
        is_kept = carved.is_kept
        asked = {index: then for index, then in carved.asked.items() if index in relative}
        near = [_near(other, corners, views) for other in later if other.index not in asked]
        near = [each for each in near if len(each) >= LEAST_VIEWS]
        if near:
            points_map = submap.cloud_map(self._voxel_size).points
            carved_by = [carve(points_map, each, self._voxel_size) for each in near]
            is_kept = np.logical_and.reduce([is_kept, *carved_by])
        return _Carved(is_kept, relative | asked)


def _near(
    other: Submap, corners: NDArray[np.float64], views: dict[int, list[DepthView]]
) -> list[DepthView]:
    """Views of a submap that reach the box with ``corners``; added to ``views`` if not there."""
    if other.index not in views:
        views[other.index] = views_of(other, VIEWS)
    return [view for view in views[other.index] if _reaches(view, corners)]


def _nothing_carved(count: int) -> _Carved:
    return _Carved(np.ones(count, bool), {})


def _relative(corners: NDArray[np.float64], other: Submap) -> NDArray[np.float64]:
    """Corners (N, 3) in the map and those of another submap, from where that one is [m]."""
    places = other.S_map_submap.inverse().transform_points(
        np.concatenate([corners, other.corners()])
    )
    return np.asarray(other.S_map_submap.scale * places)


def _reaches(view: DepthView, corners: NDArray[np.float64]) -> bool:
    """Whether a view may see as far as the box around a submap's points, which has ``corners``."""
    if not len(corners):
        return False
    center = view.T_map_camera[:3, 3]
    outside = np.maximum(corners.min(axis=0) - center, center - corners.max(axis=0))
    distance = np.linalg.norm(np.maximum(outside, 0))
    corner = view.camera.backproject(np.ones_like(view.depth))[0, 0]
    return bool(distance <= np.linalg.norm(corner) * view.depth.max(initial=0))


def _projection(view: DepthView) -> NDArray[np.float32]:
    """P_image_map (3, 4), from points in the map to u z, v z and z in a view's image."""
    projection: NDArray[np.float64] = view.camera.matrix @ se3.inverse(view.T_map_camera)[:3]
    return projection.astype(np.float32)


def _nearest_around(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Least known depth (h, w) of a pixel and the eight around it; 0 where the pixel has none."""
    known = np.where(depth > 0, depth, np.float32(np.inf))
    nearest = np.asarray(cv2.erode(known, np.ones((3, 3), np.uint8)))
    return np.where(depth > 0, nearest, np.float32(0))


def _compare(
    points_image: NDArray[np.float32], view: DepthView, nearest: NDArray[np.float32],
    voxel_size: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Numbers of the points in view (K,); whether it looks through each, or sees it.

    ``points_image`` (3, M): u z, v z and z of all; the first two are overwritten.
    """
    width, height = view.camera.width, view.camera.height
    u, v, z = points_image
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # of points not in front
        np.rint(np.divide(u, z, out=u), out=u)
        np.rint(np.divide(v, z, out=v), out=v)
    is_in = (z > NEAREST) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    seen = np.flatnonzero(is_in)
    z = z[seen]
    pixels = (v[seen] * width + u[seen]).astype(np.int64)
    slack = BEYOND * z + BEYOND_VOXELS * voxel_size
    deeper, nearly = view.depth.ravel()[pixels] - z, nearest.ravel()[pixels] - z
    is_surface = np.minimum(np.abs(deeper), np.abs(nearly)) <= slack
    return seen, nearly > slack, is_surface
