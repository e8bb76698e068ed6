"""A robot finds itself in a map that was saved, follows its way in it, or goes on mapping."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3, align_points
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.trails import paths
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import (
    Drift,
    OdometryErrors,
    TruthPredictor,
    TruthRobot,
    World,
    furnished_room,
    held_bytes,
    mount,
    photograph,
    roaming,
)

SETTINGS = {
    "map.voxel_size": 0.1, "keyframe.min_motion": 0.0, "chunk.max_wait": 60.0,
    "submap.max_frames": 16, "bundle_adjustment.enabled": False,
}  # fmt: skip
CONFIG = build_config(SETTINGS)
LOCALIZE = build_config(SETTINGS | {"mode": "localization"})
MODEL = MapModel("truth", "0" * 64, "")
MOUNTS = {"camera": mount(pitch=0.1)}
SMALL = Pinhole(60.0, 60.0, 47.5, 35.5, 96, 72)
NEAR = 0.1  # [m]
STRAIGHT = np.radians(5.0)
PATH = roaming(400, 0.2)
LATER_NS = 10**15
Run = tuple[Slam[Any], list[MapUpdate]]


def world_of(T_world_base: np.ndarray, seed: int = 0) -> World:
    return photograph(furnished_room(seed), T_world_base, MOUNTS, pinhole=SMALL)


def later(world: World) -> World:
    frames = tuple(replace(frame, stamp_ns=frame.stamp_ns + LATER_NS) for frame in world.frames)
    return replace(world, frames=frames)


def both(one: World, other: World) -> World:
    return World(
        one.frames + other.frames,
        np.concatenate([one.T_world_camera, other.T_world_camera]),
        np.concatenate([one.depth, other.depth]),
    )


FIRST = world_of(PATH[:56])


def returned(
    saved: Path, world: World, config: Config = LOCALIZE, drift: Drift | None = None,
    robot: TruthRobot | None = None,
) -> Slam[Any]:
    """Wake up somewhere with the saved map."""
    predictor = TruthPredictor(
        both(FIRST, world), depth_noise=0.02, pose_noise=0.002, drift=drift, seed=7
    )
    slam = Slam(config, predictor, robot) if robot else Slam(config, predictor)
    slam.load_map(saved, MODEL)
    return slam


def follow(slam: Slam[Any], world: World) -> list[MapUpdate]:
    updates = [slam.add_frame(frame) for frame in world.frames]
    updates.append(slam.flush())
    return [update for update in updates if update]


def errors(updates: list[MapUpdate], world: World, S_world_map: Sim3) -> tuple[float, float]:
    """Largest error of place [m] and rotation [rad] of poses as they were published."""
    index = {stamp: number for number, stamp in enumerate(world.stamps)}
    stamps = [stamp for update in updates for stamp in update.new]
    T_world_camera = S_world_map.transform_pose(np.concatenate([u.T_map_camera for u in updates]))
    truth = world.T_world_camera[[index[stamp] for stamp in stamps]]
    turns = se3.rotation_angle(np.swapaxes(truth[:, :3, :3], 1, 2) @ T_world_camera[:, :3, :3])
    places = np.linalg.norm(truth[:, :3, 3] - T_world_camera[:, :3, 3], axis=1)
    return float(places.max()), float(turns.max())


@pytest.fixture(scope="module")
def mapped() -> tuple[Slam[Any], Sim3]:
    """A room mapped with a robot's odometry, and S_world_map."""
    robot = TruthRobot(FIRST, MOUNTS, odometry=OdometryErrors())
    slam = Slam(CONFIG, TruthPredictor(FIRST, depth_noise=0.02, pose_noise=0.002), robot)
    follow(slam, FIRST)
    slam.finish()
    places = slam.map.trajectory().T_map_camera[:, :3, 3]
    S_world_map = align_points(places, FIRST.T_world_camera[:, :3, 3], np.ones(len(places)))
    return slam, S_world_map


@pytest.fixture(scope="module")
def saved(mapped: tuple[Slam[Any], Sim3], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "room"
    save_map(folder, mapped[0].map, CONFIG, MODEL)
    return folder


@pytest.fixture(scope="module")
def S_world_map(mapped: tuple[Slam[Any], Sim3]) -> Sim3:
    return mapped[1]


@pytest.fixture(scope="module")
def again() -> World:
    """Forty images in the known part of the room, ten centimeters beside the first way."""
    path = PATH[8:48].copy()
    path[:, :2, 3] += 0.1
    return later(world_of(path))


@pytest.fixture(scope="module")
def elsewhere() -> World:
    return later(world_of(PATH[:24], seed=3))


@pytest.fixture(scope="module")
def localized(saved: Path, again: World) -> Run:
    slam = returned(saved, again, drift=Drift(frames=14))
    return slam, follow(slam, again)


def test_the_first_chunk_already_tells_where_the_robot_is(
    localized: Run, again: World, S_world_map: Sim3
) -> None:
    slam, updates = localized
    assert slam.map.is_localized
    assert updates[0].is_joined
    place, turn = errors(updates[:1], again, S_world_map)
    assert place < NEAR and turn < STRAIGHT
    assert len(updates[0].points_map) > 100


def test_it_follows_its_way_through_submaps_that_drift(
    localized: Run, again: World, S_world_map: Sim3
) -> None:
    _, updates = localized
    assert updates[-1].submap - updates[0].submap >= 3
    place, turn = errors(updates, again, S_world_map)
    assert place < NEAR and turn < STRAIGHT


def test_the_chunk_lies_on_the_walls_that_the_map_shows(localized: Run, saved: Path) -> None:
    slam, updates = localized
    known, _ = slam.map.cloud()
    for points in (updates[0].points_map, updates[-1].points_map):
        nearest, _ = cKDTree(known).query(points[::50])
        assert np.median(nearest) < 0.1


def test_localization_does_not_extend_the_map(localized: Run, saved: Path, tmp_path: Path) -> None:
    slam, _ = localized
    fresh = Slam(LOCALIZE, slam.predictor)
    fresh.load_map(saved, MODEL)
    np.testing.assert_array_equal(slam.map.cloud()[0], fresh.map.cloud()[0])
    assert slam.map.grid() is not None
    np.testing.assert_array_equal(slam.map.grid().cells, fresh.map.grid().cells)
    save_map(tmp_path / "a", slam.map, LOCALIZE, MODEL)
    names = ("submaps.npz", "keyframes.npz", "clouds.npz", "manifest.json")
    assert all((tmp_path / "a" / n).read_bytes() == (saved / n).read_bytes() for n in names)


def test_localization_for_a_long_time_takes_no_more_memory(saved: Path) -> None:
    world = later(world_of(np.concatenate([PATH[8:48], PATH[8:48]])))
    slam, sizes = returned(saved, world), []
    for number, frame in enumerate(world.frames):
        slam.add_frame(frame)
        if number % 40 == 39:
            known = slam.loop_closer._index, slam.loop_closer._submaps
            sizes.append(held_bytes((slam.map, known)))
    assert slam.map.is_localized
    assert slam.map.forgotten > 4
    assert sizes[1] < 1.02 * sizes[0]
    assert len(slam.map.layout.graph.poses) < len(load_map(saved, MODEL).submaps) + 5


def test_a_room_that_is_not_on_the_map_is_not_taken_for_it(saved: Path, elsewhere: World) -> None:
    slam = returned(saved, elsewhere)
    updates = follow(slam, elsewhere)
    assert not slam.map.is_localized
    assert not any(update.is_joined for update in updates[:1])
    assert slam.map.obstacles() is None


def test_what_is_mapped_before_the_robot_knows_where_it_is_is_no_part_of_the_map(
    saved: Path, elsewhere: World
) -> None:
    slam = returned(saved, elsewhere, CONFIG)
    before = slam.map.cloud()[0]
    follow(slam, elsewhere)
    np.testing.assert_array_equal(slam.map.cloud()[0], before)
    assert len(slam.map.snapshot().submaps) == len(load_map(saved, MODEL).submaps)
    assert len(slam.map.trajectory().frames) == len(elsewhere.frames)


def test_mapping_goes_on_in_a_loaded_map_that_stays_where_it_is(
    saved: Path, S_world_map: Sim3, tmp_path: Path
) -> None:
    world = later(world_of(PATH[40:80]))
    robot = TruthRobot(world, MOUNTS, odometry=OdometryErrors(), seed=2)
    slam = returned(saved, world, CONFIG, robot=robot)
    follow(slam, world)
    slam.finish()
    assert slam.map.is_localized
    place, turn = errors([as_update(slam)], world, S_world_map)
    assert place < NEAR and turn < STRAIGHT
    save_map(tmp_path / "more", slam.map, CONFIG, MODEL)
    old, new = load_map(saved, MODEL), load_map(tmp_path / "more", MODEL)
    assert new.end > old.end + 2
    for one, other in zip(paths(old.submaps, ()), paths(new.submaps, new.trails), strict=False):
        np.testing.assert_allclose(one.T_map_camera, other.T_map_camera, atol=1e-9)
    assert len(slam.map.cloud()[0]) > 1.02 * len(old_cloud(saved))


def as_update(slam: Slam[Any]) -> MapUpdate:
    """The trajectory as the map has it now."""
    trajectory = slam.map.trajectory()
    empty = np.zeros((0, 3))
    return MapUpdate(
        trajectory.frames, trajectory.T_map_camera, empty.astype(np.float32),
        empty.astype(np.uint8), 0, True,
    )


def old_cloud(saved: Path) -> np.ndarray:
    slam = Slam(CONFIG, TruthPredictor(FIRST))
    slam.load_map(saved, MODEL)
    return slam.map.cloud()[0]


ONE_CHECK = build_config(SETTINGS | {"mode": "localization", "loop.candidates": 1})
SIGMAS = np.array([0.1, 0.1, 0.2, 0.3, 0.3, 0.1])


def T_map_base(world: World, number: int, S_world_map: Sim3) -> np.ndarray:
    T_world_base = world.T_world_camera[number] @ se3.inverse(MOUNTS["camera"])
    return S_world_map.inverse().transform_pose(T_world_base)


def test_with_an_initial_pose_one_check_suffices(
    saved: Path, again: World, S_world_map: Sim3
) -> None:
    part = replace(again, frames=again.frames[:8])
    robot = TruthRobot(again, MOUNTS, odometry=OdometryErrors())
    alone = returned(saved, again, ONE_CHECK, robot=robot)
    follow(alone, part)
    assert not alone.map.is_localized
    told = returned(saved, again, ONE_CHECK, robot=robot)
    guess = T_map_base(again, 0, S_world_map)
    guess[:2, 3] += 0.2
    told.set_initial_pose(guess, SIGMAS)
    updates = follow(told, part)
    assert told.map.is_localized
    place, turn = errors(updates, again, S_world_map)
    assert place < NEAR and turn < STRAIGHT


def test_until_it_is_confirmed_the_robot_is_where_someone_said(
    saved: Path, elsewhere: World
) -> None:
    robot = TruthRobot(elsewhere, MOUNTS, odometry=OdometryErrors())
    slam = returned(saved, elsewhere, robot=robot)
    guess = se3.pose(np.eye(3), np.array([1.0, 2.0, 0.0]))
    slam.set_initial_pose(guess, SIGMAS)
    updates = follow(slam, replace(elsewhere, frames=elsewhere.frames[:8]))
    expected = guess @ MOUNTS["camera"]  # but for what gravity says
    np.testing.assert_allclose(updates[0].T_map_camera[0, :3, 3], expected[:3, 3], atol=1e-6)
    np.testing.assert_allclose(updates[0].T_map_camera[0], expected, atol=0.01)
    assert not slam.map.is_localized


def test_a_wrong_initial_pose_is_not_confirmed(
    saved: Path, again: World, S_world_map: Sim3
) -> None:
    robot = TruthRobot(again, MOUNTS, odometry=OdometryErrors())
    slam = returned(saved, again, robot=robot)
    guess = T_map_base(again, 0, S_world_map)
    guess[0, 3] += 20.0
    slam.set_initial_pose(guess, SIGMAS)
    follow(slam, replace(again, frames=again.frames[:8]))
    assert not slam.map.is_localized
    slam.set_initial_pose(T_map_base(again, 8, S_world_map), SIGMAS)
    updates = follow(slam, replace(again, frames=again.frames[8:24]))
    assert slam.map.is_localized
    place, turn = errors(updates, again, S_world_map)
    assert place < NEAR and turn < STRAIGHT


def test_images_of_another_size_than_the_maps_are_said_to_be_the_reason(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = later(photograph(furnished_room(), PATH[:8], MOUNTS,
                             pinhole=Pinhole(80.0, 80.0, 63.5, 47.5, 128, 96)))
    slam = Slam(LOCALIZE, TruthPredictor(world))
    slam.load_map(saved, MODEL)
    follow(slam, world)
    assert not slam.map.is_localized
    assert "as 128x96, those of the loaded map as 96x72" in caplog.text
    assert "predictor.width" in caplog.text


def test_an_initial_pose_needs_a_map_and_a_pose(saved: Path) -> None:
    slam = Slam(CONFIG, TruthPredictor(FIRST))
    with pytest.raises(ValueError, match="no map is loaded"):
        slam.set_initial_pose(np.eye(4), SIGMAS)
    slam.load_map(saved, MODEL)
    for T, sigmas in ((np.eye(3), SIGMAS), (np.full((4, 4), np.nan), SIGMAS),
                      (np.eye(4), 0 * SIGMAS), (np.eye(4), SIGMAS[:3])):
        with pytest.raises(ValueError, match="initial pose"):
            slam.set_initial_pose(T, sigmas)


def test_reset_comes_back_to_the_loaded_map(saved: Path, again: World) -> None:
    slam = returned(saved, again, CONFIG)
    before = slam.map.cloud()[0]
    follow(slam, replace(again, frames=again.frames[:16]))
    slam.reset()
    assert not slam.map.is_localized
    np.testing.assert_array_equal(slam.map.cloud()[0], before)
    follow(slam, replace(again, frames=again.frames[:8]))
    assert slam.map.is_localized


def test_a_map_that_cannot_be_loaded_changes_nothing(saved: Path, tmp_path: Path) -> None:
    slam = Slam(CONFIG, TruthPredictor(FIRST))
    follow(slam, replace(FIRST, frames=FIRST.frames[:8]))
    with pytest.raises(ValueError, match="was saved with the model"):
        slam.load_map(saved, MapModel("other", "1" * 64, ""))
    with pytest.raises(FileNotFoundError):
        slam.load_map(tmp_path / "none", MODEL)
    assert slam.map.frames == 8
    assert slam.map.is_localized
