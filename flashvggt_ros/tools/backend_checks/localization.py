"""Coming back: where a robot is in the map of another day, from a few images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import Frame, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map_archive import save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, drift_of, run_slam, settings
from flashvggt_ros.worlds import (
    PINHOLE,
    OdometryErrors,
    TruthCache,
    TruthPredictor,
    TruthRobot,
    World,
    drive,
    house,
    mount,
    photograph,
)
from flashvggt_ros.worlds.house import WAYPOINTS

MODEL = MapModel("truth", "0" * 64, "")
MOUNTS = {"camera": mount(pitch=0.1)}
STEP = 0.25  # from image to image [m]
ASIDE = 0.12  # how far beside the mapped path, at most, a query drives [m]
TURNED = math.radians(8.0)  # how much its camera looks elsewhere, at most
LENGTH = 24  # most keyframes of a query
NEAR, NEARLY = 0.1, math.radians(5.0)  # of a pose that counts as right [m], [rad]


def check_localization(is_quick: bool) -> Iterator[Finding]:
    """Map a house, save the map, and find out in it where short drives of another day end."""
    mapping, queries = drive(WAYPOINTS, STEP), 6 if is_quick else 50
    beside = _beside(mapping, np.random.default_rng(1))
    world = photograph(house(0), np.concatenate([mapping, beside]), MOUNTS,
                       pinhole=SMALL if is_quick else PINHOLE)
    config = settings({"mode": "localization"})
    predictor = TruthPredictor(world, drift=drift_of(config), depth_noise=0.01, smooth_noise=0.005)
    robot = TruthRobot(world, MOUNTS, odometry=OdometryErrors())
    mapped = run_slam(settings({}), predictor, world.frames[: len(mapping)], robot)
    slam: Slam[TruthCache] = Slam(config, predictor, robot)
    with tempfile.TemporaryDirectory(prefix="backend_report_") as place:
        save_map(Path(place, "map"), mapped.map, settings({}), MODEL)
        slam.load_map(Path(place, "map"), MODEL)
    T_map_world = MOUNTS["camera"] @ se3.inverse(world.T_world_camera[0])
    starts = np.linspace(len(mapping), len(world.frames) - LENGTH, queries).astype(int)
    right = wrong = 0
    for start in starts:
        update = _localize(slam, world.frames[start : start + LENGTH])
        if update is not None:
            is_right = _is_right(update, world, T_map_world)
            right, wrong = right + is_right, wrong + (not is_right)
    yield Finding(f"of {queries} queries localized within 10 cm and 5 deg ({wrong} wrongly)",
                  100 * right / queries, 90.0, "%", is_at_most=False)


def _localize(slam: Slam[TruthCache], frames: tuple[Frame, ...]) -> MapUpdate | None:
    """Start anew in the loaded map; return the first update whose place in it is known."""
    slam.reset()
    for frame in frames:
        update = slam.add_frame(frame)
        if update is not None and slam.map.is_localized:
            return update
    return None


def _is_right(update: MapUpdate, world: World, T_map_world: NDArray[np.float64]) -> bool:
    """Whether the newest pose is where it is."""
    number = world.stamps.index(update.new[-1])
    off = se3.inverse(T_map_world @ world.T_world_camera[number]) @ update.T_map_camera[-1]
    distance, angle = np.linalg.norm(off[:3, 3]), se3.rotation_angle(off[:3, :3])
    return bool(distance <= NEAR and angle <= NEARLY)


def _beside(T_world_base: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A drive along the same path, but beside it, that looks a little elsewhere."""
    number = np.arange(len(T_world_base))
    knots = np.arange(0, len(T_world_base) + 20, 20)
    share = np.interp(number, knots, rng.uniform(-1, 1, len(knots)))
    aside = np.zeros((len(share), 3))
    aside[:, 1] = ASIDE * share
    yaw = TURNED * share / 2
    zero = np.zeros_like(yaw)
    turns = se3.matrix_from_quaternion(np.stack([zero, zero, np.sin(yaw), np.cos(yaw)], axis=-1))
    return T_world_base @ se3.pose(turns, aside)
