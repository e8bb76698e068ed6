"""The cloud of one chunk: of each of its keyframes, and of all together in the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import MapConfig
from flashvggt_ros.frame import ChunkPrediction, MapUpdate
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.consensus import median, quantile
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

DEPTH_EDGE = 0.1  # depth range among neighbors, relative to depth, beyond which none is trusted


def voxels_camera(
    prediction: ChunkPrediction, number: int, config: MapConfig, scale: float
) -> WeightedCloud:
    """Return a keyframe's points in its camera frame, thinned to voxels [submap units].

    ``scale``: meters per unit.
    """
    points_camera = select_points(
        prediction.depth[number],
        prediction.confidence[number],
        prediction.colors[number],
        prediction.cameras[number],
        config,
    )
    return fuse_voxels(points_camera, config.voxel_size / scale)


def chunk_update(live: Submap, clouds_camera: Sequence[WeightedCloud], number: int) -> MapUpdate:
    """Return what the newest keyframes of a submap changed, of which each has a cloud.

    ``number``: what the submap is called.
    """
    first = live.frames - len(clouds_camera)
    T_map_camera, scales = live.T_map_camera[first:], live.scales[first:]
    cloud = WeightedCloud.concatenate(
        [
            cloud.transformed(Sim3.from_pose(T, scale))
            for cloud, T, scale in zip(clouds_camera, T_map_camera, scales, strict=True)
        ]
    )
    return MapUpdate(
        new=live.stamps[first:],
        T_map_camera=T_map_camera,
        points_map=cloud.points,
        colors=cloud.colors,
        submap=number,
        is_joined=live.is_joined,
    )


def select_points(
    depth: NDArray[np.float32],
    confidence: NDArray[np.float32],
    colors: NDArray[np.uint8],
    camera: Pinhole,
    config: MapConfig,
) -> WeightedCloud:
    """Return the trustworthy points of a depth image (H, W) in the camera frame, its own units.

    Left out are pixels without depth, the least confident ``map.min_confidence`` of the others,
    those beyond ``map.max_depth`` medians, and depth edges, where networks draw points into the
    empty space between the near and the far surface. The confidence becomes the weight.
    """
    is_valid = depth > 0
    if not is_valid.any():
        return WeightedCloud.concatenate(())
    valid = np.flatnonzero(is_valid)
    weakest = quantile(confidence.ravel().take(valid), config.min_confidence)
    farthest = config.max_depth * median(depth.ravel().take(valid))
    is_kept = is_valid & (confidence >= weakest) & (depth <= farthest) & ~_depth_edges(depth)
    pixels = np.flatnonzero(is_kept)
    return WeightedCloud(
        camera.backproject(depth).reshape(-1, 3).take(pixels, axis=0),
        colors.reshape(-1, 3).take(pixels, axis=0),
        confidence.ravel().take(pixels),
    )


def _depth_edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the depths of a pixel and its eight neighbors differ too much to be one surface."""
    kernel = np.ones((3, 3), np.uint8)
    farthest: Any = cv2.dilate(depth, kernel)
    nearest: Any = cv2.erode(np.where(depth > 0, depth, np.float32(np.inf)), kernel)
    is_edge: NDArray[np.bool_] = farthest - nearest > DEPTH_EDGE * depth
    return is_edge
