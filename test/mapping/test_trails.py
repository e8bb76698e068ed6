"""Paths of merged submaps stay whole: they move with what carries them, and are saved with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_io import read_tum
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.pose_graph_file import read_pose_graph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.trails import Trails, paths
from flashvggt_ros.mapping.voxel_grid import WeightedCloud
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

MODEL = MapModel("truth", "0" * 64, "")
CONFIG = build_config({
    "bundle_adjustment.enabled": False, "map.voxel_size": 0.1, "keyframe.min_motion": 0.0,
    "chunk.max_wait": 60.0, "submap.max_frames": 12, "chunk.size": 4,
})  # fmt: skip
WORLD = make_world(
    np.concatenate([walk(60)] * 2), pinhole=Pinhole(40.0, 40.0, 31.5, 23.5, 64, 48)
)


def some_submap(index: int, rng: np.random.Generator) -> Submap:
    rotations = se3.matrix_from_quaternion(rng.normal(size=(4, 4)))
    place = Sim3(float(rng.uniform(0.5, 2)), rotations[0], rng.normal(size=3))
    end = Sim3(1.02, se3.matrix_from_quaternion(np.array([0, 0, 0.01, 1])), rng.normal(0, 0.1, 3))
    return Submap.closed(
        index, place, bend=Bend(end, end.inverse()), is_joined=True, shared=1,
        stamps=tuple(FrameStamp(100 * index + i, "camera") for i in range(4)),
        T_submap_camera=se3.pose(rotations, rng.normal(size=(4, 3))), keyframes=(),
        cloud_submap=WeightedCloud.concatenate(()), seen_by=np.zeros(0, np.uint16),
    )


def test_a_trail_follows_through_many_mergers_and_keeps_its_place_in_the_order() -> None:
    rng = np.random.default_rng(0)
    submaps = [some_submap(index, rng) for index in range(7)]
    expected = [(s.stamps[1:], s.T_map_camera[1:]) for s in submaps]
    trails = Trails()
    for number, carrier in ((3, 5), (0, 1), (1, 3 + 2), (2, 4), (5, 6)):
        trails.merge(submaps[number], submaps[carrier])
    assert trails.frames == 15
    kept = [submaps[4], submaps[6]]
    assert [(trail.number, trail.carrier) for trail in trails.before(7)] == [
        (0, 6), (1, 6), (2, 4), (3, 6), (5, 6)
    ]
    for path, (stamps, poses) in zip(paths(kept, trails.before(7)), expected, strict=True):
        assert path.frames == stamps
        np.testing.assert_allclose(path.T_map_camera, poses, atol=1e-12)
    move = Sim3(2.0, submaps[0].S_map_submap.rotation, np.array([1.0, 2.0, 3.0]))
    for submap in kept:
        submap.S_map_submap = move @ submap.S_map_submap
    for path, (_, poses) in zip(paths(kept, trails.before(7)), expected, strict=True):
        np.testing.assert_allclose(path.T_map_camera, move.transform_pose(poses), atol=1e-12)


@pytest.fixture(scope="module")
def slam() -> Slam[Any]:
    """Two rounds through a room; of the first one little is left but its path."""
    slam = Slam(CONFIG, TruthPredictor(WORLD))
    for frame in WORLD.frames:
        slam.add_frame(frame)
    slam.flush()
    return slam


def test_a_map_with_merged_submaps_is_saved_and_loaded_as_it_is(
    slam: Slam[Any], tmp_path: Path
) -> None:
    assert len(slam.map.submaps) < slam.map.live.index
    manifest = save_map(tmp_path / "first", slam.map, CONFIG, MODEL)
    loaded = load_map(tmp_path / "first", MODEL)
    save_map(tmp_path / "second", Map(CONFIG, loaded), CONFIG, MODEL)
    files = [path for path in (tmp_path / "first").rglob("*") if path.is_file()]
    for path in files:
        again = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert again.read_bytes() == path.read_bytes()
    assert manifest.counts.poses == slam.map.frames == len(WORLD.frames)
    trajectory = slam.map.trajectory()
    stamps_ns, poses = read_tum(tmp_path / "first" / "trajectory.tum")
    assert stamps_ns == [frame.stamp_ns for frame in trajectory.frames]
    np.testing.assert_allclose(poses, trajectory.T_map_camera, atol=1e-9)
    graph = read_pose_graph(tmp_path / "first" / "pose_graph.g2o")
    assert graph.nodes == tuple(submap.index for submap in loaded.submaps)


def test_mapping_goes_on_in_such_a_map_and_it_stays_as_small(
    slam: Slam[Any], tmp_path: Path
) -> None:
    save_map(tmp_path / "map", slam.map, CONFIG, MODEL)
    fresh = Slam(CONFIG, TruthPredictor(WORLD, seed=1))
    fresh.load_map(tmp_path / "map", MODEL)
    before = len(fresh.map.submaps)
    path = [*paths(fresh._loaded.submaps, fresh._loaded.trails)]
    for frame in WORLD.frames[:60]:
        fresh.add_frame(frame)
    assert fresh.map.is_localized
    assert fresh.map.live.index >= slam.map.live.index + 6
    assert len(fresh.map.submaps) < before + 4
    save_map(tmp_path / "more", fresh.map, CONFIG, MODEL)
    more = load_map(tmp_path / "more", MODEL)
    for old, new in zip(path, paths(more.submaps, more.trails), strict=False):
        assert old.frames == new.frames
        np.testing.assert_allclose(old.T_map_camera, new.T_map_camera, atol=0.02)
