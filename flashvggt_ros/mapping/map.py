"""The map: submaps, where each of them lies, and what they show together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.frame import Chunk, ChunkPrediction, Frame, FrameStamp, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.submap import Submap, select_points
from flashvggt_ros.mapping.submap_alignment import align_submaps
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

logger = logging.getLogger(__name__)

# REP-103: the map's x is the first camera's z (forward), its z the camera's -y (up).
R_MAP_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses ``T_map_camera`` (K, 4, 4) of ``frames`` (K), in order of arrival."""

    frames: tuple[FrameStamp, ...]
    T_map_camera: NDArray[np.float64]


class Map:
    """A chain of submaps; the last one is live and grows, the others are closed.

    The map frame is that of REP-103 with its origin at the first camera, which is taken as level.
    Of a closed submap only poses and one voxelized cloud are kept, so that memory grows with the
    space seen and the keyframes placed, not with images. ``version`` changes with the map.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        first = Sim3(config.scale.fixed, R_MAP_CAMERA, np.zeros(3))
        self._closed: list[Submap] = []
        self._closed_cloud = WeightedCloud.concatenate(())
        self._fused = 0
        self._cloud = (self._closed_cloud.points, self._closed_cloud.colors)
        self._cloud_version = 0
        self.live = Submap(0, config.chunk.overlap, (), first)
        self.version = 0

    @property
    def scale(self) -> float:
        """Meters per unit of the live submap."""
        return self.live.S_map_submap.scale

    @property
    def frames(self) -> int:
        """How many keyframes have a pose."""
        return sum(submap.frames - submap.shared for submap in (*self._closed, self.live))

    def integrate(self, chunk: Chunk, prediction: ChunkPrediction) -> MapUpdate:
        """Add a chunk and what the model says of it to the live submap.

        Raises ValueError when the prediction is not about this chunk; the map is then unchanged.
        """
        live = self.live
        is_first = live.frames == 0
        live.extend(chunk.frames, prediction)
        self._place(is_first)
        new = range(live.shared if is_first else 0, len(chunk.frames))
        clouds = [self._voxels_camera(prediction, number) for number in new]
        live.add_points(clouds)
        self.version += 1
        T_map_camera = live.T_map_camera[live.frames - len(new) :]
        cloud = WeightedCloud.concatenate(
            [
                cloud.transformed(Sim3.from_pose(T, self.scale))
                for cloud, T in zip(clouds, T_map_camera, strict=True)
            ]
        )
        return MapUpdate(
            new=live.stamps[live.frames - len(new) :],
            T_map_camera=T_map_camera,
            points_map=cloud.points,
            colors=cloud.colors,
            submap=live.index,
            is_joined=live.is_joined,
        )

    def open_submap(self) -> tuple[Frame, ...]:
        """Close the live submap and begin another; return the keyframes it is to begin with.

        They are the last ``chunk.overlap`` of the closed submap. A live submap that is still empty
        (its first prediction failed) is begun anew with the same keyframes.
        """
        live = self.live
        if live.frames > live.shared:
            before = live.last_views()
            live.close(self._config.map.voxel_size / self.scale)
            self._closed.append(live)
            self.version += 1
        else:
            before = live.before
        overlap = self._config.chunk.overlap
        self.live = Submap(len(self._closed), overlap, before, live.S_map_submap)
        return tuple(view.frame for view in before)

    def trajectory(self) -> Trajectory:
        """Return the poses of all keyframes so far; they supersede those returned earlier."""
        submaps = (*self._closed, self.live)
        stamps = [stamp for submap in submaps for stamp in submap.stamps[submap.shared :]]
        poses = np.concatenate([submap.T_map_camera[submap.shared :] for submap in submaps])
        return Trajectory(tuple(stamps), poses)

    def cloud(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the whole map: points (M, 3) float32 [m] and colors (M, 3) uint8 RGB.

        One point per voxel of ``map.voxel_size``; at most ``map.max_points``, evenly thinned.
        """
        if self._cloud_version != self.version:
            self._cloud = self._fuse()
            self._cloud_version = self.version
        return self._cloud

    def _place(self, is_first: bool) -> None:
        """Put the live submap where its shared keyframes say; again as its poses improve."""
        live = self.live
        if not self._closed:
            S_map_first = Sim3(self._config.scale.fixed, R_MAP_CAMERA, np.zeros(3))
            T_first_submap = se3.inverse(live.T_submap_camera[0])
            live.S_map_submap = S_map_first @ Sim3.from_pose(T_first_submap, 1.0)
            return
        before = self._closed[-1]
        inliers = 0.0
        if live.shared:
            alignment = align_submaps(live.before, live.shared_views())
            inliers = alignment.inliers
        live.is_joined = live.shared > 0 and inliers >= self._config.submap.min_inliers
        if live.is_joined:
            live.S_map_submap = before.S_map_submap @ alignment.S_old_new
        else:
            live.S_map_submap = self._continued(before)
        if is_first:
            self._report(inliers)

    def _continued(self, before: Submap) -> Sim3:
        """Where the live submap lies if it goes on at the last known pose, in the same scale."""
        T_submap_camera = self.live.T_submap_camera[max(0, self.live.shared - 1)]
        T_camera_submap = Sim3.from_pose(se3.inverse(T_submap_camera), 1.0)
        return Sim3.from_pose(before.T_map_camera[-1], before.S_map_submap.scale) @ T_camera_submap

    def _report(self, inliers: float) -> None:
        live, least = self.live, self._config.submap.min_inliers
        if live.is_joined:
            logger.info(
                "submap %d joined: %.0f %% of shared pixels agree, %.4g m per unit",
                live.index,
                100 * inliers,
                self.scale,
            )
        else:
            logger.warning(
                "submap %d not joined: %.0f %% of the pixels of %d shared keyframes agree, "
                "%.0f %% needed; poses continue from the last one, the map is torn here",
                live.index,
                100 * inliers,
                live.shared,
                100 * least,
            )

    def _voxels_camera(self, prediction: ChunkPrediction, number: int) -> WeightedCloud:
        """One keyframe's points in its camera frame, thinned to voxels [submap units]."""
        points_camera = select_points(
            prediction.depth[number],
            prediction.confidence[number],
            prediction.colors[number],
            prediction.cameras[number],
            self._config.map,
        )
        return fuse_voxels(points_camera, self._config.map.voxel_size / self.scale)

    def _fuse(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        voxel_size = self._config.map.voxel_size
        for submap in self._closed[self._fused :]:
            cloud = submap.cloud(voxel_size / submap.S_map_submap.scale)
            both = [self._closed_cloud, cloud.transformed(submap.S_map_submap)]
            self._closed_cloud = fuse_voxels(WeightedCloud.concatenate(both), voxel_size)
        self._fused = len(self._closed)
        live = self.live.cloud(voxel_size / self.scale).transformed(self.live.S_map_submap)
        whole = fuse_voxels(WeightedCloud.concatenate([self._closed_cloud, live]), voxel_size)
        most = self._config.map.max_points
        if len(whole) > most:
            evenly = np.arange(most) * len(whole) // most
            return whole.points[evenly], whole.colors[evenly]
        return whole.points, whole.colors
