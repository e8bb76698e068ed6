"""One room with furniture along its walls: cheap to look at for as long as one likes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.floor_plan import HEIGHT, FloorPlan, random_color
from flashvggt_ros.worlds.paths import base_poses, mount
from flashvggt_ros.worlds.scenery import Box, Mover, MovingScenery, Scenery
from flashvggt_ros.worlds.world import StreamedWorld

HALF_X, HALF_Y = 4.0, 3.0  # [m]
SMALL = Pinhole(40.0, 40.0, 31.5, 23.5, 64, 48)


def furnished_room(seed: int = 0) -> Scenery:
    """Build a room of 8 x 6 x 2.6 m about the origin; its middle, 5.6 x 3.6 m, is clear."""
    plan = FloorPlan(np.random.default_rng(seed))
    rng = plan.rng
    plan.floor_and_ceiling((-HALF_X, -HALF_Y), (HALF_X, HALF_Y))
    for sign in (-1, 1):
        plan.wall(0, sign * (HALF_Y + 0.06), -HALF_X, HALF_X)
        plan.wall(1, sign * (HALF_X + 0.06), -HALF_Y, HALF_Y)
        plan.picture(0, sign * HALF_Y, -sign, rng.uniform(-3, 3), 1.0, 1.0, rng.uniform(0.5, 1.2))
        plan.picture(1, sign * HALF_X, -sign, rng.uniform(-2, 2), 0.9, 0.0, 2.0)
        for x in (-2.3, 0.4, 2.6):
            height = rng.uniform(0.4, 2.0)
            plan.furniture(x + rng.uniform(-0.3, 0.3), sign * (HALF_Y - 0.3), (1.1, 0.5, height))
        plan.furniture(sign * (HALF_X - 0.3), rng.uniform(-1.2, 1.2), (0.5, 0.9, 0.8))
    return Scenery(plan.boxes, seed)


def roaming(count: int, step: float = 0.25) -> NDArray[np.float64]:
    """T_world_base (count, 4, 4) about every ``step`` [m] on a Lissajous curve through the room."""
    turn = np.linspace(0, 2 * np.pi, 10_001)
    lengths = np.linalg.norm(np.diff(_lissajous(turn), axis=0), axis=1).cumsum()
    phase = np.interp(step * np.arange(count) % lengths[-1], np.append(0.0, lengths), turn)
    heading = _lissajous(phase + 1e-4) - _lissajous(phase - 1e-4)
    return base_poses(_lissajous(phase), np.arctan2(heading[:, 1], heading[:, 0]))


def _lissajous(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (M, 2) [m] on a closed curve without sharp turns."""
    return np.stack([2.4 * np.sin(3 * phase), 1.5 * np.sin(4 * phase)], axis=1)


def long_walk(count: int = 10_000, seed: int = 0, pinhole: Pinhole = SMALL) -> StreamedWorld:
    """Roam a furnished room for ``count`` small images, rendered one by one."""
    return StreamedWorld(furnished_room(seed), roaming(count) @ mount(), pinhole)


def busy_room(movers: int = 3, seed: int = 0) -> MovingScenery:
    """Build a furnished room with boxes, as large as people, that go back and forth in it."""
    still = furnished_room(seed)
    rng = np.random.default_rng([seed, 1])
    moving = []
    for _ in range(movers):
        start = np.append(rng.uniform((-2.8, -1.8), (2.8, 1.8)), 0.0)
        end = np.append(rng.uniform((-2.8, -1.8), (2.8, 1.8)), 0.0)
        half = np.array([0.22, 0.22, 0.0])
        color, shift = random_color(rng), rng.uniform(-50, 50, 3)
        top = np.array([0.0, 0.0, 0.65 * HEIGHT])
        box = Box(start - half, start + half + top, color, 0.3, shift)
        moving.append(Mover(box, end - start, rng.uniform(6, 12), rng.random()))
    return MovingScenery(still, moving)
