"""Loops are found where a walk returns, they take the drift away, and look-alikes are refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from flashvggt_ros.config import LoopConfig
from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import with_drift
from flashvggt_ros.mapping.keyframe import keyframes_of
from flashvggt_ros.mapping.loop_closure import LoopCloser, expected_distance, verify_loop
from flashvggt_ros.mapping.loop_measurement import KeyframeGroup, measure_loop, relative_change
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import View
from flashvggt_ros.mapping.submap_alignment import align_submaps
from flashvggt_ros.worlds import (
    Drift,
    TruthPredictor,
    World,
    corridor_world,
    lookalike_world,
    make_world,
    walk,
)

SMALL = Pinhole(60.0, 60.0, 47.5, 35.5, 96, 72)
CONFIG = LoopConfig()
SIZE, OVERLAP = 22, 2
ERRORS = {"depth_noise": 0.02, "smooth_noise": 0.02, "pose_noise": 0.001}


@dataclass(slots=True)
class Chain:
    """Submaps of a world one after the other, what is known of each, and the loops found."""

    closer: LoopCloser
    graph: PoseGraph
    groups: list[KeyframeGroup]
    numbers: list[list[int]]
    S_world_submap: list[Sim3]
    loops: list[tuple[int, int]]
    errors: list[float]

    def gap(self, world: World, poses: Sequence[Sim3]) -> float:
        """Error of the last frame's place, with the first submap in its true place [m]."""
        last = poses[-1].transform_pose(self.groups[-1].T_submap_camera[-1])
        return float(np.linalg.norm(last[:3, 3] - world.T_world_camera[-1, :3, 3]))


def views(frames: Sequence[Frame], told: ChunkPrediction, part: slice) -> list[View]:
    columns = (frames, told.depth, told.confidence, told.cameras, told.T_submap_camera)
    return [View(*row) for row in list(zip(*columns, strict=True))[part]]


def follow(world: World, predictor: TruthPredictor, config: LoopConfig = CONFIG) -> Chain:
    """Chain submaps of a world, searching loops at the end of each."""
    chain = Chain(LoopCloser(config, predictor), PoseGraph(), [], [], [], [], [])
    shared_before: list[View] = []
    for node, start in enumerate(range(0, len(world.frames), SIZE)):
        numbers = list(range(max(0, start - OVERLAP), min(start + SIZE, len(world.frames))))
        frames, cache = [world.frames[i] for i in numbers], predictor.new_cache()
        told, shared = predictor.predict(frames, cache), start - numbers[0]
        chain.S_world_submap.append(cache.S_submap_world.inverse())
        if node:
            join = align_submaps(shared_before, views(frames, told, slice(shared)))
            covariance = with_drift(
                join.covariance, join.S_old_new, chain.groups[-1].T_submap_camera,
                config.rotation_drift, config.scale_drift,
            )  # fmt: skip
            chain.graph.add(chain.graph.poses[-1] @ join.S_old_new)
            chain.graph.add_between(node - 1, node, join.S_old_new, covariance, is_robust=False)
        else:
            chain.graph.add(chain.S_world_submap[0])
        shared_before = views(frames, told, slice(-OVERLAP, None))
        keyframes = tuple(keyframes_of(frames, told, 0.3))[shared:]
        chain.numbers.append(numbers[shared:])
        chain.groups.append(KeyframeGroup(keyframes, told.T_submap_camera[shared:]))
        chain.closer.add(node, chain.groups[-1])
        close(chain, node, world)
    return chain


def close(chain: Chain, node: int, world: World) -> None:
    for loop in chain.closer.find(node, chain.graph):
        number = chain.numbers[node][loop.candidate.query_keyframe]
        measured = loop.measurement
        moved = chain.S_world_submap[loop.match] @ measured.S_match_query
        place = (moved @ chain.S_world_submap[node].inverse()).transform_points(
            world.T_world_camera[number, :3, 3]
        )
        chain.errors.append(float(np.linalg.norm(place - world.T_world_camera[number, :3, 3])))
        chain.loops.append((loop.match, node))
        chain.graph.add_between(
            loop.match, node, measured.S_match_query, measured.covariance, is_robust=True
        )
    chain.graph.optimize()


@pytest.fixture(scope="module")
def corridor() -> World:
    return corridor_world(length=40.0, further=5.0, seed=1, pinhole=SMALL)


@pytest.fixture(scope="module")
def rooms() -> World:
    """Two rounds through a room."""
    return make_world(walk(72)[::2], pinhole=SMALL)


def groups_of(
    world: World, predictor: TruthPredictor, *parts: Sequence[int]
) -> tuple[list[KeyframeGroup], list[Sim3]]:
    """Submaps of some frames each, and their true S_world_submap."""
    groups, places = [], []
    for part in parts:
        cache, frames = predictor.new_cache(), [world.frames[i] for i in part]
        told = predictor.predict(frames, cache)
        groups.append(KeyframeGroup(tuple(keyframes_of(frames, told, 0.3)), told.T_submap_camera))
        places.append(cache.S_submap_world.inverse())
    return groups, places


def unjoined(nodes: int) -> PoseGraph:
    """Submaps of which nothing says how they lie to each other."""
    graph = PoseGraph()
    for _ in range(nodes):
        graph.add(Sim3.identity())
    return graph


def closer_of(
    predictor: TruthPredictor, known: KeyframeGroup, query: KeyframeGroup,
    config: LoopConfig = CONFIG,
) -> LoopCloser:
    """Remember a submap, number 0, and one to look for in it, number 4."""
    closer = LoopCloser(config, predictor)
    closer.add(0, known)
    closer.add(4, query)
    return closer


def test_a_corridor_that_closes_on_itself_loses_90_percent_of_its_gap(corridor: World) -> None:
    predictor = TruthPredictor(corridor, drift=Drift(), **ERRORS)
    open_chain = follow(corridor, predictor, replace(CONFIG, enabled=False))
    assert open_chain.loops == []
    chain = follow(corridor, predictor)
    last = len(chain.groups) - 1
    assert {query for match, query in chain.loops if match == 0} >= {last}
    before = open_chain.gap(corridor, open_chain.graph.poses)
    assert before > 0.5  # [m]
    assert chain.gap(corridor, chain.graph.poses) < 0.1 * before


def test_rooms_that_look_alike_are_not_taken_for_each_other() -> None:
    world, lookalikes = lookalike_world(seed=3, visits=(0, 1, 0, 2, 1), pinhole=SMALL)
    predictor = TruthPredictor(world, drift=Drift(), lookalikes=lookalikes, **ERRORS)
    chain = follow(world, predictor)
    assert len(chain.loops) >= 4
    assert max(chain.errors) < 0.5  # [m]; the wrong room is 5 m away


def test_a_loop_says_how_the_submaps_lie_and_how_sure_it_is(rooms: World) -> None:
    distances = []
    for seed in range(8):
        predictor = TruthPredictor(rooms, depth_noise=0.02, pose_noise=0.004, seed=seed)
        (match, query), (first, second) = groups_of(rooms, predictor, range(4), range(30, 34))
        measured = verify_loop(query, match, predictor, CONFIG)
        assert measured is not None
        assert measured.overlap > 0.7
        change = relative_change(first.inverse() @ second, measured.S_match_query)
        distances.append(change @ np.linalg.solve(measured.covariance, change) / 7)
    assert np.mean(distances) < 1.0  # a real model errs more between the groups than within


def test_groups_that_show_different_walls_are_no_loop(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (match, query), _ = groups_of(rooms, predictor, range(4), range(15, 19))
    measured = measure_loop(query, match, predictor)
    assert measured is not None
    assert measured.overlap < 0.1
    assert verify_loop(query, match, predictor, CONFIG) is None


def test_a_fresh_run_that_contradicts_the_submaps_is_no_loop(rooms: World) -> None:
    predictor = TruthPredictor(rooms, broken_caches=(2,))
    (match, query), _ = groups_of(rooms, predictor, range(4), range(30, 34))
    assert verify_loop(query, match, predictor, CONFIG) is None
    assert verify_loop(query, match, predictor, CONFIG) is not None


def test_a_place_of_the_same_shape_in_other_colors_is_no_loop() -> None:
    poses = walk(8)[::2]
    first, second = (make_world(poses, seed=s, start_ns=10**12 * s, pinhole=SMALL) for s in (1, 2))
    both = World(
        first.frames + second.frames,
        np.concatenate([poses, poses]),
        np.concatenate([first.depth, second.depth]),
    )
    predictor = TruthPredictor(both)
    (match, query), _ = groups_of(both, predictor, range(4), range(4, 8))
    measured = measure_loop(query, match, predictor)
    assert measured is not None
    assert measured.overlap > 0.9
    assert measured.geometry > 0.9
    assert measured.likeness < CONFIG.min_likeness
    assert verify_loop(query, match, predictor, CONFIG) is None


def test_images_of_another_size_are_no_loop(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (match, query), _ = groups_of(rooms, predictor, range(4), range(30, 34))
    large = make_world(walk(4), pinhole=Pinhole(80.0, 80.0, 63.5, 47.5, 128, 96))
    (other,), _ = groups_of(large, TruthPredictor(large), range(4))
    assert measure_loop(query, other, predictor) is None
    assert measure_loop(query, match, predictor) is not None


def test_a_robot_that_wakes_up_in_a_known_room_is_located_by_two_checks(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (known, query), (first, second) = groups_of(rooms, predictor, range(24), range(30, 36))
    graph = unjoined(5)
    loops = closer_of(predictor, known, query).find(4, graph)
    assert len(loops) >= 2
    for loop in loops:
        change = relative_change(first.inverse() @ second, loop.measurement.S_match_query)
        assert np.abs(change).max() < 0.05
    alone = closer_of(predictor, known, query, replace(CONFIG, candidates=1))
    assert alone.find(4, graph) == ()


def test_where_nothing_joins_two_submaps_two_checks_must_agree(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (known, away, query), places = groups_of(
        rooms, predictor, range(24), range(24, 28), range(30, 36)
    )
    graph = PoseGraph()
    for S_world_submap in (places[0], *[places[1]] * 3, places[2]):
        graph.add(S_world_submap)
    for candidates in (1, 3):
        closer = LoopCloser(replace(CONFIG, candidates=candidates), predictor)
        for node, group in ((0, known), (1, away), (4, query)):
            closer.add(node, group)
        loops = closer.find(4, graph)
        assert bool(loops) == (candidates == 3)
        assert all(expected_distance(loop, graph) is None for loop in loops)


def test_a_check_is_one_run_on_four_images(rooms: World) -> None:
    runs: list[int] = []

    class Counting(TruthPredictor):
        def predict(self, frames, cache):  # type: ignore[no-untyped-def]
            runs.append(len(frames))
            return super().predict(frames, cache)

    predictor = Counting(rooms)
    (known, query), _ = groups_of(rooms, predictor, range(24), range(30, 36))
    runs.clear()
    assert closer_of(predictor, known, query).find(4, unjoined(5))
    assert 2 <= len(runs) <= CONFIG.candidates
    assert set(runs) == {4}


def test_a_removed_submap_is_no_longer_found(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (known, query), _ = groups_of(rooms, predictor, range(24), range(30, 36))
    closer = closer_of(predictor, known, query)
    assert closer.find(4, unjoined(5))
    closer.remove(0)
    assert closer.find(4, unjoined(5)) == ()


def test_a_group_around_a_keyframe_stays_within_its_submap(rooms: World) -> None:
    (group,), _ = groups_of(rooms, TruthPredictor(rooms), range(10))
    for keyframe, first in ((0, 0), (1, 0), (5, 4), (8, 6), (9, 6)):
        part = group.around(keyframe, 4)
        rows = slice(first, first + 4)
        assert [k.stamp for k in part.keyframes] == [k.stamp for k in group.keyframes[rows]]
        np.testing.assert_array_equal(part.T_submap_camera, group.T_submap_camera[rows])
    assert len(group.around(3, 40).keyframes) == 10


def test_a_picture_that_cannot_be_decoded_is_no_loop(rooms: World) -> None:
    predictor = TruthPredictor(rooms)
    (match, query), _ = groups_of(rooms, predictor, range(4), range(30, 34))
    torn = (replace(match.keyframes[0], picture=b"torn"), *match.keyframes[1:])
    assert measure_loop(query, replace(match, keyframes=torn), predictor) is None
