"""Corridors, rooms that look alike, houses: the walks through them, and what is true of them."""

import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.worlds import (
    corridor_world,
    covisibility,
    drive,
    house,
    house_world,
    long_walk,
    lookalike_world,
    make_world,
    mount,
    roaming,
    signature,
    true_grid,
    walk,
)
from flashvggt_ros.worlds.furnished_room import HALF_X, HALF_Y
from flashvggt_ros.worlds.house import FREE, OCCUPIED, UNKNOWN


def test_a_path_goes_along_its_waypoints_in_even_steps_and_looks_ahead() -> None:
    poses = drive([(0.0, 0.0), (6.0, 0.0), (6.0, 5.0)], 0.25)
    steps = np.diff(poses[:, :3, 3], axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    assert (lengths < 0.2501).all() and lengths.min() > 0.22
    np.testing.assert_allclose(poses[10, :3, :3], np.eye(3), atol=1e-9)
    assert poses[-1, 1, 0] == pytest.approx(1.0)  # its x is the world's y
    turns = se3.rotation_angle((se3.inverse(poses[:-1]) @ poses[1:])[:, :3, :3])
    assert np.degrees(turns).max() < 30


def test_a_closed_path_ends_one_step_before_its_beginning() -> None:
    poses = drive([(0.0, 0.0), (6.0, 0.0), (6.0, 5.0), (0.0, 5.0)], 0.25, is_closed=True)
    places = np.concatenate([poses, poses[:1]])[:, :3, 3]
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() < 0.26


def test_the_corridor_is_60_m_long_and_its_end_shows_its_beginning() -> None:
    world = corridor_world(step=1.0)
    places = world.T_world_camera[:, :3, 3]
    assert 63 < np.linalg.norm(np.diff(places, axis=0), axis=1).sum() < 65
    assert world.depth.min() > 0.2
    np.testing.assert_allclose(world.T_world_camera[-1], world.T_world_camera[5], atol=1e-9)
    shares = covisibility(world)
    assert shares[-1, 5] > 0.95
    assert shares[-1, 20:40].max() < 0.05


def test_no_place_along_the_corridor_looks_like_another() -> None:
    world = corridor_world(step=1.0)
    signatures = np.stack([signature(frame.image) for frame in world.frames])
    alike = signatures @ signatures.T
    other = covisibility(world) < 0.02
    assert alike[-1, 5] > 0.999
    assert np.mean(np.where(other, alike, -1).max(axis=1) > 0.9) < 0.1


def test_other_rooms_look_as_much_alike_as_the_same_room_seen_again() -> None:
    world, lookalikes = lookalike_world(seed=1, visits=(0, 1, 2, 0), step=0.5)
    assert world.depth.min() > 0.2
    signatures = np.stack([signature(frame.image) for frame in world.frames])
    alike, shares = signatures @ signatures.T, covisibility(world)
    numbers = np.arange(len(alike))
    is_later = np.abs(numbers[:, None] - numbers) > 20
    is_same = (shares > 0.5) & is_later
    is_other = (lookalikes.cell[:, None] != lookalikes.cell) & (shares < 0.05)
    returns = is_same.any(axis=1)
    assert returns.mean() > 0.4
    best_same = np.where(is_same, alike, -1).max(axis=1)[returns]
    best_other = np.where(is_other, alike, -1).max(axis=1)[returns]
    assert best_other.mean() > best_same.mean() - 0.05
    images = [frame.image for frame in world.frames]
    differing = [np.any(images[0] != image) for image in images[20:]]
    assert all(differing)


def test_overlaid_walks_lie_in_the_first_ones_cell() -> None:
    world, lookalikes = lookalike_world(seed=0, visits=(0, 1), step=0.5)
    poses = world.T_world_camera
    first = [int(number) for number in np.flatnonzero(lookalikes.cell == 0)[8:12]]
    second = [int(number) for number in np.flatnonzero(lookalikes.cell == 1)[-12:-8]]
    frames = first + second
    overlaid = lookalikes.overlaid(frames, poses[frames])
    np.testing.assert_array_equal(overlaid[:4], poses[first])
    np.testing.assert_allclose(overlaid[4:, 0, 3], poses[second, 0, 3] - 5.0)
    whole = list(range(len(poses)))
    np.testing.assert_array_equal(lookalikes.overlaid(whole, poses), poses)


def test_the_grid_of_the_house_knows_rooms_and_nothing_behind_walls() -> None:
    scenery, world = house(), house_world(step=0.5)
    grid = true_grid(scenery, world, np.eye(4), 0.1, (0.1, 1.8))

    def cell(x: float, y: float) -> int:
        column, row = np.floor((np.array([x, y]) - grid.origin) / grid.resolution).astype(int)
        return int(grid.cells[row, column])

    for x, y in ((2.5, 2.2), (6.5, 1.5), (4.0, 3.6), (5.0, 5.5), (2.0, 5.5), (2.5, 3.0)):
        assert cell(x, y) == FREE
    for x, y in ((1.0, 0.43), (2.4, 1.5), (0.07, 3.6), (1.5, 2.93), (3.93, 5.5)):
        assert cell(x, y) == OCCUPIED
    for x, y in ((7.0, 5.5), (-0.1, 3.6), (8.2, 3.6), (5.0, -0.1)):
        assert cell(x, y) == UNKNOWN


def test_a_turned_grid_is_the_same_grid_turned() -> None:
    scenery, world = house(), house_world(step=1.0)
    quarter = se3.pose(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.zeros(3))  # (x,y)->(y,-x)
    grid = true_grid(scenery, world, np.eye(4), 0.1, (0.1, 1.8))
    turned = true_grid(scenery, world, quarter, 0.1, (0.1, 1.8))
    assert np.mean(np.rot90(grid.cells) != turned.cells) < 0.02


def test_a_long_walk_stays_in_its_room_and_renders_what_is_asked_for() -> None:
    world = long_walk(300)
    places = world.T_world_camera[:, :2, 3]
    assert (np.abs(places) < [HALF_X - 1, HALF_Y - 1]).all()
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert steps.min() > 0.2 and steps.max() < 0.26
    frames = [frame for frame, _ in zip(world.frames(), range(100), strict=False)]
    assert [frame.stamp_ns for frame in frames] == [s.stamp_ns for s in world.stamps[:100]]
    expected = world.place.render(world.T_world_camera[3], world.pinhole)[1]
    np.testing.assert_array_equal(world.depth_images([3, 99])[0], expected)


def test_a_roaming_robot_never_stops_roaming() -> None:
    poses = roaming(2000) @ mount()
    assert np.ptp(poses[1900:, 0, 3]) > 1
    assert len(np.unique(np.round(poses[:, :2, 3], 3), axis=0)) > 500


def test_depth_images_are_copies() -> None:
    world = make_world(walk(2))
    world.depth_images([0])[:] = 0
    assert (world.depth > 0).all()
