"""The map becomes metric and level by what robot and ground say, and stays as small as a place."""

from dataclasses import replace

import numpy as np
import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import align_points
from flashvggt_ros.mapping.graph_measurements import nodes_of
from flashvggt_ros.robot import UNKNOWN_ROBOT, Robot
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import (
    Drift,
    OdometryErrors,
    TruthPredictor,
    TruthRobot,
    World,
    corridor_world,
    held_bytes,
    make_world,
    mount,
    walk,
)

# Bundle adjustment on true images would undo the drift that is given to the predictions.
SMALL = {
    "bundle_adjustment.enabled": False, "map.voxel_size": 0.1, "keyframe.min_motion": 0.0,
    "chunk.max_wait": 60.0,
}
TINY = Pinhole(40.0, 40.0, 31.5, 23.5, 64, 48)


@pytest.fixture(scope="module")
def corridor() -> World:
    return corridor_world(length=24.0, further=0.0, step=0.25)


def mapped(world: World, robot: Robot = UNKNOWN_ROBOT, drift: Drift | None = None,
           **values: object) -> Slam:
    settings = build_config(SMALL | {k.replace("__", "."): v for k, v in values.items()})
    slam = Slam(settings, TruthPredictor(world, depth_noise=0.02, drift=drift), robot)
    for frame in world.frames:
        slam.add_frame(frame)
    slam.flush()
    return slam


def true_over_mapped(slam: Slam, world: World) -> float:
    """True lengths over those of the map."""
    number = {stamp: i for i, stamp in enumerate(world.stamps)}
    trajectory = slam.map.trajectory()
    true = world.T_world_camera[[number[frame] for frame in trajectory.frames], :3, 3]
    return align_points(trajectory.T_map_camera[:, :3, 3], true, np.ones(len(true))).scale


def up_error_deg(slam: Slam, world: World) -> float:
    """Largest angle between the map's z and the true up, over all keyframes."""
    number = {stamp: i for i, stamp in enumerate(world.stamps)}
    trajectory = slam.map.trajectory()
    up_camera = [world.T_world_camera[number[frame], 2, :3] for frame in trajectory.frames]
    up_map = np.einsum("kij,kj->ki", trajectory.T_map_camera[:, :3, :3], np.array(up_camera))
    return float(np.degrees(np.arccos(np.clip(up_map[:, 2], -1, 1)).max()))


def test_odometry_makes_the_map_metric_in_spite_of_slip_and_bending(corridor):
    robot = TruthRobot(corridor, {"camera": mount()}, odometry=OdometryErrors())
    slam = mapped(corridor, robot, Drift())
    assert slam.map.layout.scale_estimate.source == "odometry"
    assert true_over_mapped(slam, corridor) == pytest.approx(1, abs=0.03)


def test_without_any_source_the_map_is_not_metric(corridor):
    slam = mapped(corridor)
    assert slam.map.layout.scale_estimate is None
    assert abs(np.log(true_over_mapped(slam, corridor))) > 0.05


def test_a_fixed_scale_ignores_the_odometry(corridor):
    robot = TruthRobot(corridor, {"camera": mount()}, odometry=OdometryErrors())
    slam = mapped(corridor, robot, scale__source="fixed")
    assert slam.map.layout.scale_estimate is None


def test_the_map_begins_where_the_base_is_and_z_is_up():
    world = corridor_world(length=24.0, further=0.0, mounts={"camera": mount(1.1, pitch=0.5)})
    robot = TruthRobot(world, {"camera": mount(1.1, pitch=0.5)}, odometry=OdometryErrors(0, 0, 0))
    slam = mapped(world, robot)
    np.testing.assert_allclose(
        slam.map.trajectory().T_map_camera[0], mount(1.1, pitch=0.5), atol=1e-3
    )
    assert up_error_deg(slam, world) < 2


@pytest.mark.parametrize("pitch_deg", [0, 15, 30])
def test_the_floor_says_what_is_up_where_nothing_else_does(pitch_deg):
    pitch = np.radians(pitch_deg)
    world = corridor_world(length=24.0, further=0.0, mounts={"camera": mount(1.2, pitch=pitch)})
    slam = mapped(world)
    assert slam.map.layout.up.source == "ground"
    assert up_error_deg(slam, world) < 2


def test_a_place_seen_again_and_again_takes_no_more_memory_nor_submaps():
    world = make_world(np.concatenate([walk(60)] * 4), pinhole=TINY)
    slam = Slam(
        build_config(SMALL | {"submap.max_frames": 12, "chunk.size": 4}), TruthPredictor(world)
    )
    sizes, kept, factors = [], [], []
    for number, frame in enumerate(world.frames):
        slam.add_frame(frame)
        if number % 60 == 59:
            closer = slam.loop_closer
            sizes.append(held_bytes((slam.map, closer._index, closer._submaps)))
            kept.append(len(slam.map.submaps))
            factors.append(len(slam.map.layout.graph.factors))
    assert sizes[3] < 1.15 * sizes[1]
    assert kept[3] <= kept[1] + 1 < 0.5 * slam.map.live.index
    assert factors[3] <= factors[1] + 4
    assert slam.map.layout.graph.nodes == tuple(submap.index for submap in slam.map.submaps)
    last_loop = slam.map.layout.last_loop_ns
    assert last_loop in {stamp.stamp_ns for stamp in world.stamps[60:]}
    trajectory = slam.map.trajectory()
    assert trajectory.frames == world.stamps
    places = world.T_world_camera[:, :3, 3]
    S_world_map = align_points(trajectory.T_map_camera[:, :3, 3], places, np.ones(len(places)))
    offsets = S_world_map.transform_points(trajectory.T_map_camera[:, :3, 3]) - places
    assert np.linalg.norm(offsets, axis=1).max() < 0.01


def noisy(world: World) -> list[Frame]:
    """The frames of a world with the noise of a sensor."""
    rng = np.random.default_rng(0)
    return [
        replace(frame, image=np.clip(frame.image + rng.normal(0, 3, frame.image.shape), 0, 255)
                .astype(np.uint8))
        for frame in world.frames
    ]


@pytest.mark.parametrize("min_motion", [None, 0.0])
def test_a_robot_that_stands_still_adds_nothing(min_motion):
    there = walk(60)[:24]
    world = make_world(np.concatenate([there, np.repeat(there[-1:], 96, axis=0)]), pinhole=TINY)
    values = SMALL | {"submap.max_frames": 12, "chunk.size": 4, "keyframe.min_motion": min_motion}
    if min_motion is None:  # the default: what shows nothing new is no keyframe
        del values["keyframe.min_motion"]
    slam = Slam(build_config(values), TruthPredictor(world))
    sizes, kept = [], []
    for number, frame in enumerate(noisy(world)):
        slam.add_frame(frame)
        if number in (23, 71, 119):
            sizes.append(held_bytes(slam.map))
            kept.append(len(slam.map.submaps))
    assert slam.gated >= 96 if min_motion is None else slam.keyframes == 120
    assert kept[2] == kept[1]
    assert sizes[2] - sizes[1] < 48 * 200  # poses and stamps at most
    if min_motion is None:
        assert sizes[2] == sizes[0]


@pytest.mark.parametrize("is_torn", [False, True])
def test_submaps_replace_others_only_where_it_is_certain_how_they_lie(is_torn):
    world = make_world(np.concatenate([walk(60)] * 2), pinhole=TINY)
    values = SMALL | {"submap.max_frames": 12, "chunk.size": 4, "loop.enabled": not is_torn}
    slam = Slam(build_config(values), TruthPredictor(world))
    for frame in world.frames[:72]:
        slam.add_frame(frame)
    before, graph = {submap.index for submap in slam.map.submaps}, slam.map.layout.graph
    for number, factor in graph.factors.items():
        if is_torn and slam.map.live.index not in nodes_of(factor):
            graph.remove(number)
    for frame in world.frames[72:]:
        slam.add_frame(frame)
    assert before <= {submap.index for submap in slam.map.submaps} or not is_torn
    assert before - {submap.index for submap in slam.map.submaps} or is_torn


def test_what_only_older_submaps_show_is_kept():
    there = walk(60)
    world = make_world(there[:36])
    slam = Slam(
        build_config(SMALL | {"submap.max_frames": 12, "chunk.size": 4}), TruthPredictor(world)
    )
    for frame in world.frames:
        slam.add_frame(frame)
    assert len(slam.map.submaps) == slam.map.live.index + 1
    assert all(submap.keyframes for submap in slam.map.submaps[:-1])
