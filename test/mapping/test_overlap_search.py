"""Submaps that show the same surfaces are laid on each other; others are left alone."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.chunk_cloud import voxels_camera
from flashvggt_ros.mapping.graph_measurements import seen_from
from flashvggt_ros.mapping.keyframe import keyframes_of
from flashvggt_ros.mapping.overlap_registration import SurfaceCloud, register, surface_cloud
from flashvggt_ros.mapping.overlap_search import OverlapSearch
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.robot import RobotState
from flashvggt_ros.worlds import TruthPredictor, World, house_world, make_world, mount, walk

CONFIG = build_config({"map.voxel_size": 0.1})
NO_ROBOT = RobotState(None, None, None, None)


@pytest.fixture(scope="module")
def world() -> World:
    return house_world(mounts={"camera": mount(pitch=0.1)})


def seen(
    world: World, numbers: range, index: int, noise: float = 0.01, **errors: Any
) -> Submap:
    """A closed submap of some frames, where it lies in the world."""
    predictor = TruthPredictor(world, depth_noise=noise, seed=index, **errors)
    frames = tuple(world.frames[i] for i in numbers)
    prediction = predictor.predict(frames, predictor.new_cache())
    submap = Submap(index, 0, (), Sim3(1.0, np.eye(3), np.zeros(3)))
    submap.extend(frames, prediction, [NO_ROBOT] * len(frames))
    submap.add_keyframes(keyframes_of(frames, prediction, 0.0))
    truth = world.T_world_camera[list(numbers)]
    steps = [np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
             for poses in (truth, submap.T_submap_camera)]
    to_camera = Sim3.from_pose(se3.inverse(submap.T_submap_camera[0]), 1.0)
    scale = steps[0] / steps[1]
    submap.S_map_submap = Sim3.from_pose(truth[0], scale) @ to_camera
    submap.add_points(
        [voxels_camera(prediction, i, CONFIG.map, scale) for i in range(len(frames))]
    )
    submap.close(0.1 / scale)
    return submap


def nudge(size: float) -> Sim3:
    """A similarity that turns by ``size`` rad, moves by 4 and stretches by half as much."""
    turn = Rotation.from_rotvec([0, 0, size]).as_matrix()
    return Sim3(1 + size / 2, turn, np.array([3 * size, -2 * size, size]))


def offset(S_true: Sim3, S_found: Sim3, places: np.ndarray) -> float:
    """How far two similarities put places apart, root mean square."""
    away = S_true.transform_points(places) - S_found.transform_points(places)
    return float(np.sqrt((away**2).sum(axis=1).mean()))


def test_two_looks_at_a_room_are_laid_on_each_other(world: World) -> None:
    first, second = seen(world, range(14, 30), 0), seen(world, range(24, 38), 1)
    S_true = first.S_map_submap.inverse() @ second.S_map_submap
    clouds = surface_cloud(first), surface_cloud(second)
    places, scale = clouds[1].points, first.S_map_submap.scale
    for size in (0.0, 0.02, -0.02):
        S_guess = first.S_map_submap.inverse() @ nudge(size) @ second.S_map_submap
        found = register(*clouds, S_guess, CONFIG.loop)
        assert found is not None
        assert found.share > 0.3
        assert scale * offset(S_true, found.S_first_second, places) < 0.02
        np.linalg.cholesky(found.covariance)
    assert scale * offset(S_true, S_guess, places) > 0.05


def test_noise_and_outliers_make_neither_submap_shrink() -> None:
    walked = make_world(walk(60))
    growths = []
    for begin in range(0, 40, 4):
        ranges = range(begin, begin + 16), range(begin + 12, begin + 20)
        first, second = (
            seen(walked, r, begin + n, noise=0.02, outliers=0.3) for n, r in enumerate(ranges)
        )
        S_true = first.S_map_submap.inverse() @ second.S_map_submap
        S_guess = first.S_map_submap.inverse() @ nudge(0.02) @ second.S_map_submap
        found = register(surface_cloud(first), surface_cloud(second), S_guess, CONFIG.loop)
        if found is not None:
            growths.append(np.log(found.S_first_second.scale / S_true.scale))
    assert len(growths) >= 8
    assert abs(np.mean(growths)) < 0.005


def test_growth_between_the_ages_at_which_surfaces_were_seen_is_not_held(world: World) -> None:
    first, second = seen(world, range(14, 30), 0), seen(world, range(24, 38), 1)
    S_guess = first.S_map_submap.inverse() @ second.S_map_submap
    clouds = surface_cloud(first), surface_cloud(second)
    assert clouds[0].ages.min() == 0
    assert clouds[0].ages.max() == 1
    covariances = []
    for ages in ((0.5, 0.5), (1.0, 0.0)):
        aged = [seen_at_once(cloud, age) for cloud, age in zip(clouds, ages, strict=True)]
        found = register(aged[0], aged[1], S_guess, CONFIG.loop)
        assert found is not None
        covariances.append(found.covariance)
    eye = found.S_first_second.transform_points(aged[1].eyes[0])
    at_eye = seen_from(eye - found.S_first_second.translation)
    expected = np.zeros((7, 7))
    expected[6, 6] = CONFIG.loop.scale_drift**2
    added = at_eye @ (covariances[1] - covariances[0]) @ at_eye.T
    np.testing.assert_allclose(added, expected, atol=1e-9)


def seen_at_once(cloud: SurfaceCloud, age: float) -> SurfaceCloud:
    """The same surfaces, all seen from one place at one age."""
    eyes = np.broadcast_to(cloud.eyes.mean(axis=0), cloud.eyes.shape)
    return replace(cloud, eyes=eyes, ages=np.full(len(cloud.ages), age))


def test_normals_face_the_camera_and_points_lie_on_walls(world: World) -> None:
    submap = seen(world, range(14, 30), 0, noise=0.0)
    cloud = surface_cloud(submap)
    assert len(cloud.points) > 500
    centers = submap.T_submap_camera[:, :3, 3]
    towards = centers[None] - cloud.points[:, None]
    assert ((towards * cloud.normals[:, None]).sum(axis=-1) > 0).any(axis=1).mean() > 0.99
    in_world = submap.S_map_submap.transform_points(cloud.points)
    on_floor = np.abs(in_world[:, 2]) < 0.03
    assert on_floor.mean() > 0.03
    assert np.median((submap.S_map_submap.rotation @ cloud.normals[on_floor].T)[2]) > 0.999


def test_other_rooms_and_far_guesses_are_refused(world: World) -> None:
    first, second = seen(world, range(14, 30), 0), seen(world, range(24, 38), 1)
    elsewhere = seen(world, range(60, 74), 2)
    S_first_other = first.S_map_submap.inverse() @ elsewhere.S_map_submap
    clouds = surface_cloud(first), surface_cloud(elsewhere)
    assert register(*clouds, S_first_other, CONFIG.loop) is None
    moved = Sim3(1.0, np.eye(3), np.array([0.0, 0.0, 1.2]))
    S_guess = first.S_map_submap.inverse() @ moved @ second.S_map_submap
    found = register(surface_cloud(first), surface_cloud(second), S_guess, CONFIG.loop)
    if found is not None:  # then it has stayed near the guess, not gone to where all fits
        S_moved = found.S_first_second @ S_guess.inverse()
        assert np.linalg.norm(S_moved.transform_points(np.zeros(3))) < 1.0


def graph_of(submaps: list[Submap], sigma: float) -> PoseGraph:
    """A chain of submaps whose joints are known with sigma, all seven numbers alike."""
    graph = PoseGraph()
    for submap in submaps:
        graph.add(submap.S_map_submap, submap.index)
    for a, b in pairwise(submaps):
        S_a_b = a.S_map_submap.inverse() @ b.S_map_submap
        graph.add_between(a.index, b.index, S_a_b, sigma**2 * np.eye(7), is_robust=False)
    return graph


def test_pairs_are_asked_once_and_only_where_they_certainly_lie(world: World) -> None:
    submaps = [seen(world, range(14, 30), 0), seen(world, range(24, 38), 1),
               seen(world, range(60, 74), 2)]
    search = OverlapSearch(CONFIG.loop)
    assert search.find(submaps, graph_of(submaps, 0.5)) == []
    certain = graph_of(submaps, 0.01)
    found = search.find(submaps, certain)
    assert [(overlap.first, overlap.second) for overlap in found] == [(0, 1)]
    assert search.find(submaps, certain) == []
    assert OverlapSearch(CONFIG.loop).find(submaps[2:], certain) == []


def test_a_submap_without_keyframes_has_no_surfaces() -> None:
    empty = Submap(0, 0, (), Sim3(1.0, np.eye(3), np.zeros(3)))
    cloud = surface_cloud(empty)
    assert len(cloud.points) == 0
    assert register(cloud, cloud, empty.S_map_submap, CONFIG.loop) is None
