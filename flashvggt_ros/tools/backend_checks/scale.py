"""Metric scale, from odometry, from a rig, from depth images and from the camera's height."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flashvggt_ros.config import Config
from flashvggt_ros.robot import Robot
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import (
    SMALL,
    aligned,
    ate,
    drift_of,
    run_slam,
    settings,
    true_poses,
)
from flashvggt_ros.worlds import (
    PINHOLE,
    OdometryErrors,
    TruthPredictor,
    TruthRobot,
    World,
    house_world,
    mount,
)
from flashvggt_ros.worlds.paths import Mounts

ONE = {"camera": mount(pitch=0.1)}
RIG = {"left": mount(pitch=0.1, side=0.15), "right": mount(pitch=0.1, side=-0.15)}
NOISE: dict[str, Any] = {
    "depth_noise": 0.02, "smooth_noise": 0.01, "noise_spread": 0.5, "outliers": 0.05,
}


def check_scale(is_quick: bool) -> Iterator[Finding]:
    """Drive through houses with submaps that drift; the scale is judged by Umeyama's alignment."""
    seeds = range(1 if is_quick else 5)
    yield from _check("odometry (5 % noise, 30 % outliers)", seeds, ONE, is_quick,
                      odometry=OdometryErrors())
    yield from _check("rig baseline 0.3 m", seeds, RIG, is_quick)
    if not is_quick:
        yield from _check("depth images", seeds, ONE, is_quick, depth_noise=0.01)
        yield from _check("camera height", seeds, ONE, is_quick, height=1.2)


def _check(
    source: str, seeds: range, mounts: Mounts, is_quick: bool, height: float = 0.0, **sensors: Any
) -> Iterator[Finding]:
    errors, rigid, similar = [], [], []
    config = settings({"scale.camera_height": height})
    for seed in seeds:
        world = house_world(seed, mounts, step=0.5 if is_quick else 0.25,
                            pinhole=SMALL if is_quick else PINHOLE)
        robot = TruthRobot(world, mounts, seed=seed, **sensors)
        scale_error, se3_ate, sim3_ate = _run(config, world, robot, seed)
        errors.append(scale_error)
        rigid.append(se3_ate)
        similar.append(sim3_ate)
    se3_ate, sim3_ate = (float(np.sqrt(np.mean(np.square(each)))) for each in (rigid, similar))
    yield Finding(f"scale from {source}, largest error", 100 * max(errors), 3.0, "%")
    if height:  # the floor is found 1 % too high, by what stands on it: more than the path is off
        yield Finding(f"scale from {source}, SE(3) ATE ({se3_ate / sim3_ate:.2f} times Sim(3) "
                      "ATE)", 100 * se3_ate, 5.0, "cm")
        return
    yield Finding(f"scale from {source}, SE(3) ATE / Sim(3) ATE", se3_ate / sim3_ate, 1.25, "")


def _run(config: Config, world: World, robot: Robot, seed: int) -> tuple[float, float, float]:
    """Error of the scale (relative), ATE after SE(3) and ATE after Sim(3) [m]."""
    predictor = TruthPredictor(world, drift=drift_of(config), seed=seed, **NOISE)
    trajectory = run_slam(config, predictor, world.frames, robot).map.trajectory()
    truth = true_poses(trajectory, world)
    scale = aligned(trajectory.T_map_camera, truth, with_scale=True).scale
    return (
        abs(1 / scale - 1),
        ate(trajectory, world, with_scale=False),
        ate(trajectory, world, with_scale=True),
    )
