"""What submaps drift within is found and spread over them, so that their ends meet."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import SubmapConfig, build_config
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import Drift, TruthPredictor, World, corridor_world

SETTINGS: dict[str, Any] = {
    "bundle_adjustment.enabled": False, "map.voxel_size": 0.1, "keyframe.min_motion": 0.0,
    "chunk.max_wait": 60.0, "publish_unscaled": True,
}
DRIFT = Drift(scale=0.02, yaw=np.radians(0.5), frames=SubmapConfig().max_frames)
MODEL = MapModel("truth", "0" * 64, "")


@pytest.fixture(scope="module")
def world() -> World:
    """Once round a corridor and a few meters further."""
    return corridor_world(length=24.0, further=3.0, step=0.2)


def run(world: World, **values: Any) -> Slam[Any]:
    config = build_config(SETTINGS | values)
    slam: Slam[Any] = Slam(config, TruthPredictor(world, drift=DRIFT))
    for frame in world.frames:
        slam.add_frame(frame)
    slam.flush()
    slam.finish()
    return slam


@pytest.fixture(scope="module")
def slam(world: World) -> Slam[Any]:
    return run(world)


def own(slam: Slam[Any]) -> list[Submap]:
    return [submap for submap in slam.map.submaps if submap.frames]


def gaps_deg(submaps: list[Submap]) -> np.ndarray:
    """How far each submap begins turned from how the one before ends: their first shared camera."""
    gaps = []
    for before, submap in itertools.pairwise(submaps):
        ends = before.T_map_camera[-submap.shared], submap.T_map_camera[0]
        turn = ends[0][:3, :3].T @ ends[1][:3, :3]
        gaps.append(np.degrees(np.linalg.norm(Rotation.from_matrix(turn).as_rotvec())))
    return np.array(gaps)


def test_drift_is_found_where_a_loop_tells_of_it(slam: Slam[Any]) -> None:
    assert slam.map.layout.loops
    bends = [s.bend.S_middle_first.inverse() @ s.bend.S_middle_last for s in own(slam)[1:-1]]
    yaws = np.degrees([np.linalg.norm(Rotation.from_matrix(S.rotation).as_rotvec()) for S in bends])
    growth = 100 * np.log([S.scale for S in bends])
    assert np.median(yaws) == pytest.approx(0.5, abs=0.2)
    assert np.median(growth) == pytest.approx(-2.0, abs=0.7)


def test_ends_meet_where_rigid_submaps_leave_gaps(slam: Slam[Any]) -> None:
    submaps = own(slam)
    bent, bends = gaps_deg(submaps), [submap.bend for submap in submaps]
    for submap in submaps:
        submap.bend = Bend.none()
    rigid = gaps_deg(submaps)
    for submap, bend in zip(submaps, bends, strict=True):
        submap.bend = bend
    assert np.median(rigid) > 0.3
    assert np.median(bent) < 0.1


def test_without_loops_nothing_is_bent_and_the_path_has_no_jumps(world: World) -> None:
    submaps = own(run(world, **{"loop.enabled": False}))
    assert all(np.abs(s.bend.S_middle_last.translation).max() < 1e-6 for s in submaps)
    assert gaps_deg(submaps).max() < 0.01


def test_the_first_camera_stays_where_the_map_begins(slam: Slam[Any]) -> None:
    first = own(slam)[0].T_map_camera[0]
    np.testing.assert_allclose(first[:3, 3], 0, atol=1e-6)
    ahead = first[:3, 2]
    assert np.degrees(np.arctan2(ahead[1], ahead[0])) == pytest.approx(0, abs=1e-3)


def test_a_loaded_map_stays_bent_as_it_was(slam: Slam[Any], tmp_path: Any) -> None:
    save_map(tmp_path / "map", slam.map, slam.config, MODEL)
    loaded = Map(slam.config, load_map(tmp_path / "map", MODEL))
    loaded.layout.settle(loaded.submaps, is_due=True)
    for submap, other in zip(loaded.submaps, own(slam), strict=False):
        assert not submap.bend.is_none
        np.testing.assert_allclose(submap.T_map_camera, other.T_map_camera, atol=1e-9)


def test_points_lie_where_the_poses_that_saw_them_put_them(slam: Slam[Any]) -> None:
    submap = max(own(slam), key=lambda s: np.abs(s.bend.S_middle_last.translation).max())
    cloud, seen_by = submap.cloud(0.1)
    number = int(np.median(seen_by))
    chosen = seen_by == number
    T_camera_submap = se3.inverse(submap.T_submap_camera[number])
    points_camera = se3.transform_points(T_camera_submap, cloud.points[chosen])
    expected = se3.transform_points(
        submap.T_map_camera[number], points_camera * np.float32(submap.scales[number])
    )
    moved = submap.cloud_map(0.1 * submap.S_map_submap.scale).points[chosen]
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    assert len(moved) > 10
