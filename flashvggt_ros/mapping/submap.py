"""A submap: what the model says within the lifetime of one descriptor cache."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, Frame, FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_with
from flashvggt_ros.robot import RobotState


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one submap says of one keyframe: depth and confidence (H, W), camera and pose (4, 4)."""

    frame: Frame
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    camera: Pinhole
    T_submap_camera: NDArray[np.float64]


class Submap:
    """Keyframes with one frame and one scale in common, their poses and their points.

    The submap frame is that of its first camera: predictions in another one are moved there.
    It begins with the last keyframes of the submap before it (``before``: as that one saw them),
    as far as its first chunk repeats them: those are ``shared``, and their poses and points belong
    to the submap before. Images and depth are kept of the shared and of the last ``overlap``
    keyframes only; of the others a cloud in the camera frame, thinned to voxels, because the poses
    may still change; and after ``close`` one cloud for all in the submap frame. ``keyframes`` are
    those that are not shared, ``states`` what the robot knew at each, the shared ones included.

    ``S_map_submap`` is where the submap lies in the map, and ``bend`` how it is bent there: what
    its geometry drifted. ``is_joined``: whether its place was measured.
    """

    def __init__(
        self, index: int, overlap: int, before: tuple[View, ...], S_map_submap: Sim3
    ) -> None:
        self.index = index
        self.before = before
        self.shared = 0
        self.S_map_submap = S_map_submap
        self.bend = Bend.none()
        self.is_joined = True
        self.stamps: tuple[FrameStamp, ...] = ()
        self.T_submap_camera = np.zeros((0, 4, 4))
        self.keyframes: tuple[Keyframe, ...] = ()
        self.states: tuple[RobotState, ...] = ()
        self._overlap = overlap
        self._views: dict[int, View] = {}
        self._clouds_camera: list[WeightedCloud] = []
        self._cloud_submap = WeightedCloud.concatenate(())
        self._seen_by = np.zeros(0, np.uint16)  # number of the keyframe that sees a point
        self._boxed: WeightedCloud | None = None  # the cloud that has these corners
        self._corners = np.zeros((0, 3))

    @classmethod
    def closed(
        cls, index: int, S_map_submap: Sim3, *, bend: Bend, is_joined: bool, shared: int,
        stamps: tuple[FrameStamp, ...], T_submap_camera: NDArray[np.float64],
        keyframes: tuple[Keyframe, ...], cloud_submap: WeightedCloud, seen_by: NDArray[np.uint16],
    ) -> Submap:
        """Return a submap as it is after ``close``; without keyframes it is condensed.

        ``seen_by`` (M,): numbers of the keyframes that see the points of its cloud. Raises
        ValueError where the numbers of stamps, poses, keyframes and points contradict each other.
        """
        own = len(stamps) - shared
        if not 0 <= shared < len(stamps) or T_submap_camera.shape != (len(stamps), 4, 4):
            raise ValueError(
                f"submap {index} has {len(stamps)} stamps, {shared} of them shared, but "
                f"{len(T_submap_camera)} poses"
            )
        if len(keyframes) not in (0, own):
            raise ValueError(f"submap {index} has {len(keyframes)} of {own} keyframes")
        if len(seen_by) != len(cloud_submap) or seen_by.max(initial=0) >= len(stamps):
            raise ValueError(f"submap {index} has points that none of its keyframes sees")
        submap = cls(index, 0, (), S_map_submap)
        submap.bend, submap.is_joined, submap.shared = bend, is_joined, shared
        submap.stamps, submap.T_submap_camera = stamps, T_submap_camera
        submap.keyframes, submap._cloud_submap = keyframes, cloud_submap
        submap._seen_by = seen_by
        return submap

    def copy(self) -> Submap:
        """Return a copy that what happens to this one later does not change."""
        submap = copy.copy(self)
        submap._views, submap._clouds_camera = dict(self._views), list(self._clouds_camera)
        return submap

    def as_closed(self, voxel_size: float) -> Submap:
        """Return a closed copy; see ``close``. This one grows on."""
        cloud_submap, seen_by = self.cloud(voxel_size)
        return Submap.closed(
            self.index, self.S_map_submap, bend=self.bend, is_joined=self.is_joined,
            shared=self.shared, stamps=self.stamps, T_submap_camera=self.T_submap_camera,
            keyframes=self.keyframes, cloud_submap=cloud_submap, seen_by=seen_by,
        )

    @property
    def frames(self) -> int:
        """How many keyframes it has, the shared ones included."""
        return len(self.stamps)

    @property
    def T_map_camera(self) -> NDArray[np.float64]:
        """Poses (K, 4, 4) of its keyframes, the shared ones included, in the map."""
        return self.S_map_submap.transform_pose(self.bend.poses(self.T_submap_camera, self._share))

    @property
    def scales(self) -> NDArray[np.float64]:
        """Meters per unit at each of its keyframes (K,), the shared ones included."""
        return self.S_map_submap.scale * self.bend.scales(self._share)

    def extend(
        self, frames: Sequence[Frame], prediction: ChunkPrediction, states: Sequence[RobotState]
    ) -> None:
        """Add the keyframes of a chunk and take over the poses of all keyframes so far.

        Raises ValueError when the prediction is not about these keyframes.
        """
        known, poses = self.frames + len(frames), prediction.T_submap_camera
        if len(poses) != known or len(prediction.depth) != len(frames):
            raise ValueError(
                f"submap {self.index} has {known} keyframes, {len(frames)} of them new, but the "
                f"prediction has {len(poses)} poses and {len(prediction.depth)} depth images"
            )
        if self.frames == 0:
            self.shared = _repeated(self.before, frames)
        first = self.frames
        self.stamps += tuple(FrameStamp(frame.stamp_ns, frame.camera) for frame in frames)
        self.T_submap_camera = poses = se3.inverse(poses[0]) @ poses
        self.states += tuple(replace(state, depth=None) for state in states)
        for number, frame in enumerate(frames, start=first):
            if self._is_kept(number):
                self._views[number] = _view(frame, prediction, number - first, poses[number])
        self._views = {n: view for n, view in self._views.items() if self._is_kept(n)}

    def add_keyframes(self, keyframes: Sequence[Keyframe]) -> None:
        """Add the newest keyframes, those that are not shared."""
        self.keyframes += tuple(keyframes)

    def add_points(self, clouds_camera: Sequence[WeightedCloud]) -> None:
        """Add the cloud of each of the newest keyframes, in its camera's frame, submap units."""
        self._clouds_camera.extend(clouds_camera)

    @property
    def clouds_camera(self) -> tuple[WeightedCloud, ...]:
        """The cloud of each of ``keyframes`` in its camera's frame; none once it is closed."""
        return tuple(self._clouds_camera)

    def keep_points(self, clouds_camera: Sequence[WeightedCloud]) -> None:
        """Replace the clouds of all keyframes by what of them is to stay."""
        self._clouds_camera = list(clouds_camera)

    def shared_views(self) -> tuple[View, ...]:
        """Return the keyframes shared with the submap before, as this one sees them now."""
        return tuple(self._view(number) for number in range(self.shared))

    def last_views(self) -> tuple[View, ...]:
        """Return the last ``overlap`` keyframes: those that the next submap begins with."""
        first = max(0, self.frames - self._overlap)
        return tuple(self._view(number) for number in range(first, self.frames))

    def cloud(self, voxel_size: float) -> tuple[WeightedCloud, NDArray[np.uint16]]:
        """Return all its points in the submap frame, fused in voxels [submap units].

        And the number of the keyframe that sees each, the middle one where several do.
        """
        if not self._clouds_camera:
            return self._cloud_submap, self._seen_by
        poses = self.T_submap_camera[self.shared :]
        clouds = [
            replace(cloud, points=se3.transform_points(T_submap_camera, cloud.points))
            for cloud, T_submap_camera in zip(self._clouds_camera, poses, strict=True)
        ]
        number = np.arange(self.shared, self.frames, dtype=np.float64)
        seen_by = np.repeat(number, [len(cloud) for cloud in clouds])
        fused, middle = fuse_with(WeightedCloud.concatenate(clouds), seen_by, voxel_size)
        return fused, np.rint(middle).astype(np.uint16)

    def cloud_map(self, voxel_size: float) -> WeightedCloud:
        """Return the same points as they lie in the map [m]; ``voxel_size`` [m]."""
        cloud, seen_by = self.cloud(voxel_size / self.S_map_submap.scale)
        bent = self.bend.points(cloud.points, self._share, seen_by)
        return replace(cloud, points=self.S_map_submap.transform_points(bent))

    def corners(self) -> NDArray[np.float64]:
        """Return the corners of the box around its points in the map, as it is bent, (24, 3).

        Those of the box as its first, its middle and its last keyframe have it; or (0, 3).
        """
        if self._boxed is not self._cloud_submap:
            self._boxed, self._corners = self._cloud_submap, _corners(self._cloud_submap)
        ends = (self.bend.S_middle_first, Sim3.identity(), self.bend.S_middle_last)
        bent = np.concatenate([S.transform_points(self._corners) for S in ends])
        corners: NDArray[np.float64] = self.S_map_submap.transform_points(bent)
        return corners

    def close(self, voxel_size: float) -> None:
        """Fuse the points for good; images, depth and single clouds are dropped."""
        self._cloud_submap, self._seen_by = self.cloud(voxel_size)
        self._clouds_camera = []
        self._views = {}
        self.before = ()
        self.states = ()

    def condense(self) -> None:
        """Forget all but the poses: newer submaps show the same, seen from the same places."""
        self.keyframes = ()
        self._cloud_submap = WeightedCloud.concatenate(())
        self._seen_by = np.zeros(0, np.uint16)

    @property
    def is_condensed(self) -> bool:
        """Whether only its poses are left."""
        return self.frames > self.shared and not self.keyframes

    @property
    def _share(self) -> NDArray[np.float64]:
        """How far through its life each keyframe (K,) is, 0 to 1."""
        return np.arange(self.frames) / max(self.frames - 1, 1)

    def _is_kept(self, number: int) -> bool:
        return number < self.shared or number >= self.frames - self._overlap

    def _view(self, number: int) -> View:
        return replace(self._views[number], T_submap_camera=self.T_submap_camera[number])


def _view(
    frame: Frame, prediction: ChunkPrediction, number: int, T_submap_camera: NDArray[np.float64]
) -> View:
    """What a prediction says of one of its keyframes; a copy, to let go of the others."""
    return View(
        frame,
        prediction.depth[number].copy(),
        prediction.confidence[number].copy(),
        prediction.cameras[number],
        T_submap_camera,
    )


def _repeated(before: Sequence[View], frames: Sequence[Frame]) -> int:
    """How many of the first ``frames`` are those of ``before``: all of them, or none."""
    is_same = len(frames) >= len(before) and all(
        view.frame is frame for view, frame in zip(before, frames, strict=False)
    )
    return len(before) if is_same else 0


def _corners(cloud: WeightedCloud) -> NDArray[np.float64]:
    points = cloud.points.astype(np.float64)
    if not len(points):
        return np.zeros((0, 3))
    low, high = points.min(axis=0), points.max(axis=0)
    picks = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    return np.where(picks == 0, low, high)
