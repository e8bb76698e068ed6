"""What moved away fades from the cloud; what stands still stays."""

from dataclasses import replace

import numpy as np
import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.frame import Chunk
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.depth_sketch import sketch_depth
from flashvggt_ros.mapping.depth_view import DepthView
from flashvggt_ros.mapping.free_space import carve
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.robot import UNKNOWN_ROBOT, RobotState
from flashvggt_ros.worlds import (
    PINHOLE,
    Scenery,
    TruthPredictor,
    World,
    furnished_room,
    look,
    mount,
    photograph,
    roaming,
)
from flashvggt_ros.worlds.floor_plan import FloorPlan

LOW, HIGH = np.array([1.6, -0.3, 0.0]), np.array([2.1, 0.3, 1.5])
VOXEL = 0.05
UNKNOWN = RobotState.of(UNKNOWN_ROBOT, "camera", 0)
STILL = furnished_room()
SETTINGS = {"map.voxel_size": VOXEL, "gravity.source": "none"}


def with_box() -> Scenery:
    plan = FloorPlan(np.random.default_rng(5))
    return STILL.with_boxes([plan.add(tuple(LOW), tuple(HIGH))])


def towards_box(count: int, y: float = 0.0) -> np.ndarray:
    return np.stack([look((-1.5 + 0.05 * i, y + 0.03 * i, 1.2), -0.01 * i) for i in range(count)])


TWICE = np.concatenate([towards_box(12), towards_box(12, -0.3)])


def seen(
    scenery: Scenery, poses: np.ndarray, noise: float = 0.03
) -> tuple[list[DepthView], np.ndarray]:
    """Views from poses and the points (M, 3) in the world that their images show."""
    views, points = [], []
    for number, T_world_camera in enumerate(poses):
        depth = scenery.render(T_world_camera, PINHOLE)[1]
        rng = np.random.default_rng(number)
        depth *= 1 + noise * rng.standard_normal(depth.shape, np.float32)
        sketch = sketch_depth(depth, np.ones_like(depth), PINHOLE, 0.0)
        views.append(DepthView.of(sketch, T_world_camera, 1.0))
        points.append(se3.transform_points(T_world_camera, PINHOLE.backproject(depth)))
    return views, np.concatenate([each.reshape(-1, 3) for each in points])


def on_box(points: np.ndarray, reach: float = 0.12) -> np.ndarray:
    is_in = ((points > LOW - reach) & (points < HIGH + reach)).all(axis=1)
    return is_in & (points[:, 2] > 0.25)


def world(sceneries: list[Scenery], poses: np.ndarray) -> World:
    """Frames whose places are seen one after the other: as many of each scenery."""
    count = len(poses) // len(sceneries)
    parts = [
        photograph(scenery, poses[i * count : (i + 1) * count], {"camera": np.eye(4)})
        for i, scenery in enumerate(sceneries)
    ]
    frames = [
        replace(frame, stamp_ns=1_000_000_000 * number)
        for number, frame in enumerate(frame for part in parts for frame in part.frames)
    ]
    return World(tuple(frames), poses, np.concatenate([part.depth for part in parts]))


def cloud_in_world(seen_world: World, per_submap: int) -> np.ndarray:
    """Points (M, 3) of the map, in chunks of six, in the world's frame and scale."""
    mapped, predictor = Map(build_config(SETTINGS)), TruthPredictor(seen_world, depth_noise=0.02)
    for first in range(0, len(seen_world.frames), 6):
        frames = seen_world.frames[first : first + 6]
        if first % per_submap == 0:
            frames, cache = (*mapped.open_submap(), *frames), predictor.new_cache()
        chunk = Chunk(tuple(frames))
        mapped.integrate(chunk, predictor.predict(frames, cache), [UNKNOWN] * len(frames))
    mapped.open_submap()
    poses = mapped.trajectory().T_map_camera
    steps = [np.linalg.norm(p[-1, :3, 3] - p[0, :3, 3]) for p in (poses, seen_world.T_world_camera)]
    T_map_world = poses[0] @ se3.inverse(seen_world.T_world_camera[0])
    points = mapped.cloud()[0].astype(float)
    points = (points - poses[0, :3, 3]) * (steps[1] / steps[0]) + poses[0, :3, 3]
    return se3.transform_points(se3.inverse(T_map_world), points)


def test_a_static_world_keeps_its_points_in_spite_of_noise():
    poses = roaming(60) @ mount()
    _, points = seen(STILL, poses[:30])
    views, _ = seen(STILL, poses[30:])
    points = points[::5].astype(np.float32)
    is_kept = carve(points, views, VOXEL)
    assert (~is_kept).mean() < 0.005


def test_a_box_that_was_carried_away_is_carved_out():
    _, points = seen(with_box(), towards_box(6))
    views, _ = seen(STILL, towards_box(8, -0.3))
    is_kept = carve(points.astype(np.float32), views, VOXEL)
    is_box = on_box(points, 0.02)
    assert is_box.sum() > 1000
    assert is_kept[is_box].mean() < 0.1
    assert is_kept[~on_box(points, 0.5)].mean() > 0.995


def test_a_box_that_still_stands_stays():
    _, points = seen(with_box(), towards_box(6))
    views, _ = seen(with_box(), towards_box(8, -0.3))
    assert carve(points.astype(np.float32), views, VOXEL)[on_box(points)].mean() > 0.995


def test_one_view_that_looks_through_does_not_suffice_and_one_that_confirms_keeps():
    _, points = seen(with_box(), towards_box(4))
    points = points[on_box(points, 0.02)].astype(np.float32)
    empty, _ = seen(STILL, towards_box(8, -0.3))
    full, _ = seen(with_box(), towards_box(8, -0.3))
    assert carve(points, empty[:1], VOXEL).all()
    assert carve(points, empty[:2], VOXEL).mean() < 0.1
    assert carve(points, [*empty[:4], full[4]], VOXEL).mean() > 0.9
    assert carve(points, [*full[:4], *empty[4:]], VOXEL).mean() < 0.1
    assert carve(points, [], VOXEL).all()


def test_views_that_see_nothing_or_look_elsewhere_say_nothing():
    _, points = seen(with_box(), towards_box(4))
    points = points[on_box(points)].astype(np.float32)
    away = np.stack([look((0.0, 0.0, 1.2), np.pi + 0.1 * i) for i in range(4)])
    assert carve(points, seen(STILL, away)[0], VOXEL).all()
    blind = [replace(v, depth=np.zeros_like(v.depth), planes=np.zeros_like(v.planes))
             for v in seen(STILL, towards_box(4))[0]]
    assert carve(points, blind, VOXEL).all()


@pytest.fixture(scope="module")
def with_and_without() -> tuple[np.ndarray, np.ndarray]:
    """The clouds of a room where a box always stood, and where none ever did."""
    return tuple(cloud_in_world(world([place], TWICE), 12) for place in (with_box(), STILL))


@pytest.mark.parametrize("per_submap", [12, 24])
def test_the_cloud_forgets_what_was_carried_away(per_submap, with_and_without):
    always, never = with_and_without
    assert on_box(always).sum() > 200
    assert on_box(never).sum() == 0
    gone = cloud_in_world(world([with_box(), STILL], TWICE), per_submap)
    assert on_box(gone).sum() < 0.1 * on_box(always).sum()
    assert len(gone) > 0.97 * len(never)


def test_the_cloud_of_a_static_world_is_kept():
    poses = roaming(48) @ mount()
    settings = build_config(SETTINGS)
    still = world([STILL], poses)
    mapped, predictor = Map(settings), TruthPredictor(still, depth_noise=0.03)
    for first in range(0, 48, 12):
        frames = (*mapped.open_submap(), *still.frames[first : first + 12])
        prediction = predictor.predict(frames, predictor.new_cache())
        mapped.integrate(Chunk(frames), prediction, [UNKNOWN] * len(frames))
    mapped.open_submap()
    mapped.cloud()
    masks = mapped._drawing._map_cloud._is_kept.values()
    assert sum(len(mask) for mask in masks) > 10_000
    assert sum((~mask).sum() for mask in masks) < 0.005 * sum(len(mask) for mask in masks)
