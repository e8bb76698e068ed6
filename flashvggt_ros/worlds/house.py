"""A house with rooms, and the occupancy grid that a perfect robot would draw of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.floor_plan import FloorPlan
from flashvggt_ros.worlds.paths import Mounts, drive, mount
from flashvggt_ros.worlds.scenery import Scenery
from flashvggt_ros.worlds.world import World, photograph

THICKNESS = 0.15  # of walls [m]; with middles at multiples of 0.1 m faces lie inside of cells
STEP = 0.25  # from image to image [m]
# Through the hall into living room, kitchen, bedroom and bath; the store has no door.
WAYPOINTS = (
    (0.6, 3.6), (2.5, 3.6), (2.5, 2.2), (3.9, 1.5), (3.4, 0.8), (0.9, 0.8), (0.9, 2.1), (2.5, 2.2),
    (2.5, 3.6), (6.5, 3.6), (6.5, 2.0), (7.2, 1.2), (6.4, 0.8), (5.8, 1.4), (6.5, 2.0), (6.5, 3.6),
    (5.0, 3.6), (5.0, 4.9), (5.4, 5.8), (5.0, 6.3), (4.7, 5.6), (5.0, 4.9), (5.0, 3.6),
    (2.0, 3.6), (2.0, 5.0), (3.2, 5.4), (3.2, 6.3), (1.6, 6.3), (1.0, 5.4), (2.0, 5.0), (2.0, 3.6),
    (0.7, 3.6),
)  # fmt: skip

UNKNOWN, FREE, OCCUPIED = -1, 0, 100


@dataclass(frozen=True, slots=True, eq=False)
class TrueGrid:
    """Cells (h, w) int8, row 0 at the lowest y: -1 never seen, 0 free, 100 occupied.

    ``origin`` (2,): the lowest corner of cell (0, 0) [m]; ``resolution``: edge of a cell [m].
    """

    cells: NDArray[np.int8]
    origin: NDArray[np.float64]
    resolution: float


def house(seed: int = 0) -> Scenery:
    """Build a house of 8 x 7 m: living room, kitchen, hall, bedroom, bath and a closed store."""
    plan = FloorPlan(np.random.default_rng(seed))
    for low, high in (((0, 0), (5, 3)), ((5, 0), (8, 3)), ((0, 3), (8, 4.2)), ((0, 4.2), (4, 7)),
                      ((4, 4.2), (6, 7)), ((6, 4.2), (8, 7))):
        plan.floor_and_ceiling(low, high)
    for at in (0.0, 7.0):
        plan.wall(0, at, -0.075, 8.075, thickness=THICKNESS)
    for at in (0.0, 8.0):
        plan.wall(1, at, 0.075, 6.925, thickness=THICKNESS)
    plan.wall(0, 3.0, 0.075, 7.925, [(2.5, 0.95), (6.5, 0.95)], THICKNESS)
    plan.wall(0, 4.2, 0.075, 7.925, [(2.0, 0.95), (5.0, 0.95)], THICKNESS)
    plan.wall(1, 5.0, 0.075, 2.925, thickness=THICKNESS)
    for at in (4.0, 6.0):
        plan.wall(1, at, 4.275, 6.925, thickness=THICKNESS)
    _furnish(plan)
    return Scenery(plan.boxes, seed)


def house_world(
    seed: int = 0, mounts: Mounts | None = None, pinhole: Pinhole = PINHOLE, step: float = STEP
) -> World:
    """Drive through every room of the house that has a door, beginning in the hall along x."""
    mounts = {"camera": mount(pitch=0.1)} if mounts is None else mounts
    return photograph(house(seed), drive(WAYPOINTS, step), mounts, pinhole=pinhole)


def true_grid(
    scenery: Scenery, world: World, T_grid_world: NDArray[np.float64], resolution: float,
    heights: tuple[float, float],
) -> TrueGrid:
    """Draw the grid of what the cameras of a walk saw, with two heights above the floor [m].

    A cell is occupied if a box stands in it at any height between both, and a camera's ray ends in
    it there; it is free if no box does, and a ray crosses it below the upper height. What only
    stands below rays that pass on is unknown: nobody saw that the inside of a cabinet, taller than
    the camera, is no hole in it. ``T_grid_world`` turns about z by a multiple of 90 degrees at
    most, as boxes are axis-aligned in the grid.
    """
    boxes = np.array([[box.low, box.high] for box in scenery.boxes])
    corners = np.sort(se3.transform_points(T_grid_world, boxes), axis=1)
    outer = corners[..., :2].reshape(-1, 2)
    low = np.floor(outer.min(axis=0) / resolution).astype(int) - 2
    high = np.ceil(outer.max(axis=0) / resolution).astype(int) + 2
    width, height = high - low
    origin = low * resolution
    is_crossed, is_hit = np.zeros((2, height, width), bool)
    for T_world_camera, depth, frame in zip(
        world.T_world_camera, world.depth, world.frames, strict=True
    ):
        assert frame.calibration is not None
        T_grid_camera = T_grid_world @ T_world_camera
        ends = _ends(T_grid_camera, depth, frame.calibration.pinhole, 0.05 * resolution)
        crossed = _along_rays(T_grid_camera[:3, 3], ends[1::4, 1::4], 0.5 * resolution)
        is_between = (ends[..., 2] < heights[1]) & (ends[..., 2] >= heights[0])
        for points, seen in ((crossed[crossed[:, 2] < heights[1]], is_crossed),
                             (ends[is_between], is_hit)):
            column, row = np.floor((points[:, :2] - origin) / resolution).astype(int).T
            seen[row, column] = True
    is_box = np.zeros_like(is_hit)
    stands = (corners[:, 0, 2] < heights[1]) & (corners[:, 1, 2] > heights[0])
    for box_low, box_high in corners[stands][..., :2]:
        first = np.floor((box_low - origin) / resolution + 1e-6).astype(int)
        last = np.ceil((box_high - origin) / resolution - 1e-6).astype(int)
        is_box[first[1] : last[1], first[0] : last[0]] = True
    cells = np.full(is_box.shape, UNKNOWN, np.int8)
    cells[is_crossed & ~is_box] = FREE
    cells[is_hit & is_box] = OCCUPIED
    return TrueGrid(cells, origin, resolution)


def _ends(
    T_grid_camera: NDArray[np.float64], depth: NDArray[np.float32], pinhole: Pinhole, behind: float
) -> NDArray[np.float64]:
    """Points (H, W, 3) just ``behind`` the surfaces that pixels see [m]."""
    ends = pinhole.backproject(depth).astype(np.float64)
    ends *= 1 + behind / np.linalg.norm(ends, axis=-1, keepdims=True)
    return se3.transform_points(T_grid_camera, ends)


def _along_rays(
    start: NDArray[np.float64], ends: NDArray[np.float64], spacing: float
) -> NDArray[np.float64]:
    """Points (M, 3) along the rays from a camera to where they end (h, w, 3)."""
    away = ends.reshape(-1, 1, 3) - start
    longest = float(np.linalg.norm(away, axis=-1).max())
    share = np.arange(0, 1, spacing / longest)[:, None]
    return np.asarray(start + share * away).reshape(-1, 3)


def _furnish(plan: FloorPlan) -> None:
    for low, high in (
        ((0.075, 0.075, 0.0), (1.975, 0.475, 0.8)), ((4.325, 0.275, 0.0), (4.925, 1.025, 1.7)),
        ((2.025, 1.325, 0.0), (2.725, 1.675, 0.5)), ((5.075, 0.075, 0.0), (7.925, 0.475, 0.9)),
        ((7.525, 1.875, 0.0), (7.925, 2.675, 1.9)), ((0.075, 6.125, 0.0), (0.775, 6.925, 0.6)),
        ((3.475, 4.275, 0.0), (3.925, 4.875, 1.9)), ((5.425, 6.475, 0.0), (5.925, 6.925, 0.9)),
        ((7.675, 3.325, 0.0), (7.925, 3.875, 1.1)),
    ):
        plan.add(low, high)
    rng = plan.rng
    for axis, face, side, middle in (
        (0, 0.075, 1, 3.0), (0, 2.925, -1, 1.0), (1, 0.075, 1, 1.8), (1, 4.925, -1, 2.0),
        (0, 3.075, 1, 4.5), (0, 4.125, -1, 3.5), (0, 4.125, -1, 6.7), (1, 5.075, 1, 1.6),
        (0, 6.925, -1, 2.5), (1, 0.075, 1, 5.2), (0, 6.925, -1, 4.6), (1, 5.925, -1, 5.4),
    ):
        width, height = rng.uniform(0.35, 0.9, 2)
        plan.picture(axis, face, side, middle, width, rng.uniform(1.0, 1.5), height)
