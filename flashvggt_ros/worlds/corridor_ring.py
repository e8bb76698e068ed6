"""A corridor that closes on itself: doors, pictures and furniture, nowhere twice the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.floor_plan import FloorPlan
from flashvggt_ros.worlds.paths import Mounts, drive, mount
from flashvggt_ros.worlds.scenery import Scenery
from flashvggt_ros.worlds.world import World, photograph

WIDTH = 2.2  # of the corridor [m]
SPACING = 1.7  # of doors and pictures along a wall, on average [m]


def corridor_ring(length: float = 60.0, seed: int = 0) -> Scenery:
    """Build a ring whose middle line is a rectangle of ``length`` [m], 3 to 2, about the origin."""
    rng = np.random.default_rng(seed)
    plan = FloorPlan(rng)
    x, y = _half_sides(length)
    outer, inner = (x + WIDTH / 2, y + WIDTH / 2), (x - WIDTH / 2, y - WIDTH / 2)
    _stretches(plan, outer)
    for sign in (-1, 1):
        plan.wall(0, sign * (outer[1] + 0.06), -outer[0], outer[0])
        plan.wall(1, sign * (outer[0] + 0.06), -outer[1], outer[1])
        plan.wall(0, sign * (inner[1] - 0.06), -inner[0], inner[0])
        plan.wall(1, sign * (inner[0] - 0.06), -inner[1] + 0.12, inner[1] - 0.12)
    for axis, (half_in, half_out) in enumerate(zip(inner, outer, strict=True)):
        across = 1 - axis
        for sign in (-1, 1):
            _decorate(plan, axis, sign * outer[across], -sign, half_out)
            _decorate(plan, axis, sign * inner[across], sign, half_in)
    return Scenery(plan.boxes, seed)


def corridor_world(
    length: float = 60.0, further: float = 5.0, step: float = 0.25, seed: int = 0,
    mounts: Mounts | None = None, pinhole: Pinhole = PINHOLE,
) -> World:
    """Go once round a ring corridor and ``further`` [m], an image every ``step`` [m]."""
    x, y = _half_sides(length)
    around = drive([(-x, -y), (x, -y), (x, y), (-x, y)], step, is_closed=True)
    again = round(further / step)
    T_world_base = np.concatenate([around, around[: again + 1]])
    mounts = {"camera": mount()} if mounts is None else mounts
    return photograph(corridor_ring(length, seed), T_world_base, mounts, pinhole=pinhole)


def _half_sides(length: float) -> tuple[float, float]:
    return 0.15 * length, 0.1 * length


def _stretches(plan: FloorPlan, outer: tuple[float, float]) -> None:
    """Floor and ceiling, in a color of its own every few meters."""
    edges = np.linspace(-outer[0], outer[0], max(2, round(outer[0] / 1.5)))
    for low, high in pairwise(edges):
        for sign in (-1, 1):
            y_low, y_high = sorted((0.0, sign * outer[1]))
            plan.floor_and_ceiling((float(low), y_low), (float(high), y_high))


def _decorate(plan: FloorPlan, axis: int, face: float, side: int, half: float) -> None:
    """Hang doors and pictures on a wall that reaches from -half to half; stand things along it."""
    rng = plan.rng
    at = -half + rng.uniform(0.8, 1.4)
    while at < half - 0.8:
        kind = rng.random()
        if kind < 0.3:
            plan.picture(axis, face, side, at, 0.9, 0.0, 2.0)
        elif kind < 0.75:
            width, height = rng.uniform(0.3, 1.0, 2)
            plan.picture(axis, face, side, at, width, rng.uniform(0.9, 1.4), height)
        else:
            size = (rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.35), rng.uniform(0.4, 1.8))
            away = face + side * size[1] / 2
            x, y = (at, away) if axis == 0 else (away, at)
            plan.furniture(x, y, size if axis == 0 else (size[1], size[0], size[2]))
        at += SPACING * rng.uniform(0.6, 1.4)
