"""A robot that knows where it is, but says so with noise, drift, slips and holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.worlds.paths import Mounts
from flashvggt_ros.worlds.prediction_errors import smooth
from flashvggt_ros.worlds.truth_predictor import TrueWalk

DEPTH_STEP = 2  # the depth camera has every second column and row
DEPTH_RANGE = 5.0  # [m]
HOLE_CELLS = (9, 12)


@dataclass(frozen=True, slots=True)
class OdometryErrors:
    """Errors of odometry, step by step from one image to the next.

    ``noise``: standard deviation of a step's length, relative to it. ``outliers``: share of steps
    that are wrong: half of them slips (wheels turn 0 to 3 times as far as the robot moves), half
    jumps of up to 0.5 m anywhere. ``yaw_drift``: what a turn is wrong by [rad per m].
    """

    noise: float = 0.05
    outliers: float = 0.3
    yaw_drift: float = 0.005


class TruthRobot:
    """A Robot that drives a world with cameras on it; it knows only what it is given errors for.

    ``mounts``: T_base_camera of each camera. ``odometry``: errors of its odometry; None: it has no
    odometry. ``up_noise``: standard deviation of the direction up from an IMU [rad]; None: it has
    no IMU. ``depth_noise``: standard deviation of a depth camera's depth, relative to it; None: it
    has no depth camera. ``knows_mounts``: whether T_base_camera is known. Only frames of the world
    can be asked for; equal seeds give equal robots.
    """

    def __init__(
        self,
        world: TrueWalk,
        mounts: Mounts,
        *,
        odometry: OdometryErrors | None = None,
        up_noise: float | None = None,
        depth_noise: float | None = None,
        knows_mounts: bool = True,
        seed: int = 0,
    ) -> None:
        self.world, self.mounts = world, mounts
        self.up_noise, self.depth_noise = up_noise, depth_noise
        self.knows_mounts, self.seed = knows_mounts, seed
        self._number = {stamp: number for number, stamp in enumerate(world.stamps)}
        self._T_odom_base: dict[int, NDArray[np.float64]] = {}
        if odometry is not None:
            T_camera_base = np.stack([se3.inverse(mounts[s.camera]) for s in world.stamps])
            stamps_ns = np.array([stamp.stamp_ns for stamp in world.stamps])
            order = np.argsort(stamps_ns, kind="stable")
            T_world_base = (world.T_world_camera @ T_camera_base)[order]
            poses = drifting_odometry(T_world_base, odometry, np.random.default_rng(seed))
            self._T_odom_base = dict(zip(stamps_ns[order].tolist(), poses, strict=True))

    def T_base_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Place (4, 4) of a camera on the robot [m]."""
        return self.mounts[camera] if self.knows_mounts else None

    def T_odom_base(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Pose (4, 4) of the robot in its odometry frame [m]."""
        return self._T_odom_base.get(stamp_ns)

    def up_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Unit vector (3,) against gravity in the camera's frame."""
        if self.up_noise is None:
            return None
        number = self._number[FrameStamp(stamp_ns, camera)]
        rng = np.random.default_rng([self.seed, 1, number])
        up_camera = self.world.T_world_camera[number, 2, :3]
        shaken = up_camera + rng.normal(0, self.up_noise, 3)
        return np.asarray(shaken / np.linalg.norm(shaken))

    def depth(self, camera: str, stamp_ns: int) -> NDArray[np.float32] | None:
        """Depth along z (H / 2, W / 2) [m]; 0 in holes and beyond the range."""
        if self.depth_noise is None:
            return None
        number = self._number[FrameStamp(stamp_ns, camera)]
        rng = np.random.default_rng([self.seed, 2, number])
        depth = self.world.depth_images([number])[:, ::DEPTH_STEP, ::DEPTH_STEP]
        is_hole = smooth(depth.shape, HOLE_CELLS, rng)[0] > 1.0
        noise = 1 + self.depth_noise * rng.standard_normal(depth[0].shape, np.float32)
        return np.where(is_hole | (depth[0] > DEPTH_RANGE), 0, depth[0] * noise).astype(np.float32)


def drifting_odometry(
    T_world_base: NDArray[np.float64], errors: OdometryErrors, rng: np.random.Generator
) -> NDArray[np.float64]:
    """T_odom_base (M, 4, 4) of a robot at true poses (M, 4, 4), errors of every step added up."""
    steps = se3.inverse(T_world_base[:-1]) @ T_world_base[1:]
    lengths = np.linalg.norm(steps[:, :3, 3], axis=1)
    count = len(steps)
    steps[:, :3, 3] *= 1 + errors.noise * rng.standard_normal((count, 1))
    is_moving = lengths > 0
    is_wrong = (rng.random(count) < errors.outliers) & is_moving
    is_slip = is_wrong & (rng.random(count) < 0.5)
    steps[is_slip, :3, 3] *= rng.uniform(0, 3, (np.count_nonzero(is_slip), 1))
    is_jump = is_wrong & ~is_slip
    steps[is_jump, :2, 3] += rng.uniform(-0.5, 0.5, (np.count_nonzero(is_jump), 2))
    yaw = errors.yaw_drift * lengths
    quaternions = np.zeros((count, 4))
    quaternions[:, 2], quaternions[:, 3] = np.sin(yaw / 2), np.cos(yaw / 2)
    steps = steps @ se3.pose(se3.matrix_from_quaternion(quaternions), np.zeros(3))
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ step)
    return np.stack(poses)
