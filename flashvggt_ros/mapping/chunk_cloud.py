"""The cloud of one chunk: of each of its keyframes, and of all together in the map."""

from __future__ import annotations

from collections.abc import Sequence

from flashvggt_ros.config import MapConfig
from flashvggt_ros.frame import ChunkPrediction, MapUpdate
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import Submap, select_points
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels


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
    T_map_camera, scale = live.T_map_camera[first:], live.S_map_submap.scale
    cloud = WeightedCloud.concatenate(
        [
            cloud.transformed(Sim3.from_pose(T, scale))
            for cloud, T in zip(clouds_camera, T_map_camera, strict=True)
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
