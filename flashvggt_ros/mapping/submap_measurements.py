"""What robot and ground say of one submap: how large its unit is, and which way is up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.frame import ChunkPrediction
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.gravity import UpDirection, estimate_up
from flashvggt_ros.mapping.ground_plane import GroundPlane, find_ground
from flashvggt_ros.mapping.metric_scale import (
    ScaleEstimate,
    combine_scales,
    scale_from_depth,
    scale_from_height,
    scale_from_odometry,
)
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.robot import RobotState

MAX_TILT_KNOWN = math.radians(15.0)  # of the ground where TF or an IMU says what is up
MAX_TILT_ASSUMED = math.radians(50.0)  # where the camera is taken as level: held ones
GROUND_POINTS = 20_000  # more of them add time, not accuracy
UNKNOWN_POSE = np.full((4, 4), np.nan)


class SubmapMeasurements:
    """Collects what is measured while a submap grows. One is made for each."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._depth_scales: list[ScaleEstimate] = []
        self._rig_scale: ScaleEstimate | None = None
        self.ground: GroundPlane | None = None

    def add(
        self, prediction: ChunkPrediction, states: Sequence[RobotState],
        rig_scale: ScaleEstimate | None,
    ) -> None:
        """Take a chunk that the submap has grown by, and the scale that its cameras tell now."""
        self._rig_scale = rig_scale
        if self._wants("depth") and any(state.depth is not None for state in states):
            measured = [state.depth for state in states]
            found = scale_from_depth(prediction.depth, prediction.confidence, measured)
            self._depth_scales += [found] if found else []

    def look_for_ground(self, submap: Submap) -> None:
        """Find the ground in what the submap shows now; this takes about as long as a frame."""
        guess = self._up(submap, None)
        tilt = MAX_TILT_ASSUMED if guess.source == "assumed" else MAX_TILT_KNOWN
        centers = submap.T_submap_camera[:, :3, 3]
        self.ground = find_ground(_points(submap), guess.up_submap, tilt, centers)

    def scale(self, submap: Submap) -> ScaleEstimate | None:
        """Return meters per unit from the wanted sources together; None: not observable yet."""
        T_submap_camera = submap.T_submap_camera
        found: list[ScaleEstimate | None] = []
        if self._wants("depth"):
            found.append(combine_scales(self._depth_scales))
        if self._wants("odometry"):
            T_odom_camera = [state.T_odom_camera for state in submap.states]
            found.append(scale_from_odometry(T_submap_camera, _stacked(T_odom_camera)))
        if self._wants("rig"):
            found.append(self._rig_scale)
        if self._wants("camera_height") and self.ground is not None:
            found.append(self._scale_from_height(submap, self.ground))
        return combine_scales([estimate for estimate in found if estimate is not None])

    def up(self, submap: Submap) -> UpDirection | None:
        """Return which way is up; None where nothing measures it.

        The ground levels the first submap alone: of others it is no surer than their join, because
        a model that bends what it sees bends the ground with it.
        """
        up = self._up(submap, self.ground)
        is_measured = up.source in ("tf", "imu") or (up.source == "ground" and submap.index == 0)
        return up if is_measured else None

    def _up(self, submap: Submap, ground: GroundPlane | None) -> UpDirection:
        return estimate_up(
            submap.T_submap_camera,
            [state.T_base_camera for state in submap.states],
            [state.up_camera for state in submap.states],
            ground,
            self._config.gravity.source,
        )

    def _scale_from_height(self, submap: Submap, ground: GroundPlane) -> ScaleEstimate | None:
        height_m = self._config.scale.camera_height
        on_base = [s.T_base_camera[2, 3] for s in submap.states if s.T_base_camera is not None]
        if not height_m and on_base:
            height_m = float(np.median(on_base))
        if height_m <= 0:
            return None
        return scale_from_height(ground.height, ground.sigma_height, height_m)

    def _wants(self, source: str) -> bool:
        """Whether a source is asked for: by name, or all but the height of a camera on the base."""
        chosen = self._config.scale.source
        if source == "camera_height":
            return chosen == source or (chosen == "auto" and self._config.scale.camera_height > 0)
        return chosen in (source, "auto")


def _stacked(poses: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """Poses (K, 4, 4); NaN where there is none."""
    return np.stack([UNKNOWN_POSE if pose is None else pose for pose in poses])


def _points(submap: Submap) -> NDArray[np.float64]:
    """What the submap's keyframes see (M, 3), thinned, in the submap frame."""
    parts = [np.zeros((0, 3))]
    poses = submap.T_submap_camera[submap.shared :]
    for keyframe, T_submap_camera in zip(submap.keyframes, poses, strict=True):
        depth = keyframe.sketch.depth.astype(np.float32)
        points_camera = keyframe.sketch.camera.backproject(depth)[depth > 0]
        parts.append(se3.transform_points(T_submap_camera, points_camera.astype(np.float64)))
    points = np.concatenate(parts)
    return points[:: max(1, len(points) // GROUND_POINTS)]
