"""The map places submaps, follows REP-103 and shows what they saw together."""

from collections.abc import Sequence

import numpy as np
import pytest

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import Chunk, Frame, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.robot import UNKNOWN_ROBOT, RobotState
from flashvggt_ros.worlds import TruthCache, TruthPredictor, held_bytes, look, make_world, walk

WORLD = make_world(walk(12))
UNKNOWN = RobotState.of(UNKNOWN_ROBOT, "camera", 0)
LEVEL = make_world(np.stack([look((0.2 * i, 0.1 * i, 1.4), 0.0) for i in range(4)]))


def config(**values: object) -> Config:
    return build_config(
        {"map.voxel_size": 0.05, **{k.replace("__", "."): v for k, v in values.items()}}
    )


def feed(
    mapped: Map, predictor: TruthPredictor, cache: TruthCache, frames: Sequence[Frame]
) -> MapUpdate:
    chunk = Chunk(tuple(frames))
    return mapped.integrate(
        chunk, predictor.predict(chunk.frames, cache), [UNKNOWN] * len(chunk.frames)
    )


def two_submaps(predictor: TruthPredictor, settings: Config) -> tuple[Map, list[MapUpdate]]:
    """WORLD's 12 frames in chunks of four; the second submap begins with the third chunk."""
    mapped, cache = Map(settings), predictor.new_cache()
    updates = [feed(mapped, predictor, cache, WORLD.frames[i : i + 4]) for i in (0, 4)]
    shared = mapped.open_submap()
    updates.append(feed(mapped, predictor, predictor.new_cache(), shared + WORLD.frames[8:]))
    return mapped, updates


def test_the_map_begins_at_the_first_camera_with_x_forward_and_z_up() -> None:
    mapped, predictor = Map(config()), TruthPredictor(LEVEL)
    update = feed(mapped, predictor, predictor.new_cache(), LEVEL.frames)
    expected = se3.pose(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.zeros(3))
    np.testing.assert_allclose(update.T_map_camera[0], expected, atol=1e-12)
    direction = update.T_map_camera[3, :3, 3]
    np.testing.assert_allclose(direction / direction[0], [1, 0.5, 0], atol=1e-9)
    floor = np.quantile(update.points_map[:, 2], 0.02)
    assert floor < 0 < np.quantile(update.points_map[:, 2], 0.98)


def test_scale_fixed_is_metres_per_unit_of_the_first_submap() -> None:
    steps = []
    for meters in (1.0, 2.5):
        mapped, predictor = Map(config(scale__fixed=meters)), TruthPredictor(LEVEL)
        update = feed(mapped, predictor, predictor.new_cache(), LEVEL.frames)
        assert mapped.scale == meters
        steps.append(np.linalg.norm(update.T_map_camera[3, :3, 3]))
    assert steps[1] == pytest.approx(2.5 * steps[0])


def test_each_frame_is_new_once_and_in_the_trajectory_once() -> None:
    mapped, updates = two_submaps(TruthPredictor(WORLD), config())
    new = [stamp.stamp_ns for update in updates for stamp in update.new]
    assert new == [frame.stamp_ns for frame in WORLD.frames]
    assert [stamp.stamp_ns for stamp in mapped.trajectory().frames] == new
    assert mapped.frames == 12
    assert [update.submap for update in updates] == [0, 0, 1]


def test_a_submap_in_another_frame_and_scale_continues_the_first_exactly() -> None:
    mapped, updates = two_submaps(TruthPredictor(WORLD, seed=1), config())
    relative = se3.inverse(WORLD.T_world_camera[0]) @ WORLD.T_world_camera
    poses = mapped.trajectory().T_map_camera
    placed = se3.inverse(poses[0]) @ poses
    unit = np.linalg.norm(placed[1, :3, 3]) / np.linalg.norm(relative[1, :3, 3])
    np.testing.assert_allclose(placed[:, :3, 3], unit * relative[:, :3, 3], atol=1e-6)
    np.testing.assert_allclose(placed[:, :3, :3], relative[:, :3, :3], atol=1e-7)
    assert all(update.is_joined for update in updates)


def test_newer_poses_of_a_submap_supersede_older_ones_in_the_trajectory() -> None:
    predictor = TruthPredictor(WORLD, pose_noise=0.02)
    mapped, cache = Map(config(gravity__source="none")), predictor.new_cache()
    first = feed(mapped, predictor, cache, WORLD.frames[:4])
    feed(mapped, predictor, cache, WORLD.frames[4:8])
    poses = mapped.trajectory().T_map_camera
    assert np.abs(poses[1:4] - first.T_map_camera[1:]).max() > 1e-3
    np.testing.assert_allclose(poses[0], first.T_map_camera[0], atol=1e-12)


def test_a_submap_that_does_not_fit_is_torn_off_and_continues_the_last_pose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mapped, updates = two_submaps(TruthPredictor(WORLD, broken_caches=[1]), config())
    assert [update.is_joined for update in updates] == [True, True, False]
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "submap 1 not joined" in warnings[0]
    assert mapped.scale == pytest.approx(1.0)
    relative = se3.inverse(WORLD.T_world_camera[7]) @ WORLD.T_world_camera[8]
    poses = mapped.trajectory().T_map_camera
    placed = se3.inverse(poses[7]) @ poses[8]
    np.testing.assert_allclose(placed[:3, :3], relative[:3, :3], atol=1e-9)
    direction = placed[:3, 3] / np.linalg.norm(placed[:3, 3])
    np.testing.assert_allclose(
        direction, relative[:3, 3] / np.linalg.norm(relative[:3, 3]), atol=1e-9
    )


def test_a_submap_without_shared_frames_begins_at_the_last_pose() -> None:
    predictor = TruthPredictor(WORLD)
    mapped = Map(config())
    feed(mapped, predictor, predictor.new_cache(), WORLD.frames[:4])
    mapped.open_submap()
    update = feed(mapped, predictor, predictor.new_cache(), WORLD.frames[4:8])
    assert not update.is_joined
    assert len(update.new) == 4
    last = mapped.trajectory().T_map_camera[3]
    np.testing.assert_allclose(update.T_map_camera[0], last, atol=1e-12)


def test_an_empty_submap_is_opened_anew_with_the_same_frames() -> None:
    predictor = TruthPredictor(WORLD)
    mapped = Map(config())
    assert mapped.open_submap() == ()
    feed(mapped, predictor, predictor.new_cache(), WORLD.frames[:4])
    shared = mapped.open_submap()
    assert shared == WORLD.frames[2:4]
    assert mapped.open_submap() == shared
    assert mapped.live.index == 1


def test_the_cloud_has_one_point_per_voxel_on_the_surfaces_of_the_room() -> None:
    mapped, _ = two_submaps(TruthPredictor(WORLD), config())
    points, colors = mapped.cloud()
    assert points.dtype == np.float32
    assert points.shape == colors.shape
    voxels = np.unique(np.floor(points / np.float64(0.05)).astype(int), axis=0)
    assert len(points) == pytest.approx(len(voxels), rel=0.001)  # means may round over an edge
    poses = mapped.trajectory().T_map_camera
    placed = np.linalg.norm(poses[1, :3, 3] - poses[0, :3, 3])
    step = np.linalg.norm(WORLD.T_world_camera[1, :3, 3] - WORLD.T_world_camera[0, :3, 3])
    T_world_map = WORLD.T_world_camera[0] @ se3.inverse(se3.pose(poses[0, :3, :3], np.zeros(3)))
    points_world = se3.transform_points(T_world_map, points.astype(float) * (step / placed))
    assert (np.abs(points_world).max(axis=0) < [4.01, 3.01, 3.01]).all()
    assert points_world[:, 2].min() > -0.01


def test_the_cloud_is_thinned_evenly_to_max_points() -> None:
    whole, _ = two_submaps(TruthPredictor(WORLD), config())
    thinned, _ = two_submaps(TruthPredictor(WORLD), config(map__max_points=1000))
    points, all_points = thinned.cloud()[0], whole.cloud()[0]
    assert len(all_points) > 2000
    assert len(points) == 1000
    np.testing.assert_allclose(points.mean(axis=0), all_points.mean(axis=0), atol=0.15)


def test_the_version_changes_with_the_map_and_only_with_it() -> None:
    predictor = TruthPredictor(WORLD)
    mapped, cache = Map(config()), predictor.new_cache()
    assert len(mapped.cloud()[0]) == 0
    versions = [mapped.version]
    feed(mapped, predictor, cache, WORLD.frames[:4])
    versions.append(mapped.version)
    first = mapped.cloud()
    assert mapped.cloud()[0] is first[0]
    assert mapped.version == versions[-1]
    feed(mapped, predictor, cache, WORLD.frames[4:8])
    versions.append(mapped.version)
    assert len(set(versions)) == 3
    assert mapped.cloud()[0] is not first[0]


def test_a_refused_prediction_leaves_the_map_as_it_was() -> None:
    predictor = TruthPredictor(WORLD)
    mapped, cache = Map(config()), predictor.new_cache()
    feed(mapped, predictor, cache, WORLD.frames[:4])
    version = mapped.version
    with pytest.raises(ValueError, match="poses"):
        feed(mapped, predictor, predictor.new_cache(), WORLD.frames[4:8])
    assert (mapped.version, mapped.frames) == (version, 4)


def test_memory_does_not_grow_by_images_from_submap_to_submap() -> None:
    predictor = TruthPredictor(WORLD)
    mapped = Map(config(map__voxel_size=0.5, chunk__overlap=1))
    sizes = []
    for _ in range(5):
        shared = mapped.open_submap()
        feed(mapped, predictor, predictor.new_cache(), shared + WORLD.frames[:6])
        sizes.append(held_bytes(mapped))
    assert np.diff(sizes[2:]).max() < WORLD.frames[0].image.nbytes / 4


def test_views_are_kept_of_the_shared_and_the_last_keyframes_only() -> None:
    predictor = TruthPredictor(WORLD)
    mapped = Map(config(map__voxel_size=0.5, chunk__overlap=1))
    feed(mapped, predictor, predictor.new_cache(), WORLD.frames)
    frame = WORLD.frames[0].image.nbytes + 2 * WORLD.depth[0].nbytes
    assert held_bytes(mapped) < 2 * frame


@pytest.mark.parametrize("cut", ["keyframe__min_confidence", "map__min_confidence"])
def test_alignments_and_the_cloud_each_leave_out_their_own_share_of_the_pixels(cut: str) -> None:
    everything = {
        "keyframe__min_confidence": 0.0, "map__min_confidence": 0.0, "map__voxel_size": 1e-3,
    }

    def kept(**change: float) -> dict[str, float]:
        predictor = TruthPredictor(LEVEL, noise_spread=1.0)
        mapped = Map(config(**(everything | change)))
        feed(mapped, predictor, predictor.new_cache(), LEVEL.frames)
        sketches = [keyframe.sketch.depth for keyframe in mapped.live.keyframes]
        known = sum(np.count_nonzero(depth) for depth in sketches)
        return {"keyframe__min_confidence": known, "map__min_confidence": len(mapped.cloud()[0])}

    counts, fewer = kept(), kept(**{cut: 0.4})
    for name, count in counts.items():
        assert fewer[name] == (pytest.approx(0.6 * count, rel=0.1) if name == cut else count)


def test_of_a_chunk_that_fails_half_way_nothing_is_left_and_the_map_goes_on(monkeypatch) -> None:
    predictor = TruthPredictor(WORLD)
    mapped, cache = Map(config()), predictor.new_cache()
    feed(mapped, predictor, cache, WORLD.frames[:4])
    before = mapped.trajectory(), mapped.cloud()[0]
    with monkeypatch.context() as patch:
        patch.setattr(mapped, "_settle", broken)
        with pytest.raises(RuntimeError, match="no luck"):
            feed(mapped, predictor, cache, WORLD.frames[4:8])

    assert mapped.frames == 4
    np.testing.assert_array_equal(mapped.trajectory().T_map_camera, before[0].T_map_camera)
    np.testing.assert_array_equal(mapped.cloud()[0], before[1])
    shared = mapped.open_submap()
    assert shared == WORLD.frames[4 - len(shared) : 4]
    feed(mapped, predictor, predictor.new_cache(), shared + WORLD.frames[8:])
    assert mapped.frames == 8
    assert len(mapped.cloud()[0]) > len(before[1])


def broken(is_due: bool) -> None:
    raise RuntimeError("no luck")
