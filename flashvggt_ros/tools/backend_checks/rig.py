"""How well the cameras of a rig lie to each other, with and without the factors of the rig."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map import Trajectory
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import (
    SMALL,
    ate,
    run_slam,
    settings,
    true_poses,
)
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, TruthRobot, World, house_world, mount
from flashvggt_ros.worlds.paths import Mounts

FIRST, SECOND = "left", "right"
RIG = {FIRST: mount(pitch=0.1, side=0.15), SECOND: mount(pitch=0.1, side=-0.15, yaw=-0.2)}
WRONG = RIG | {SECOND: mount(pitch=0.1, side=-0.15, yaw=0.1)}  # 17 degrees from where it sits
ERRORS: dict[str, Any] = {
    "depth_noise": 0.02, "smooth_noise": 0.01, "noise_spread": 0.5, "outliers": 0.05,
    "pose_noise": 0.02,
}


def check_rig(is_quick: bool) -> Iterator[Finding]:
    """Drive two cameras through houses; the model shakes each pose by 2 cm and 1.1 degrees."""
    runs = [_measure(seed, is_quick) for seed in range(1 if is_quick else 3)]
    (place, turn, off), (fitted_place, fitted_turn, fitted_off), (_, _, refused_off) = (
        np.sqrt(np.mean(np.square(runs), axis=0))
    )
    what = "second camera of a rig from the first"
    yield Finding(f"{what}, place ({100 * place:.2f} cm without factors)",
                  100 * fitted_place, 50 * place, "cm")
    yield Finding(f"{what}, rotation ({math.degrees(turn):.2f} without factors)",
                  math.degrees(fitted_turn), math.degrees(turn) / 2, "deg")
    yield Finding("ATE of a rig, over that without factors", fitted_off / off, 1.05, "")
    yield Finding("the same where TF is wrong about it", refused_off / off, 1.05, "")


def _measure(seed: int, is_quick: bool) -> list[tuple[float, float, float]]:
    """Error of one camera seen from the other [m], [rad] and ATE [m]: without, with, TF wrong."""
    world = house_world(seed, RIG, step=0.5 if is_quick else 0.25,
                        pinhole=SMALL if is_quick else PINHOLE)
    found = []
    for mounts, is_enabled in ((RIG, False), (RIG, True), (WRONG, True)):
        trajectory = _run(world, mounts, seed, is_enabled=is_enabled)
        off = ate(trajectory, world, with_scale=True)
        found.append((*_between_cameras(trajectory, world), off))
    return found


def _run(world: World, mounts: Mounts, seed: int, *, is_enabled: bool) -> Trajectory:
    config = settings({"rig.enabled": is_enabled})
    predictor = TruthPredictor(world, seed=seed, **ERRORS)
    robot = TruthRobot(world, mounts)
    return run_slam(config, predictor, world.frames, robot).map.trajectory()


def _between_cameras(trajectory: Trajectory, world: World) -> tuple[float, float]:
    """Root mean square error of SECOND as FIRST sees it at the same moment [m], [rad]."""
    row = {frame: number for number, frame in enumerate(trajectory.frames)}
    firsts = [frame for frame in trajectory.frames if frame.camera == FIRST]
    seconds = [replace(frame, camera=SECOND) for frame in firsts]
    both = zip(firsts, seconds, strict=True)  # images without contrast are no keyframes
    rows = np.array([(row[a], row[b]) for a, b in both if b in row])
    true = _second_from_first(true_poses(trajectory, world), rows)
    found = _second_from_first(trajectory.T_map_camera, rows)
    turns = se3.rotation_angle(np.swapaxes(true[:, :3, :3], 1, 2) @ found[:, :3, :3])
    shifts = np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1)
    return float(np.sqrt(np.mean(shifts**2))), float(np.sqrt(np.mean(turns**2)))


def _second_from_first(
    T_map_camera: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    first, second = rows.T
    return np.asarray(se3.inverse(T_map_camera[first]) @ T_map_camera[second])
