"""The occupancy grid of a house, cell by cell against the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, drift_of, run_slam, settings
from flashvggt_ros.worlds import (
    PINHOLE,
    OdometryErrors,
    TrueGrid,
    TruthPredictor,
    TruthRobot,
    house,
    house_world,
    mount,
    true_grid,
)
from flashvggt_ros.worlds.house import FREE, OCCUPIED, UNKNOWN

LIKELY = 50  # from which on a cell counts as occupied, below it as free [percent]
MOUNTS = {"camera": mount(pitch=0.1)}
BEHIND = 3  # cells around what was seen whose neighbors may be taken for seen


@dataclass(frozen=True, slots=True)
class GridScore:
    """Intersection over union of occupied and of free cells; share of hidden cells that are known.

    Hidden are cells that no camera could see, nor any cell close to them.
    """

    occupied: float
    free: float
    hidden_known: float


def check_grid(is_quick: bool) -> Iterator[Finding]:
    """Drive a robot with odometry through a house; its grid is compared where both have cells.

    Predictions have noise; in a second drive they drift, too.
    """
    for name, is_bent in (("grid of a house", False), ("grid by submaps that drift", True)):
        score = _score(is_quick, is_bent=is_bent)
        yield Finding(f"{name}: IoU of occupied cells", score.occupied, 0.8, "", False)
        yield Finding(f"{name}: IoU of free cells", score.free, 0.8, "", False)
        yield Finding(f"{name}: cells behind walls that are not unknown",
                      100 * score.hidden_known, 0.5, "%")


def _score(is_quick: bool, *, is_bent: bool) -> GridScore:
    config = settings({})
    world = house_world(0, MOUNTS, pinhole=SMALL if is_quick else PINHOLE)
    robot = TruthRobot(world, MOUNTS, odometry=OdometryErrors())
    predictor = TruthPredictor(
        world, drift=drift_of(config) if is_bent else None, depth_noise=0.01, smooth_noise=0.005,
        noise_spread=0.5, outliers=0.02,
    )
    slam = run_slam(config, predictor, world.frames, robot)
    slam.finish()
    grid = slam.map.grid()
    if grid is None:
        raise ValueError(f"the house has no grid: {slam.map.why_no_grid()}")
    T_map_world = MOUNTS["camera"] @ se3.inverse(world.T_world_camera[0])
    heights = config.grid.min_height, config.grid.max_height
    truth = true_grid(house(0), world, T_map_world, grid.resolution, heights)
    return compare_grids(grid, truth)


def compare_grids(grid: Grid, truth: TrueGrid) -> GridScore:
    """Compare grids of one resolution in the map frame; where one has no cells they are unknown."""
    low = np.minimum(_first(grid.origin_xy, grid), _first(truth.origin, grid))
    high = np.maximum(
        _first(grid.origin_xy, grid) + grid.cells.shape[::-1],
        _first(truth.origin, grid) + truth.cells.shape[::-1],
    )
    ours = _padded(grid.cells, _first(grid.origin_xy, grid), low, high)
    true = _padded(truth.cells, _first(truth.origin, grid), low, high)
    is_free = (ours != UNKNOWN) & (ours < LIKELY)
    is_hidden = ~binary_dilation(true != UNKNOWN, np.ones((3, 3)), BEHIND)
    return GridScore(
        _iou(ours >= LIKELY, true == OCCUPIED),
        _iou(is_free, true == FREE),
        float((ours[is_hidden] != UNKNOWN).mean()),
    )


def _first(origin: NDArray[np.float64], grid: Grid) -> NDArray[np.int64]:
    """Column and row (2,) of a grid's lowest cell, counted from the map's origin."""
    return np.rint(origin / grid.resolution).astype(np.int64)


def _padded(
    cells: NDArray[np.int8], first: NDArray[np.int64], low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> NDArray[np.int8]:
    whole = np.full((high - low)[::-1], UNKNOWN, np.int8)
    column, row = first - low
    whole[row : row + cells.shape[0], column : column + cells.shape[1]] = cells
    return whole


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))
