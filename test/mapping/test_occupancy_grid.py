"""The grid shows what rays say: walls thin, free space before them, nothing behind."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import Chunk
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.depth_sketch import sketch_depth
from flashvggt_ros.mapping.depth_view import DepthView
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.occupancy_grid import Grid, GridPatch, add_up, build_grid, cast_views
from flashvggt_ros.robot import UNKNOWN_ROBOT, Robot, RobotState
from flashvggt_ros.worlds import (
    PINHOLE,
    OdometryErrors,
    Scenery,
    TruthPredictor,
    TruthRobot,
    World,
    house,
    house_world,
    look,
    make_world,
    mount,
    true_grid,
    walk,
)
from flashvggt_ros.worlds.floor_plan import FloorPlan

MOUNTS = {"camera": mount(pitch=0.1)}
SETTINGS = {"map.voxel_size": 0.1, "bundle_adjustment.enabled": False}
GRID = build_config({}).grid
OCCUPIED_FROM, FREE_TO = 65, 25  # as map_server has it


@pytest.fixture(scope="module")
def in_house() -> World:
    return house_world(mounts=MOUNTS)


@pytest.fixture(scope="module")
def house_map(in_house: World) -> Map:
    robot = TruthRobot(in_house, MOUNTS, odometry=OdometryErrors(0.0, 0.0, 0.0))
    predictor = TruthPredictor(in_house, depth_noise=0.02)
    return fed(Map(build_config(SETTINGS)), in_house, predictor, robot)


def view(
    scenery: Scenery, T_map_camera: np.ndarray, noise: float = 0.0, seed: int = 0
) -> DepthView:
    depth = scenery.render(T_map_camera, PINHOLE)[1]
    depth *= 1 + noise * np.random.default_rng(seed).standard_normal(depth.shape, np.float32)
    sketch = sketch_depth(depth, np.ones_like(depth), PINHOLE, 0.0)
    return DepthView.of(sketch, T_map_camera, 1.0)


def hall(*boxes: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Scenery:
    """A floor with a wall at x = 5, and boxes."""
    plan = FloorPlan(np.random.default_rng(0))
    plan.add((-20, -20, -0.1), (20, 20, 0.0))
    plan.add((5.0, -20, 0.0), (5.2, 20, 3.0))
    for low, high in boxes:
        plan.add(low, high)
    return Scenery(plan.boxes)


def at(grid: Grid, x: float, y: float) -> int:
    """The cell at a place of the map; -1 outside of the grid."""
    column, row = np.floor((np.array([x, y]) - grid.origin_xy) / grid.resolution).astype(int)
    height, width = grid.cells.shape
    return int(grid.cells[row, column]) if 0 <= row < height and 0 <= column < width else -1


def fed(mapped: Map, world: World, predictor: TruthPredictor, robot: Robot = UNKNOWN_ROBOT) -> Map:
    """Map all frames of a world in chunks of six, a submap each three chunks."""
    for number, first in enumerate(range(0, len(world.frames), 6)):
        frames: Sequence = world.frames[first : first + 6]
        if number % 3 == 0:
            frames, cache = (*mapped.open_submap(), *frames), predictor.new_cache()
        states = [RobotState.of(robot, frame.camera, frame.stamp_ns) for frame in frames]
        mapped.integrate(Chunk(tuple(frames)), predictor.predict(frames, cache), states)
    return mapped


def overlaid(grid: Grid, like: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The cells of a grid where another one has its own; -1 where it has none."""
    rows, columns = np.indices(like.shape)
    shift = np.rint((origin - grid.origin_xy) / grid.resolution).astype(int)
    rows, columns = rows + shift[1], columns + shift[0]
    height, width = grid.cells.shape
    is_in = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    cells = np.full(like.shape, -1)
    cells[is_in] = grid.cells[rows[is_in], columns[is_in]]
    return cells


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_the_grid_of_a_house_is_that_of_the_truth(in_house, house_map):
    assert house_map.why_no_grid() == ""
    assert len(house_map.submaps) > 5
    grid = house_map.grid()
    T_map_world = MOUNTS["camera"] @ se3.inverse(in_house.T_world_camera[0])
    truth = true_grid(house(), in_house, T_map_world, 0.05, (0.1, 1.8))
    cells = overlaid(grid, truth.cells, truth.origin)
    is_free = (cells >= 0) & (cells <= FREE_TO)
    assert iou(cells >= OCCUPIED_FROM, truth.cells == 100) >= 0.85
    assert iou(is_free, truth.cells == 0) >= 0.9
    assert (is_free & (truth.cells < 0)).mean() < 0.01
    store = np.array([6.3, 4.6]), np.array([7.7, 6.7])  # no door leads there
    corners = se3.transform_points(T_map_world, np.array([[*store[0], 0], [*store[1], 0]]))
    for share in np.linspace(0, 1, 9):
        x, y, _ = corners[0] + share * (corners[1] - corners[0])
        assert at(grid, x, y) == -1


def test_walls_are_thin_in_spite_of_noise_free_space_is_before_them_and_nothing_behind():
    scenery = hall()
    views = [
        view(scenery, look((0.1 * i, 0.05 * i, 1.2), 0.02 * i, 0.1), 0.02, i) for i in range(24)
    ]
    grid = build_grid(views, 0.0, GRID)
    row = [at(grid, x, 0.5) for x in np.arange(1.0, 8.0, 0.05) + 0.025]
    occupied = np.flatnonzero(np.array(row) >= OCCUPIED_FROM)
    assert 1 <= len(occupied) <= 2
    assert abs(1.0 + 0.05 * occupied.mean() + 0.025 - 5.0) < 0.06
    assert (np.array(row[: occupied[0] - 3]) <= FREE_TO).all()
    assert (np.array(row[: occupied[0] - 3]) >= 0).all()
    assert set(row[occupied[-1] + 3 :]) == {-1}


@pytest.mark.parametrize("thickness", [0.1, 0.15])
def test_a_wall_that_is_seen_from_both_sides_has_both_its_faces(thickness):
    scenery = hall(((1.975, -3, 0.0), (1.975 + thickness, 3, 2.5)))
    sides = (
        [look((0.02 * i, 0.03 * i, 1.2), 0.0, 0.1) for i in range(12)],
        [look((4.0 - 0.02 * i, 0.03 * i, 1.2), np.pi, 0.1) for i in range(12)],
    )
    views = [view(scenery, pose, 0.01, i) for side in sides for i, pose in enumerate(side)]
    grid = build_grid(views, 0.0, GRID)
    faces = 1.975, 1.975 + thickness
    for y in np.arange(-0.9, 0.9, 0.05) + 0.025:
        row = np.array([at(grid, x, y) for x in np.arange(1.5, 2.6, 0.05) + 0.025])
        middles = 1.525 + 0.05 * np.flatnonzero(row >= OCCUPIED_FROM)
        assert all(np.abs(middles - face).min() < 0.03 for face in faces)
        assert ((middles > faces[0] - 0.03) & (middles < faces[1] + 0.03)).all()


def test_a_corner_of_a_room_is_sharp():
    scenery = hall(((-20, 1.975, 0.0), (20, 2.2, 3.0)), ((4.025, -20, 0.0), (4.2, 20, 3.0)))
    views = [
        view(scenery, look((0.1 * i, 0.05 * i, 1.2), 0.3 + 0.02 * i, 0.1), 0.01, i)
        for i in range(12)
    ]
    grid = build_grid(views, 0.0, GRID)
    for back in np.arange(0.0, 0.5, 0.05):
        assert at(grid, 4.025 - back, 1.975) >= OCCUPIED_FROM
        assert at(grid, 4.025, 1.975 - back) >= OCCUPIED_FROM
    for back in (0.06, 0.11, 0.16):
        assert at(grid, 4.025 - back, 1.975 - back) < 50


def test_a_single_far_point_is_no_obstacle():
    log_odds = np.zeros((5, 3, 3), np.int8)
    log_odds[2, 1, 1] = 2
    surfaces = cast_views([], 0.0, GRID).surfaces
    patch = GridPatch(np.zeros(2, np.int64), log_odds, surfaces)
    assert (add_up([patch], np.zeros(2), GRID).cells == -1).all()
    assert (add_up([patch] * 5, np.zeros(2), GRID).cells[1, 1]) >= 50


def test_a_look_over_a_table_leaves_it_there():
    scenery = hall(((2.0, -0.5, 0.0), (2.6, 0.5, 0.7)))
    below = [view(scenery, look((0.07 * i, 0.02 * i, 1.2), 0.0, 0.3)) for i in range(8)]
    above = [view(scenery, look((-0.5, 0.01 * i, 1.5), 0.0, -0.2)) for i in range(30)]
    grid = build_grid([*below, *above], 0.0, GRID)
    for x in (2.1, 2.3, 2.5):
        assert at(grid, x, 0.0) >= OCCUPIED_FROM
    assert at(grid, 3.4, 0.0) == 0


def test_what_is_lower_than_min_height_or_higher_than_max_height_is_free():
    scenery = hall(((2.0, -1, 0.0), (2.4, 0, 0.15)), ((2.0, 0.5, 1.6), (2.4, 1.5, 1.75)))
    views = [view(scenery, look((0.02 * i, 0.3, 1.2), 0.0, 0.2)) for i in range(8)]
    both = build_grid(views, 0.0, GRID)
    neither = build_grid(views, 0.0, replace(GRID, min_height=0.2, max_height=1.5))
    for x, y in ((2.02, -0.5), (2.02, 1.0)):
        assert at(both, x, y) >= OCCUPIED_FROM
        assert 0 <= at(neither, x, y) <= FREE_TO


def test_heights_are_measured_from_the_ground():
    scenery = hall(((2.0, -1, 0.0), (2.4, 1, 0.5)))
    views = [view(scenery, look((0.02 * i, 0.3, 1.2), 0.0, 0.2)) for i in range(8)]
    raised = [
        replace(v, T_map_camera=se3.pose(np.eye(3), np.array([0, 0, 7.0])) @ v.T_map_camera)
        for v in views
    ]
    np.testing.assert_array_equal(
        build_grid(views, 0.0, GRID).cells, build_grid(raised, 7.0, GRID).cells
    )
    assert at(build_grid(views, 0.6, GRID), 2.02, 0.0) <= FREE_TO


def test_nothing_is_said_beyond_the_range():
    grid = build_grid([view(hall(), look((0.0, 0.0, 1.2), 0.0))], 0.0, replace(GRID, max_range=3.0))
    assert 0 <= at(grid, 2.9, 0.0) < 50
    assert at(grid, 3.1, 0.0) == -1
    assert not (grid.cells >= 50).any()


def test_resolution_is_that_asked_for_and_the_origin_a_multiple_of_it():
    coarse = replace(GRID, resolution=0.2)
    grid = build_grid([view(hall(), look((0.0, 0.0, 1.2), 0.0))], 0.0, coarse)
    assert grid.resolution == 0.2
    np.testing.assert_allclose(grid.origin_xy / 0.2, np.rint(grid.origin_xy / 0.2), atol=1e-9)
    assert max(at(grid, 4.95, 0.1), at(grid, 5.05, 0.1)) >= 50
    assert at(grid, 4.0, 0.0) < 50


def test_a_pixel_between_a_near_and_a_far_surface_is_no_obstacle():
    scenery = hall(((2.0, -5, 0.0), (2.2, 0.0, 2.5)))
    T_map_camera = look((0.0, 0.3, 1.2), 0.0)
    depth = scenery.render(T_map_camera, PINHOLE)[1]
    edge = np.flatnonzero(np.abs(np.diff(depth[60])) > 1)[0]
    first = (edge + 1) // 3 * 3 + 1  # column of the sketch's pixel at the edge
    depth[:, first - 1 : first + 2] = 3.4
    sketch = sketch_depth(depth, np.ones_like(depth), PINHOLE, 0.0)
    assert (sketch.depth[:40] == np.float16(3.4)).sum() >= 35
    grid = build_grid([DepthView.of(sketch, T_map_camera, 1.0)], 0.0, GRID)
    columns = slice(*np.rint((np.array([3.2, 3.6]) - grid.origin_xy[0]) / 0.05).astype(int))
    assert not (grid.cells[:, columns] >= 50).any()


def test_a_thing_that_was_carried_away_is_cleared_by_the_next_submap():
    with_box, without = hall(((2.0, -0.5, 0.0), (2.6, 0.5, 0.7))), hall()
    poses = [look((0.02 * i, 0.0, 1.2), 0.0, 0.2) for i in range(24)]
    before = cast_views([view(with_box, pose) for pose in poses], 0.0, GRID)
    after = cast_views([view(without, pose) for pose in poses], 0.0, GRID)
    newest = poses[-1][:2, 3]
    assert at(add_up([before] * 5, newest, GRID), 2.02, 0.0) == 100
    assert at(add_up([before] * 5 + [after], newest, GRID), 2.02, 0.0) <= FREE_TO
    assert at(add_up([after] * 5 + [before], newest, GRID), 2.02, 0.0) >= OCCUPIED_FROM


def test_a_large_map_is_cropped_around_the_newest_keyframe_and_says_so(caplog):
    small = replace(GRID, max_cells=3600)
    views = [view(hall(), look((0.0, 3.0 * i, 1.2), 0.0)) for i in range(5)]
    patches = [cast_views([each], 0.0, GRID) for each in views]
    whole = add_up(patches, views[-1].T_map_camera[:2, 3], GRID)
    assert whole.cells.size > 3600
    with caplog.at_level(logging.WARNING):
        grid = add_up(patches, views[-1].T_map_camera[:2, 3], small)
    assert "grid.max_cells" in caplog.text
    assert 3000 < grid.cells.size <= 3600
    assert 0 <= at(grid, 1.5, 12.0) == at(whole, 1.5, 12.0) < 50
    assert 0 <= at(whole, 1.5, 0.0) < 50
    assert at(grid, 1.5, 0.0) == -1
    assert cast_views(views, 0.0, small).log_odds[0].size <= 3600


def test_without_views_the_grid_is_empty():
    assert build_grid([], 0.0, GRID).cells.size == 0


def small_map(world: World, robot: Robot = UNKNOWN_ROBOT, **values: object) -> Map:
    settings: Config = build_config(
        SETTINGS | {key.replace("__", "."): value for key, value in values.items()}
    )
    return fed(Map(settings), world, TruthPredictor(world), robot)


def test_there_is_no_grid_without_scale_unless_it_is_asked_for():
    world = make_world(walk(18))
    mapped = small_map(world)
    assert "scale" in mapped.why_no_grid()
    assert mapped.grid() is None
    assert mapped.obstacles() is None
    mapped = small_map(world, publish_unscaled=True)
    assert mapped.why_no_grid() == ""
    assert mapped.grid().cells.size > 0


def test_there_is_no_grid_without_ground():
    upward = make_world(np.stack([look((0.1 * i, 0.0, 1.4), 0.1 * i, -1.2) for i in range(12)]))
    mapped = small_map(upward, publish_unscaled=True)
    assert "ground" in mapped.why_no_grid()
    assert mapped.grid() is None
    assert Map(build_config({})).why_no_grid() == "nothing is mapped yet"


def test_a_standing_robot_adds_nothing_and_a_correction_moves_the_grid(in_house):
    short = World(in_house.frames[:36], in_house.T_world_camera[:36], in_house.depth[:36])
    robot = TruthRobot(short, MOUNTS, odometry=OdometryErrors(0.0, 0.0, 0.0))
    mapped = small_map(short, robot)
    grid = mapped.grid()
    assert mapped.grid() is grid
    assert len(mapped.submaps) == 2
    for submap in mapped.submaps:
        shift = Sim3(1.0, np.eye(3), np.array([1.0, -0.5, 0.0]))
        submap.S_map_submap = shift @ submap.S_map_submap
    mapped.version += 1
    moved = mapped.grid()
    np.testing.assert_allclose(moved.origin_xy - grid.origin_xy, [1.0, -0.5], atol=1e-9)
    assert (moved.cells != grid.cells).mean() < 0.01


def test_obstacles_are_points_between_the_heights_that_were_seen_last(in_house, house_map):
    points = house_map.obstacles()
    assert points.dtype == np.float32
    assert points[:, 2].min() >= 0.1 and points[:, 2].max() <= 1.8
    assert len(np.unique(np.floor(points / 0.05), axis=0)) > 0.98 * len(points)
    newest = house_map.trajectory().T_map_camera[-16:, :3, 3]
    ranges = np.linalg.norm(points[:, None, :2] - newest[None, :, :2], axis=2).min(axis=1)
    assert ranges.max() <= 8.0
    T_world_map = in_house.T_world_camera[0] @ se3.inverse(MOUNTS["camera"])
    places = se3.transform_points(T_world_map, points.astype(float))
    boxes = np.array([[box.low, box.high] for box in house().boxes])
    low, high = boxes[:, 0], boxes[:, 1]
    outside = np.maximum(np.maximum(low - places[:, None], places[:, None] - high), 0)
    assert np.quantile(np.linalg.norm(outside, axis=2).min(axis=1), 0.95) < 0.1
