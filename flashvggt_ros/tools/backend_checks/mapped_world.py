"""Runs of the whole of slam through a world, and how far the map is from the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3, align_points
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.robot import UNKNOWN_ROBOT, Robot
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import Drift, TruthCache, TruthPredictor
from flashvggt_ros.worlds.truth_predictor import TrueWalk

# Every frame is a keyframe, so that worlds decide how many there are; bundle adjustment is off,
# because on true images it would undo the drift that is injected into the predictions.
SETTINGS: dict[str, Any] = {
    "keyframe.min_motion": 0.0, "chunk.max_wait": 60.0, "map.voxel_size": 0.05,
    "bundle_adjustment.enabled": False,
}
SMALL = Pinhole(60.0, 60.0, 47.5, 35.5, 96, 72)  # for quick checks


def settings(values: Mapping[str, Any]) -> Config:
    """Return the configuration of a check: ``values`` by dotted name, else those of all checks."""
    return build_config({**SETTINGS, **values})


def drift_of(config: Config, *, is_random: bool = False) -> Drift:
    """Return the drift of 2 % and 0.5 degree that each submap adds to the ones before it."""
    new = config.submap.max_frames - config.chunk.overlap
    return Drift(frames=new - new % config.chunk.size, is_random=is_random)


def run_slam(
    config: Config, predictor: TruthPredictor, frames: Iterable[Frame],
    robot: Robot = UNKNOWN_ROBOT,
) -> Slam[TruthCache]:
    """Map all frames and return the slam that did."""
    slam = Slam(config, predictor, robot)
    for frame in frames:
        slam.add_frame(frame)
    slam.flush()
    return slam


def true_poses(trajectory: Trajectory, world: TrueWalk) -> NDArray[np.float64]:
    """T_world_camera (K, 4, 4) of a trajectory's frames."""
    number = {stamp: number for number, stamp in enumerate(world.stamps)}
    return world.T_world_camera[[number[stamp] for stamp in trajectory.frames]]


def aligned(
    T_map_camera: NDArray[np.float64], T_world_camera: NDArray[np.float64], *, with_scale: bool
) -> Sim3:
    """Return the S_world_map that fits positions best, by Sim(3) or by SE(3) (scale 1)."""
    places, truth = T_map_camera[:, :3, 3], T_world_camera[:, :3, 3]
    S_world_map = align_points(places, truth, np.ones(len(places)))
    if with_scale:
        return S_world_map
    rotation = S_world_map.rotation
    return Sim3(1.0, rotation, truth.mean(axis=0) - rotation @ places.mean(axis=0))


def ate(trajectory: Trajectory, world: TrueWalk, *, with_scale: bool) -> float:
    """Root mean square distance [m] of all keyframes from the truth after alignment."""
    truth = true_poses(trajectory, world)
    S_world_map = aligned(trajectory.T_map_camera, truth, with_scale=with_scale)
    offsets = S_world_map.transform_pose(trajectory.T_map_camera)[:, :3, 3] - truth[:, :3, 3]
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))


def tilt(trajectory: Trajectory, world: TrueWalk) -> float:
    """Angle [rad] between the map's z and the world's, by the mean of all cameras' rotations."""
    truth = true_poses(trajectory, world)
    up_camera = np.swapaxes(trajectory.T_map_camera[:, :3, :3], 1, 2)[..., 2]
    up_world = (truth[:, :3, :3] @ up_camera[..., None])[..., 0].mean(axis=0)
    return float(np.arctan2(np.linalg.norm(up_world[:2]), up_world[2]))


def offsets_from_start(
    trajectory: Trajectory, world: TrueWalk, first: int, last: int
) -> NDArray[np.float64]:
    """How far [m] each of the last keyframes is from its place relative to the first ones (K,)."""
    truth = true_poses(trajectory, world)
    T_map_camera = trajectory.T_map_camera
    S_world_map = anchored(T_map_camera[:first], truth[:first])
    placed = S_world_map.transform_pose(T_map_camera[-last:])
    offsets: NDArray[np.float64] = np.linalg.norm(placed[:, :3, 3] - truth[-last:, :3, 3], axis=1)
    return offsets


def anchored(T_map_camera: NDArray[np.float64], T_world_camera: NDArray[np.float64]) -> Sim3:
    """Return the S_world_map that fits poses best, rotations by rotations.

    So it is certain where positions lie on a line, too.
    """
    turns = T_world_camera[:, :3, :3] @ np.swapaxes(T_map_camera[:, :3, :3], 1, 2)
    u, _, vt = np.linalg.svd(turns.sum(axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    places, truth = T_map_camera[:, :3, 3], T_world_camera[:, :3, 3]
    spread = np.linalg.norm(truth - truth.mean(axis=0)) / np.linalg.norm(
        places - places.mean(axis=0)
    )
    scale = float(spread)
    return Sim3(scale, rotation, truth.mean(axis=0) - scale * (rotation @ places.mean(axis=0)))
