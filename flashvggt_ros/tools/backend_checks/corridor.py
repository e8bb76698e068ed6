"""A loop of 60 m: closed, and everything that is drawn of it moves together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import (
    SMALL,
    drift_of,
    offsets_from_start,
    settings,
)
from flashvggt_ros.worlds import PINHOLE, TruthCache, TruthPredictor, World, corridor_world

NOISE: dict[str, Any] = {"depth_noise": 0.01, "smooth_noise": 0.005}
START, END = 16, 8  # keyframes that say where the walk begins, and where it ends
DRAWN = 10  # chunks after which cloud and grid are drawn
MOST = 0.95  # share of points and cells that must agree
LIKELY = 50  # from which on a cell is occupied [percent]
FINER = 4  # times as many points between the pixels of a sketch, per direction
SURFACE = 1.3  # ratio of neighboring depths up to which they are one surface
FLOOR = 0.02  # share of all points that lie on the floor, at least


def check_corridor(is_quick: bool) -> Iterator[Finding]:
    """Go round a corridor and 5 m further, with 2 % and 0.5 degree of drift in each submap."""
    length = 24.0 if is_quick else 60.0
    world = corridor_world(length, pinhole=SMALL if is_quick else PINHOLE)
    gaps = []
    for is_closing in (False, True):
        slam, last = _run(world, is_closing)
        offsets = offsets_from_start(slam.map.trajectory(), world, START, END)
        gaps.append(float(offsets.mean()))
    name = f"corridor of {length:.0f} m"
    yield Finding(f"{name}: end-point gap of {gaps[0]:.2f} m cut by loop closure to "
                  f"{gaps[1]:.2f} m", 100 * (1 - gaps[1] / gaps[0]), 90.0, "%", is_at_most=False)
    yield Finding(f"{name}: cloud against path", 100 * cloud_offset(slam), 1.0, "cm")
    yield Finding(f"{name}: grid against path", 100 * grid_offset(slam), 1.0, "cm")
    yield Finding(f"{name}: TF against path", 100 * pose_offset(slam, last), 1.0, "cm")


def cloud_offset(slam: Slam[TruthCache]) -> float:
    """How far [m] most points of the cloud are from where the submaps' points lie by their poses.

    What is drawn once and moved later, or left behind, shows. The 95th percentile.
    """
    voxel_size = slam.config.map.voxel_size
    clouds = [submap.cloud_map(voxel_size) for submap in slam.map.submaps]
    fused = fuse_voxels(WeightedCloud.concatenate(clouds), voxel_size)
    distance, _ = cKDTree(fused.points).query(slam.map.cloud()[0])
    return float(np.quantile(distance, MOST))


def grid_offset(slam: Slam[TruthCache]) -> float:
    """How far [m] most occupied cells are from what the path's poses and depth put there.

    From the edge of the cell to the nearest point at the height of obstacles; the 95th percentile,
    infinite where there is no grid or nothing in it.
    """
    grid, config = slam.map.grid(), slam.config.grid
    if grid is None or not (grid.cells >= LIKELY).any():
        return math.inf
    points = np.concatenate([path_points(submap) for submap in slam.map.submaps])
    heights = points[:, 2] - np.quantile(points[:, 2], FLOOR)
    tall = points[(heights > 0.5 * config.min_height) & (heights < 1.1 * config.max_height)]
    cells = np.argwhere(grid.cells >= LIKELY)[:, ::-1]
    centers = grid.origin_xy + grid.resolution * (cells + 0.5)
    distance, _ = cKDTree(tall[:, :2]).query(centers, p=math.inf)
    return float(np.quantile(np.maximum(distance - grid.resolution / 2, 0), MOST))


def pose_offset(slam: Slam[TruthCache], update: MapUpdate) -> float:
    """How far [m] the poses that TF was last made of are from those in the path."""
    trajectory = slam.map.trajectory()
    number = {stamp: number for number, stamp in enumerate(trajectory.frames)}
    poses = trajectory.T_map_camera[[number[stamp] for stamp in update.new]]
    return float(np.linalg.norm((poses - update.T_map_camera)[:, :3, 3], axis=1).max())


def path_points(submap: Submap) -> NDArray[np.float64]:
    """Points (M, 3) in the map where the poses of a submap's keyframes put their depth.

    Between the pixels of a sketch, which lie far apart on a distant wall, planes are filled in.
    """
    clouds = [np.zeros((0, 3))]
    own = slice(submap.shared, None)
    placed = zip(submap.keyframes, submap.T_map_camera[own], submap.scales[own], strict=False)
    for keyframe, T_map_camera, scale in placed:
        seen = keyframe.sketch.depth.astype(np.float32), keyframe.sketch.camera
        for depth, camera in (seen, _filled(*seen)):
            units = depth * np.float32(scale)
            points_camera = camera.backproject(units)[depth > 0].astype(np.float64)
            clouds.append(se3.transform_points(T_map_camera, points_camera))
    return np.concatenate(clouds)


def _filled(
    depth: NDArray[np.float32], camera: Pinhole
) -> tuple[NDArray[np.float32], Pinhole]:
    """FINER times as many rows and columns of depth; the inverse of depth is linear on planes."""
    inverse = 1 / np.where(depth > 0, depth, np.float32(np.inf))
    height, width = FINER * depth.shape[0], FINER * depth.shape[1]
    fine = np.asarray(cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR))
    kernel = np.ones((2 * FINER + 1, 2 * FINER + 1), np.uint8)
    whole = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_NEAREST)
    is_plane = np.asarray(cv2.dilate(whole, kernel)) < SURFACE * np.asarray(
        cv2.erode(whole, kernel)
    )
    shift = (FINER - 1) / 2
    pinhole = Pinhole(
        FINER * camera.fx, FINER * camera.fy, FINER * camera.cx + shift, FINER * camera.cy + shift,
        width, height,
    )
    return np.where(is_plane, 1 / np.maximum(fine, 1e-6), 0).astype(np.float32), pinhole


def _run(world: World, is_closing: bool) -> tuple[Slam[TruthCache], MapUpdate]:
    config = settings(
        {"loop.enabled": is_closing, "publish_unscaled": True, "map.voxel_size": 0.02}
    )
    predictor = TruthPredictor(world, drift=drift_of(config), noise_spread=0.5, **NOISE)
    slam: Slam[TruthCache] = Slam(config, predictor)
    last: MapUpdate | None = None
    updates = 0
    for frame in world.frames:
        update = slam.add_frame(frame)
        if update is not None:
            last, updates = update, updates + 1
            if updates % DRAWN == 0:  # as in the node: what is drawn must follow corrections
                slam.map.cloud()
                slam.map.grid()
    last = slam.flush() or last
    assert last is not None
    return slam, last
