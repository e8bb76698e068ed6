"""A submap keeps what may still change, and of what is settled only poses and points."""

import numpy as np
import pytest

from flashvggt_ros.config import MapConfig
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.chunk_cloud import select_points
from flashvggt_ros.mapping.keyframe import keyframes_of
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.robot import UNKNOWN_ROBOT, RobotState
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, held_bytes, make_world, walk

WORLD = make_world(walk(6))
UNKNOWN = RobotState.of(UNKNOWN_ROBOT, "camera", 0)
ALL_PIXELS = MapConfig(min_confidence=0.0, max_depth=1000.0)
GRAY = np.full((PINHOLE.height, PINHOLE.width, 3), 128, np.uint8)


def grown(overlap: int = 2, gauge_drift: float = 0.0) -> Submap:
    """A submap of WORLD's six frames, in two chunks."""
    predictor = TruthPredictor(WORLD, gauge_drift=gauge_drift)
    cache = predictor.new_cache()
    submap = Submap(0, overlap, (), Sim3.identity())
    for frames in (WORLD.frames[:3], WORLD.frames[3:]):
        prediction = predictor.predict(frames, cache)
        submap.extend(frames, prediction, [UNKNOWN] * len(frames))
        submap.add_keyframes(tuple(keyframes_of(frames, prediction, 0.0)))
        submap.add_points(
            [
                select_points(depth, confidence, colors, camera, ALL_PIXELS)
                for depth, confidence, colors, camera in zip(
                    prediction.depth,
                    prediction.confidence,
                    prediction.colors,
                    prediction.cameras,
                    strict=True,
                )
            ],
        )
    return submap


def plane(depth: float = 2.0) -> np.ndarray:
    return np.full((PINHOLE.height, PINHOLE.width), depth, np.float32)


def select(
    depth: np.ndarray, config: MapConfig = ALL_PIXELS, confidence: np.ndarray | None = None
) -> np.ndarray:
    if confidence is None:
        confidence = np.full_like(depth, 2)
    return select_points(depth, confidence, GRAY, PINHOLE, config).points


def test_poses_of_the_newest_chunk_supersede_those_before() -> None:
    steady, drifting = grown(), grown(gauge_drift=0.3)
    assert steady.frames == drifting.frames == 6
    relative = np.linalg.inv(drifting.T_submap_camera[0]) @ drifting.T_submap_camera
    expected = np.linalg.inv(steady.T_submap_camera[0]) @ steady.T_submap_camera
    np.testing.assert_allclose(relative, expected, atol=1e-9)


def test_stamps_are_those_of_the_frames() -> None:
    assert grown().stamps == tuple(FrameStamp(f.stamp_ns, f.camera) for f in WORLD.frames)


@pytest.mark.parametrize("overlap", [1, 2, 4])
def test_only_the_last_views_are_kept(overlap: int) -> None:
    views = grown(overlap).last_views()
    assert [view.frame for view in views] == list(WORLD.frames[-overlap:])
    np.testing.assert_allclose(views[-1].T_submap_camera, grown(overlap).T_submap_camera[-1])


def test_a_submap_that_begins_with_the_views_before_shares_them() -> None:
    before = grown().last_views()
    submap = Submap(1, 2, before, Sim3.identity())
    predictor = TruthPredictor(WORLD)
    frames = tuple(view.frame for view in before) + WORLD.frames[:1]
    submap.extend(
        frames, predictor.predict(frames, predictor.new_cache()), [UNKNOWN] * len(frames)
    )
    assert submap.shared == 2
    assert [view.frame for view in submap.shared_views()] == list(WORLD.frames[-2:])


def test_a_submap_that_begins_with_other_frames_shares_none() -> None:
    submap = Submap(1, 2, grown().last_views(), Sim3.identity())
    predictor = TruthPredictor(WORLD)
    frames = WORLD.frames[:3]
    submap.extend(frames, predictor.predict(frames, predictor.new_cache()), [UNKNOWN] * 3)
    assert submap.shared == 0
    assert submap.shared_views() == ()


def test_a_prediction_about_other_frames_is_refused_and_changes_nothing() -> None:
    submap, predictor = grown(), TruthPredictor(WORLD)
    prediction = predictor.predict(WORLD.frames[:2], predictor.new_cache())
    with pytest.raises(ValueError, match=r"8 keyframes, 2 of them new.*2 poses"):
        submap.extend(WORLD.frames[:2], prediction, [UNKNOWN] * 2)
    assert submap.frames == 6


def test_the_cloud_lies_on_the_walls_and_closing_does_not_change_it() -> None:
    submap = grown(gauge_drift=0.2)
    before, _ = submap.cloud(0.05)
    submap.close(0.05)
    after, _ = submap.cloud(0.05)
    np.testing.assert_array_equal(before.points, after.points)
    np.testing.assert_array_equal(before.colors, after.colors)
    S_camera_submap = Sim3.from_pose(submap.T_submap_camera[0], 1.0).inverse()
    unit = np.linalg.norm(submap.T_submap_camera[5, :3, 3] - submap.T_submap_camera[0, :3, 3])
    meters = np.linalg.norm(WORLD.T_world_camera[5, :3, 3] - WORLD.T_world_camera[0, :3, 3])
    S_world_camera = Sim3.from_pose(WORLD.T_world_camera[0], meters / unit)
    points_world = (S_world_camera @ S_camera_submap).transform_points(after.points)
    assert (np.abs(points_world).max(axis=0) < [4.001, 3.001, 3.001]).all()
    assert points_world[:, 2].min() > -0.001


def test_a_closed_submap_holds_poses_and_voxels_and_no_image() -> None:
    submap = grown()
    image, depth = WORLD.frames[0].image.nbytes, WORLD.depth[0].nbytes
    open_size = held_bytes(submap)
    submap.close(0.5)
    assert open_size > 2 * (image + depth)
    kept = sum(keyframe.nbytes for keyframe in submap.keyframes)
    assert held_bytes(submap) - kept < image
    assert submap.frames == 6


def test_a_plane_is_kept_whole() -> None:
    points = select(plane())
    assert len(points) == PINHOLE.width * PINHOLE.height
    np.testing.assert_array_equal(points[:, 2], 2)


def test_pixels_without_depth_are_left_out() -> None:
    depth = plane()
    depth[:10] = 0
    assert len(select(depth)) == depth.size - 10 * PINHOLE.width
    assert len(select(np.zeros_like(depth))) == 0


def test_the_least_confident_share_is_left_out() -> None:
    depth = plane()
    confidence = np.linspace(1, 2, depth.size, dtype=np.float32).reshape(depth.shape)
    kept = select(depth, MapConfig(min_confidence=0.25), confidence)
    assert len(kept) == pytest.approx(0.75 * depth.size, abs=2)


def test_depth_far_beyond_the_median_is_left_out() -> None:
    depth = plane()
    depth[:, :20] = 50
    kept = select(depth, MapConfig(min_confidence=0.0, max_depth=20.0))
    assert kept[:, 2].max() == 2


def test_points_between_a_near_and_a_far_surface_are_left_out() -> None:
    depth = plane(2.0)
    depth[:, 80:] = 4.0
    depth[:, 79] = 3.0
    kept = select(depth)
    assert not np.isin(kept[:, 2], 3.0).any()
    assert len(kept) == depth.size - 3 * PINHOLE.height


def test_a_slanted_wall_is_no_edge() -> None:
    depth = plane()
    depth *= np.linspace(1, 3, PINHOLE.width, dtype=np.float32)
    assert len(select(depth)) == depth.size


def test_the_box_around_a_submap_follows_its_points() -> None:
    submap = grown()
    assert submap.corners().shape == (0, 3)  # nothing is fused yet
    submap.close(voxel_size=0.01)
    points = submap.cloud(0.01)[0].points
    for _ in range(2):
        corners = submap.corners()
        assert np.array_equal(corners.min(axis=0), points.min(axis=0))
        assert np.array_equal(corners.max(axis=0), points.max(axis=0))
    submap.condense()
    assert submap.corners().shape == (0, 3)
