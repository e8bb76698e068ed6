"""Frames in, one consistent trajectory and map out, whatever frame and scale each submap has."""

from dataclasses import replace
from threading import current_thread

import numpy as np
import pytest

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import Frame, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import align_points
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import TruthCache, TruthPredictor, World, held_bytes, make_world, walk

WORLD = make_world(walk(60))
FIRST = WORLD.frames[:24]
Run = tuple[Slam[TruthCache], list[MapUpdate]]
# What the predictor says is true to the last digit here, which no corner of an image is.
TRUE = {"bundle_adjustment.enabled": False}
SETTINGS = build_config(
    TRUE | {"submap.max_frames": 16, "map.voxel_size": 0.05, "gravity.source": "none"}
)


def run(
    predictor: TruthPredictor, config: Config = SETTINGS, frames: tuple[Frame, ...] = WORLD.frames
) -> Run:
    """Add all frames and flush; return the slam and its updates."""
    slam = Slam(config, predictor)
    updates = [slam.add_frame(frame) for frame in frames]
    updates.append(slam.flush())
    return slam, [update for update in updates if update]


def errors(trajectory: Trajectory, world: World = WORLD) -> tuple[float, float]:
    """Largest error of position [m] and rotation [rad] after one Sim(3) for the whole."""
    index = {(frame.stamp_ns, frame.camera): i for i, frame in enumerate(world.frames)}
    order = [index[frame.stamp_ns, frame.camera] for frame in trajectory.frames]
    T_world_camera = world.T_world_camera[order]
    positions = trajectory.T_map_camera[:, :3, 3]
    S_world_map = align_points(positions, T_world_camera[:, :3, 3], np.ones(len(positions)))
    aligned = S_world_map.transform_pose(trajectory.T_map_camera)
    turns = se3.rotation_angle(np.swapaxes(aligned[:, :3, :3], 1, 2) @ T_world_camera[:, :3, :3])
    distances = np.linalg.norm(aligned[:, :3, 3] - T_world_camera[:, :3, 3], axis=1)
    return float(distances.max()), float(turns.max())


def root_mean_square_error(trajectory: Trajectory, world: World = WORLD) -> float:
    """Of positions [m], after one Sim(3) for the whole."""
    index = {(frame.stamp_ns, frame.camera): i for i, frame in enumerate(world.frames)}
    order = [index[frame.stamp_ns, frame.camera] for frame in trajectory.frames]
    places, truth = trajectory.T_map_camera[:, :3, 3], world.T_world_camera[order, :3, 3]
    S_world_map = align_points(places, truth, np.ones(len(places)))
    offsets = S_world_map.transform_points(places) - truth
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))


@pytest.fixture(scope="module")
def true_run() -> Run:
    """WORLD without any error."""
    return run(TruthPredictor(WORLD))


def test_the_trajectory_is_the_truth_through_many_submaps(true_run: Run) -> None:
    slam, updates = true_run
    assert slam.map.live.index >= 4
    assert all(update.is_joined for update in updates)
    assert max(errors(slam.map.trajectory())) < 1e-6


def test_poses_that_move_with_every_chunk_still_join_exactly() -> None:
    slam, _ = run(TruthPredictor(WORLD, gauge_drift=0.1))
    assert max(errors(slam.map.trajectory())) < 1e-6


def test_30_percent_outliers_without_noise_change_nothing() -> None:
    slam, updates = run(TruthPredictor(WORLD, outliers=0.3))
    assert all(update.is_joined for update in updates)
    assert max(errors(slam.map.trajectory())) < 1e-6


def test_noise_and_30_percent_outliers_cost_less_than_a_centimetre() -> None:
    slam, updates = run(TruthPredictor(WORLD, depth_noise=0.02, outliers=0.3))
    assert all(update.is_joined for update in updates)
    position, rotation = errors(slam.map.trajectory())  # over 7 m in 6 submaps
    assert position < 0.01
    assert rotation < 0.005


def test_the_same_images_make_the_same_map() -> None:
    frames = WORLD.frames[:30]
    first, second = (
        run(TruthPredictor(WORLD, depth_noise=0.02, outliers=0.3), frames=frames)[0] for _ in "ab"
    )
    poses = [slam.map.trajectory().T_map_camera for slam in (first, second)]
    np.testing.assert_array_equal(*poses)
    np.testing.assert_array_equal(first.map.cloud()[0], second.map.cloud()[0])


def test_bundle_adjustment_leaves_alone_what_images_confirm() -> None:
    config = build_config({"submap.max_frames": 16, "map.voxel_size": 0.5})
    slam, _ = run(TruthPredictor(WORLD), config, FIRST)
    assert slam.bundle_adjustment.accepted == 0
    assert slam.bundle_adjustment.refused > 0
    assert max(errors(slam.map.trajectory())) < 1e-3


def test_bundle_adjustment_sees_every_chunk_unless_it_is_disabled() -> None:
    config = build_config({"submap.max_frames": 16, "map.voxel_size": 0.5})
    for is_on, chunks in ((True, 3), (False, 0)):
        adjustment = replace(config.bundle_adjustment, enabled=is_on)
        shaking = TruthPredictor(WORLD, pose_noise=0.05)
        slam, _ = run(shaking, replace(config, bundle_adjustment=adjustment), FIRST)
        assert slam.bundle_adjustment.accepted + slam.bundle_adjustment.refused == chunks


def test_bundle_adjustment_makes_no_drift_of_shaken_poses_on_smooth_textures() -> None:
    values = {"submap.max_frames": 16, "map.voxel_size": 0.5, "loop.enabled": False}
    ates = {}
    for is_on in (False, True):
        config = build_config(values | {"bundle_adjustment.enabled": is_on})
        slam, _ = run(TruthPredictor(WORLD, pose_noise=0.02), config, WORLD.frames[:40])
        ates[is_on] = root_mean_square_error(slam.map.trajectory())
    assert slam.bundle_adjustment.accepted >= 4  # of 5 chunks
    assert ates[True] < ates[False]


def test_each_frame_is_placed_once_with_its_own_stamp(true_run: Run) -> None:
    slam, updates = true_run
    stamps = [frame.stamp_ns for frame in WORLD.frames]
    assert [stamp.stamp_ns for update in updates for stamp in update.new] == stamps
    assert [stamp.stamp_ns for stamp in slam.map.trajectory().frames] == stamps
    assert all(len(update.new) == len(update.T_map_camera) for update in updates)


def test_submaps_begin_when_the_last_one_is_full(true_run: Run) -> None:
    slam, updates = true_run
    assert [update.submap for update in updates] == [0, 0, 1, 2, 3, 4, 5, 5]
    assert slam.map.live.frames == 2 + 8 + 4  # shared, a chunk, the rest


def test_a_full_cache_begins_a_submap_unless_it_may_evict() -> None:
    values = TRUE | {"submap.max_frames": 1000, "map.voxel_size": 0.5, "gravity.source": "none"}
    slam, updates = run(TruthPredictor(WORLD, most_frames=20), build_config(values))
    assert [update.submap for update in updates] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(update.is_joined for update in updates)
    assert max(errors(slam.map.trajectory())) < 1e-6
    evicting = build_config(values | {"predictor.evict": True})
    slam, _ = run(TruthPredictor(WORLD, most_frames=20), evicting)
    assert slam.map.live.index == 0


def test_a_cache_too_small_for_two_chunks_gives_each_its_submap() -> None:
    config = build_config(TRUE | {"map.voxel_size": 0.5, "gravity.source": "none"})
    slam, updates = run(TruthPredictor(WORLD, most_frames=12), config)
    assert [update.submap for update in updates] == list(range(8))
    assert max(errors(slam.map.trajectory())) < 1e-6


def test_a_submap_begins_where_the_view_has_changed() -> None:
    values = TRUE | {"submap.max_frames": 1000, "map.voxel_size": 0.5, "gravity.source": "none"}
    submaps = {}
    for least in (0.0, 0.1, 0.6):
        slam, updates = run(TruthPredictor(WORLD), build_config(
            values | {"submap.min_shared_view": least}
        ))
        submaps[least] = slam.map.live.index + 1
        assert all(update.is_joined for update in updates)
        assert max(errors(slam.map.trajectory())) < 1e-6
    assert submaps[0.0] == 1
    assert submaps[0.0] < submaps[0.1] < submaps[0.6]


def test_a_standing_robot_is_gated_and_its_map_does_not_grow() -> None:
    still = make_world(np.repeat(walk(1), 40, axis=0))
    rng = np.random.default_rng(13)
    noise = rng.normal(0, 5, (40, *still.frames[0].image.shape))
    frames = tuple(
        replace(frame, image=np.clip(frame.image + noise[i], 0, 255).astype(np.uint8))
        for i, frame in enumerate(still.frames)
    )
    slam = Slam(SETTINGS, TruthPredictor(still))
    updates = [slam.add_frame(frame) for frame in frames[:30]]
    assert sum(update is not None for update in updates) == 1
    size, version = held_bytes(slam), slam.map.version
    assert [slam.add_frame(frame) for frame in frames[30:]] == 10 * [None]
    assert held_bytes(slam) == size
    assert slam.map.version == version
    assert (slam.gated, slam.keyframes, slam.map.frames) == (39, 1, 1)


def test_a_robot_that_stops_gets_its_last_keyframes_mapped_after_max_wait() -> None:
    poses = np.concatenate([walk(3), np.repeat(walk(3)[2:], 30, axis=0)])
    world = make_world(poses, period_ns=100_000_000)
    slam = Slam(SETTINGS, TruthPredictor(world))
    updates = [slam.add_frame(frame) for frame in world.frames]
    closed = [i for i, update in enumerate(updates) if update]
    assert closed == [21]  # the first frame later than 2.0 s after the first keyframe
    assert slam.waiting == ()
    assert slam.map.frames == 3


def test_every_frame_is_accounted_for_at_every_moment() -> None:
    poses = np.repeat(walk(10), 3, axis=0)
    world = make_world(poses)
    slam = Slam(SETTINGS, TruthPredictor(world))
    for count, frame in enumerate(world.frames, start=1):
        slam.add_frame(frame)
        assert slam.gated + slam.keyframes == count
        assert slam.map.frames + len(slam.waiting) == slam.keyframes
    assert slam.keyframes == 10


def test_flush_maps_what_waits_and_nothing_twice() -> None:
    slam = Slam(SETTINGS, TruthPredictor(WORLD))
    assert slam.flush() is None
    for frame in WORLD.frames[:11]:
        slam.add_frame(frame)
    assert [stamp.stamp_ns for stamp in slam.waiting] == [f.stamp_ns for f in WORLD.frames[8:11]]
    update = slam.flush()
    assert update is not None
    assert len(update.new) == 3
    assert slam.flush() is None
    assert slam.map.frames == 11


def test_reset_forgets_everything() -> None:
    slam, _ = run(TruthPredictor(WORLD), frames=WORLD.frames[:20])
    slam.add_frame(WORLD.frames[20])
    slam.reset()
    assert (slam.gated, slam.keyframes, slam.waiting, slam.map.frames) == (0, 0, (), 0)
    assert slam.cache.frames == 0
    assert len(slam.map.cloud()[0]) == 0
    for frame in WORLD.frames[20:40]:
        slam.add_frame(frame)
    slam.flush()
    assert slam.map.frames == 20
    assert max(errors(slam.map.trajectory())) < 1e-6


def test_two_cameras_make_one_trajectory() -> None:
    world = make_world(walk(40), cameras=("left", "right"))
    slam, _ = run(TruthPredictor(world), frames=world.frames)
    trajectory = slam.map.trajectory()
    assert {frame.camera for frame in trajectory.frames} == {"left", "right"}
    assert max(errors(trajectory, world)) < 1e-6


def test_memory_stays_bounded_over_many_submaps() -> None:
    config = build_config(
        TRUE
        | {"submap.max_frames": 8, "chunk.size": 4, "map.voxel_size": 0.5, "chunk.max_wait": 60.0}
    )
    slam = Slam(config, TruthPredictor(WORLD))
    sizes = []
    for _ in range(4):  # the same round again and again
        for frame in WORLD.frames[:24]:
            slam.add_frame(frame)
        sizes.append(held_bytes(slam.map))
    assert slam.map.live.index >= 20
    image = WORLD.frames[0].image.nbytes
    assert np.diff(sizes).max() / 24 < image / 20  # per keyframe: poses and few voxels


@pytest.mark.parametrize("broken", [[1], [1, 2], [0]])
def test_submaps_that_cannot_be_joined_are_said_and_survived(
    broken: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    slam, updates = run(TruthPredictor(WORLD, broken_caches=broken))
    torn = {update.submap for update in updates if not update.is_joined}
    assert torn == {submap for cache in broken for submap in (cache, cache + 1)} - {0}
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(torn)
    assert slam.map.frames == 60
    assert np.isfinite(slam.map.trajectory().T_map_camera).all()


def test_the_cloud_of_all_submaps_lies_on_the_room(true_run: Run) -> None:
    slam, _ = true_run
    trajectory = slam.map.trajectory()
    S_world_map = align_points(
        trajectory.T_map_camera[:, :3, 3], WORLD.T_world_camera[:, :3, 3], np.ones(60)
    )
    points_world = S_world_map.transform_points(slam.map.cloud()[0])
    assert (np.abs(points_world).max(axis=0) < [4.01, 3.01, 3.01]).all()
    assert (points_world.max(axis=0) > [3.95, 2.95, 2.5]).all()


def test_a_map_that_was_finished_goes_on_as_one() -> None:
    slam = Slam(SETTINGS, TruthPredictor(WORLD))
    updates = []
    for number, frame in enumerate(WORLD.frames):
        updates.append(slam.add_frame(frame))
        if number in (19, 40):
            updates.append(slam.flush())
            slam.finish()
            slam.finish()  # there is nothing left to finish
    updates.append(slam.flush())
    assert all(update.is_joined for update in updates if update)
    assert slam.map.frames == 60
    assert max(errors(slam.map.trajectory())) < 1e-6


def mapped_ahead(slam: Slam[TruthCache], frames: tuple[Frame, ...]) -> list[str]:
    """Map all frames with the model one chunk ahead; return what went wrong with chunks."""
    chunks = [chunk for frame in frames if (chunk := slam.collect(frame))]
    if rest := slam.collect_rest():
        chunks.append(rest)
    failures = []
    for chunk, upcoming in zip(chunks, [*chunks[1:], None], strict=True):
        try:
            slam.map_chunk(chunk, upcoming)
        except RuntimeError as error:
            failures.append(str(error))
            slam.close_submap()
    slam.finish()
    return failures


class Threads(TruthPredictor):
    """A model that notes in which thread it ran."""

    def __init__(self, most_frames: int = 0) -> None:
        super().__init__(WORLD, most_frames=most_frames)
        self.names: list[str] = []

    def predict(self, frames, cache):  # type: ignore[no-untyped-def]
        self.names.append(current_thread().name)
        return super().predict(frames, cache)


@pytest.mark.parametrize(("settings", "most_frames"), [
    ({}, 0), ({"chunk.size": 3, "chunk.overlap": 2}, 0), ({"submap.min_shared_view": 0.3}, 0),
    ({"submap.max_frames": 99}, 20),
])
def test_a_model_that_runs_ahead_gives_the_same_map(
    settings: dict[str, float], most_frames: int
) -> None:
    config = build_config(
        {"submap.max_frames": 12, "gravity.source": "none", "loop.enabled": False} | settings
    )
    frames, in_time, early = WORLD.frames[:29], Threads(most_frames), Threads(most_frames)
    in_turn, _ = run(in_time, config, frames)
    in_turn.finish()
    ahead = Slam(config, early)
    assert mapped_ahead(ahead, frames) == []
    assert len(early.names) == len(in_time.names)  # no run was in vain
    is_ahead = ["MainThread" not in name for name in early.names]
    assert sum(is_ahead) == (0 if "submap.min_shared_view" in settings else len(is_ahead) - 1)
    assert in_turn.map.live.index == ahead.map.live.index >= 2
    trajectories = in_turn.map.trajectory(), ahead.map.trajectory()
    assert np.array_equal(*(trajectory.T_map_camera for trajectory in trajectories))
    assert all(map(np.array_equal, in_turn.map.cloud(), ahead.map.cloud()))


def test_a_model_that_fails_while_it_runs_ahead_loses_one_chunk_only() -> None:
    class Failing(TruthPredictor):
        calls = 0

        def predict(self, frames, cache):  # type: ignore[no-untyped-def]
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("the third call")
            return super().predict(frames, cache)

    slam = Slam(SETTINGS, Failing(WORLD))
    assert mapped_ahead(slam, FIRST + WORLD.frames[24:32]) == ["the third call"]
    assert slam.keyframes == 32
    assert len(slam.map.trajectory().frames) == 24


def test_a_map_that_fails_while_the_model_runs_ahead_loses_one_chunk_only() -> None:
    slam = Slam(SETTINGS, TruthPredictor(WORLD))
    refine, calls = slam.bundle_adjustment.refine, []

    def failing(chunk, prediction):  # type: ignore[no-untyped-def]
        calls.append(chunk)
        if len(calls) == 2:
            raise RuntimeError("the second chunk")
        return refine(chunk, prediction)

    slam.bundle_adjustment.refine = failing  # type: ignore[method-assign]
    assert mapped_ahead(slam, WORLD.frames[:32]) == ["the second chunk"]
    assert len(slam.map.trajectory().frames) == 24
    assert max(errors(slam.map.trajectory())) < 1e-6
