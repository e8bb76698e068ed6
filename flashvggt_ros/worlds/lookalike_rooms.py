"""Rooms along a corridor that look alike up to small things, and a walk that returns to some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.floor_plan import FloorPlan
from flashvggt_ros.worlds.paths import drive, mount
from flashvggt_ros.worlds.scenery import Scenery
from flashvggt_ros.worlds.world import World, photograph

PITCH = 5.0  # from one room to the next [m]
CORRIDOR, BACK = 1.0, 5.0  # the corridor's walls are at y = -1 and 1, the rooms' back wall at 5 [m]
GAP = 20  # frames between two runs of frames that are not one walk
VISITS = (0, 1, 2, 0, 3, 1, 4, 2)

# From the corridor into a room, round the table, and out again [m].
ROUND = (
    (2.5, 0.0), (2.5, 1.5), (1.3, 2.0), (1.2, 4.0), (2.5, 4.3), (3.8, 4.0), (3.7, 2.0), (2.5, 1.6),
    (2.5, 0.05),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Lookalikes:
    """Which cell each frame is in (N,), from 0, and where the cells are: T_world_cell (P, 4, 4).

    A cell is a room with its piece of corridor; all cells look alike.
    """

    cell: NDArray[np.int64]
    T_world_cell: NDArray[np.float64]

    def overlaid(
        self, frames: Sequence[int], T_world_camera: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Put the poses (K, 4, 4) of frames of several walks into the first one's cell.

        So does a network that is shown images of two places that look alike: it takes them for one.
        Frames that follow each other are one walk, and stay as they are in it.
        """
        numbers = np.asarray(frames)
        order = np.argsort(numbers, kind="stable")
        walk = np.empty(len(numbers), np.int64)
        walk[order] = np.append(0, np.cumsum(np.diff(numbers[order]) > GAP))
        first = self.T_world_cell[self._cell_of(numbers[walk == walk[0]])]
        poses = T_world_camera.copy()
        for other in set(walk.tolist()) - {int(walk[0])}:
            is_other = walk == other
            T_world_other = self.T_world_cell[self._cell_of(numbers[is_other])]
            poses[is_other] = first @ se3.inverse(T_world_other) @ poses[is_other]
        return poses

    def _cell_of(self, frames: NDArray[np.int64]) -> int:
        return int(np.bincount(self.cell[frames]).argmax())


def lookalike_rooms(rooms: int, seed: int = 0) -> Scenery:
    """Build rooms 0 to ``rooms`` - 1 in a row along x; only a picture and a small box differ."""
    rng = np.random.default_rng(seed)
    cell = FloorPlan(rng)
    _furnish(cell)
    plan = FloorPlan(rng)
    for number in range(rooms):
        offset = np.array([number * PITCH, 0.0, 0.0])
        plan.boxes += [box.moved(offset) for box in cell.boxes]
        _differ(plan, number * PITCH)
    for x in (0.0, rooms * PITCH):
        plan.wall(1, x, -CORRIDOR, CORRIDOR)
    return Scenery(plan.boxes, seed)


def lookalike_world(
    seed: int = 0, visits: Sequence[int] = VISITS, step: float = 0.35, pinhole: Pinhole = PINHOLE
) -> tuple[World, Lookalikes]:
    """Go through rooms in the order of ``visits``, an image every ``step`` [m]."""
    rooms = max(visits) + 1
    waypoints: list[tuple[float, float]] = []
    for room in visits:
        x = room * PITCH
        waypoints += [(x + dx, y) for dx, y in ROUND]
    T_world_base = drive(waypoints, step)
    cell = np.clip(np.floor(T_world_base[:, 0, 3] / PITCH).astype(np.int64), 0, rooms - 1)
    origins = np.zeros((rooms, 3))
    origins[:, 0] = PITCH * np.arange(rooms)
    T_world_cell = se3.pose(np.eye(3), origins)
    world = photograph(
        lookalike_rooms(rooms, seed), T_world_base, {"camera": mount(pitch=0.05)}, pinhole=pinhole
    )
    return world, Lookalikes(cell, T_world_cell)


def _furnish(plan: FloorPlan) -> None:
    """One cell: x from 0 to PITCH, walls, doorway, furniture and pictures."""
    rng = plan.rng
    plan.floor_and_ceiling((0.0, -CORRIDOR), (PITCH, CORRIDOR))
    plan.floor_and_ceiling((0.0, CORRIDOR), (PITCH, BACK))
    plan.wall(0, -CORRIDOR - 0.06, 0.0, PITCH)
    plan.wall(0, CORRIDOR + 0.06, 0.0, PITCH, [(2.5, 1.1)])
    plan.wall(0, BACK + 0.06, 0.0, PITCH)
    for x in (0.06, PITCH - 0.06):
        plan.wall(1, x, CORRIDOR + 0.12, BACK)
    plan.picture(0, -CORRIDOR, 1, 2.5 + rng.uniform(-1, 1), 0.8, 1.0, 0.8)
    plan.picture(0, CORRIDOR, -1, 0.9, 0.9, 0.0, 2.0)
    plan.picture(0, BACK, -1, 2.5 + rng.uniform(-1, 1), rng.uniform(0.6, 1.2), 1.1, 0.8)
    for x, side in ((0.12, 1), (PITCH - 0.12, -1)):
        plan.picture(1, x, side, rng.uniform(2.2, 3.8), rng.uniform(0.5, 1.0), 1.2, 0.7)
    plan.furniture(2.5, 3.1, (rng.uniform(0.7, 1.0), rng.uniform(0.6, 0.9), 0.75))
    plan.furniture(0.35, rng.uniform(2.8, 3.8), (0.4, rng.uniform(0.6, 1.0), rng.uniform(1, 2)))
    plan.furniture(PITCH - 0.35, rng.uniform(2.8, 3.8), (0.4, 0.9, rng.uniform(0.5, 1.2)))
    plan.furniture(rng.uniform(1.0, 4.0), BACK - 0.2, (rng.uniform(0.6, 1.2), 0.35, 0.5))


def _differ(plan: FloorPlan, x: float) -> None:
    """What tells one cell from the others: a small picture and a small box."""
    rng = plan.rng
    plan.picture(0, BACK, -1, x + rng.uniform(0.8, 4.2), 0.3, 2.0, 0.25)
    plan.furniture(x + rng.uniform(0.5, 4.5), CORRIDOR + 0.35, (0.25, 0.2, 0.3))
