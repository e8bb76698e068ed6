"""Poses of a shaky model become those of the images; where these say nothing the model stays."""

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest

from flashvggt_ros.config import BundleAdjustmentConfig
from flashvggt_ros.frame import Chunk, ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.geometry.sim3 import align_points
from flashvggt_ros.mapping import bundle_adjustment
from flashvggt_ros.mapping.bundle_adjustment import BundleAdjustment
from flashvggt_ros.worlds import Room, TruthPredictor, World, held_bytes, look, walk

PINHOLE = Pinhole(160.0, 160.0, 95.5, 71.5, 192, 144)
FINE = Pinhole(320.0, 320.0, 191.5, 143.5, 384, 288)  # two by two of its pixels make one


class PosterRoom(Room):
    """The room with patches of random color, which have corners."""

    PATCH = 0.23  # [m]

    def color(self, points_world: np.ndarray) -> np.ndarray:
        """RGB (..., 3) uint8 of points (..., 3) of the room's surfaces."""
        cells = np.floor(points_world / self.PATCH + 1e-3).astype(np.int64)
        numbers = cells @ np.array([73_856_093, 19_349_663, 83_492_791]) % 997
        return np.random.default_rng(0).integers(30, 226, (997, 3), dtype=np.uint8)[numbers]


def poster_world(T_world_camera: np.ndarray, cameras: tuple[str, ...] = ("camera",)) -> World:
    """Photograph the room from each pose."""
    room, frames, depths = PosterRoom(), [], []
    for number, T in enumerate(T_world_camera):
        image = cv2.resize(room.render(T, FINE)[0], (192, 144), interpolation=cv2.INTER_AREA)
        depths.append(room.render(T, PINHOLE)[1])
        camera = cameras[number % len(cameras)]
        frames.append(Frame(10**9 * number, camera, image, Calibration(PINHOLE, "none", ())))
    return World(tuple(frames), T_world_camera, np.stack(depths))


WORLD = poster_world(walk(24))
CONFIG = BundleAdjustmentConfig()
SHAKY = {"pose_noise": 0.02, "depth_noise": 0.03, "outliers": 0.05}


def refine(
    predictor: TruthPredictor, world: World = WORLD, size: int = 8, *, calibrated: bool = True
) -> tuple[BundleAdjustment, list[ChunkPrediction], list[ChunkPrediction]]:
    """Predict and refine all frames as one submap: what was given, and what came back."""
    adjustment = BundleAdjustment(CONFIG, use_camera_info=calibrated)
    cache, given, refined = predictor.new_cache(), [], []
    for first in range(0, len(world.frames), size):
        chunk = Chunk(world.frames[first : first + size])
        given.append(predictor.predict(chunk.frames, cache))
        refined.append(adjustment.refine(chunk, given[-1]))
    return adjustment, given, refined


def errors(T: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Median error of rotation between neighbors [rad]; ATE after Sim(3) [m]."""
    steps, true_steps = (se3.inverse(x[:-1]) @ x[1:] for x in (T, truth))
    turns = np.swapaxes(steps[:, :3, :3], 1, 2) @ true_steps[:, :3, :3]
    S = align_points(T[:, :3, 3], truth[:, :3, 3], np.ones(len(T)))
    shifts = np.linalg.norm(S.transform_points(T[:, :3, 3]) - truth[:, :3, 3], axis=1)
    return float(np.median(se3.rotation_angle(turns))), float(np.sqrt((shifts**2).mean()))


def test_errors_of_a_shaky_model_become_much_smaller() -> None:
    adjustment, given, refined = refine(TruthPredictor(WORLD, **SHAKY))
    before = errors(given[-1].T_submap_camera, WORLD.T_world_camera)
    after = errors(refined[-1].T_submap_camera, WORLD.T_world_camera)
    assert adjustment.accepted == 3
    assert after[0] < 0.25 * before[0]
    assert after[1] < 0.6 * before[1]


def test_depth_is_scaled_to_fit_the_poses() -> None:
    predictor = TruthPredictor(WORLD, pose_noise=0.02)
    cache, factors = predictor.new_cache(), np.linspace(0.9, 1.12, 8, dtype=np.float32)
    told = predictor.predict(WORLD.frames[:8], cache)
    uneven = replace(told, depth=told.depth * factors[:, None, None])
    adjustment = BundleAdjustment(CONFIG, use_camera_info=True)
    refined = adjustment.refine(Chunk(WORLD.frames[:8]), uneven)
    logs = np.log(np.median(refined.depth / told.depth, axis=(1, 2)))
    truth = cache.S_submap_world.scale * WORLD.T_world_camera[:8, :3, 3]
    path, true_path = (
        np.linalg.norm(np.diff(places, axis=0), axis=1).sum()
        for places in (refined.T_submap_camera[:, :3, 3], truth)
    )
    assert np.std(logs) < 0.6 * np.std(np.log(factors))  # with 8 frames; the prior is 5 %
    assert np.mean(logs) == pytest.approx(np.log(path / true_path), abs=0.03)


def test_motions_too_short_for_the_depths_become_as_long_as_images_say() -> None:
    predictor = TruthPredictor(WORLD)
    told = predictor.predict(WORLD.frames[:8], predictor.new_cache())
    T_short = told.T_submap_camera.copy()
    T_short[:, :3, 3] *= 0.7
    adjustment = BundleAdjustment(CONFIG, use_camera_info=True)
    refined = adjustment.refine(
        Chunk(WORLD.frames[:8]), replace(told, T_submap_camera=T_short)
    )
    assert adjustment.accepted == 1
    length, true_length = (
        np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1).sum()
        for T in (refined.T_submap_camera, told.T_submap_camera)
    )
    depth_scale = np.median(refined.depth / told.depth)
    assert length / true_length / depth_scale == pytest.approx(1, abs=0.03)


def test_blank_images_change_nothing() -> None:
    blank = tuple(replace(f, image=np.full_like(f.image, 100)) for f in WORLD.frames)
    adjustment, given, refined = refine(
        TruthPredictor(replace(WORLD, frames=blank), **SHAKY), replace(WORLD, frames=blank)
    )
    assert adjustment.accepted == 0
    assert adjustment.refused == 3
    assert all(a is b for a, b in zip(given, refined, strict=True))


def test_disabled_it_changes_nothing() -> None:
    predictor = TruthPredictor(WORLD, **SHAKY)
    adjustment = BundleAdjustment(BundleAdjustmentConfig(enabled=False), use_camera_info=True)
    told = predictor.predict(WORLD.frames[:8], predictor.new_cache())
    assert adjustment.refine(Chunk(WORLD.frames[:8]), told) is told


def test_pure_rotation_does_not_move_the_camera() -> None:
    world = poster_world(np.stack([look((0.0, 0.0, 1.5), 0.06 * i) for i in range(16)]))
    _, given, refined = refine(TruthPredictor(world, depth_noise=0.03, pose_noise=0.015), world)
    before, after = (run[-1].T_submap_camera for run in (given, refined))
    for T in (before, after):
        assert np.ptp(T[:, :3, 3], axis=0).max() < 0.04 * np.median(refined[-1].depth)
    turned, true_turn = (
        se3.rotation_angle(T[0, :3, :3].T @ T[-1, :3, :3]) for T in (after, world.T_world_camera)
    )
    assert turned == pytest.approx(true_turn, abs=0.02)


def test_the_next_submap_goes_on_in_place_and_scale() -> None:
    predictor = TruthPredictor(WORLD, **SHAKY)
    adjustment = BundleAdjustment(CONFIG, use_camera_info=True)
    first, second = predictor.new_cache(), predictor.new_cache()
    old = adjustment.refine(
        Chunk(WORLD.frames[:12]), predictor.predict(WORLD.frames[:12], first)
    )
    new = adjustment.refine(
        Chunk(WORLD.frames[10:24]), predictor.predict(WORLD.frames[10:24], second)
    )
    assert adjustment.accepted == 2
    T_old_new = old.T_submap_camera[10] @ se3.inverse(new.T_submap_camera[0])
    chained = np.concatenate([old.T_submap_camera, (T_old_new @ new.T_submap_camera)[2:]])
    rotation, position = errors(chained, WORLD.T_world_camera)
    assert rotation < 0.005  # [rad]
    assert position < 0.025  # [m] of 2.4 m
    ratios = np.log(new.depth[:2] / old.depth[10:])
    assert np.median(ratios) == pytest.approx(0.0, abs=0.02)


def test_two_cameras_in_one_chunk_are_tracked_each_for_itself() -> None:
    T = np.repeat(walk(12), 2, axis=0)
    T[1::2] = T[1::2] @ se3.pose(
        se3.matrix_from_quaternion(np.array([0.0, 0.6, 0.0, 0.8])), np.array([0.2, 0.0, 0.0])
    )
    world = poster_world(T, cameras=("left", "right"))
    adjustment, given, refined = refine(TruthPredictor(world, **SHAKY), world)
    assert adjustment.refused == 0
    for camera in (0, 1):
        before, after = (
            errors(run[-1].T_submap_camera[camera::2], T[camera::2]) for run in (given, refined)
        )
        assert after[0] < 0.5 * before[0]


def test_one_focal_length_is_found_where_none_is_known() -> None:
    frames = tuple(replace(frame, calibration=None) for frame in WORLD.frames)
    world = replace(WORLD, frames=frames)
    truth = WORLD.frames[0].calibration.pinhole
    predictor, rng = TruthPredictor(world), np.random.default_rng(4)
    adjustment = BundleAdjustment(CONFIG, use_camera_info=True)
    cache = predictor.new_cache()
    for first in range(0, 24, 8):
        told = predictor.predict(frames[first : first + 8], cache)
        guesses = tuple(
            Pinhole(
                f, f, truth.cx, truth.cy, truth.width, truth.height
            ) for f in truth.fx * 1.04 * np.exp(rng.normal(0, 0.01, 8))
        )  # fmt: skip
        told = adjustment.refine(Chunk(frames[first : first + 8]), replace(told, cameras=guesses))
        assert len({camera.fx for camera in told.cameras}) == 1
    assert told.cameras[0].fx == pytest.approx(truth.fx, rel=0.01)
    assert told.cameras[0].fx == pytest.approx(told.cameras[0].fy)


def test_images_of_another_place_are_refused_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=bundle_adjustment.__name__)
    rng = np.random.default_rng(8)
    noise = tuple(
        replace(f, image=rng.integers(0, 255, f.image.shape, dtype=np.uint8)) for f in WORLD.frames
    )
    world = replace(WORLD, frames=noise)
    adjustment, given, refined = refine(TruthPredictor(world, **SHAKY), world)
    assert adjustment.accepted == 0
    assert all(a is b for a, b in zip(given, refined, strict=True))
    assert "refused" in caplog.text


def test_a_blind_stretch_is_crossed_with_the_motions_of_the_model() -> None:
    dark = tuple(
        replace(f, image=np.full_like(f.image, 20)) if 8 <= i < 16 else f
        for i, f in enumerate(WORLD.frames)
    )
    world = replace(WORLD, frames=dark)
    _, _, refined = refine(TruthPredictor(world), world)
    rotation, position = errors(refined[-1].T_submap_camera, WORLD.T_world_camera)
    assert rotation < 0.005
    assert position < 0.05


def test_equal_input_gives_equal_output() -> None:
    first, second = (refine(TruthPredictor(WORLD, **SHAKY))[2][-1] for _ in "ab")
    np.testing.assert_array_equal(first.T_submap_camera, second.T_submap_camera)
    np.testing.assert_array_equal(first.depth, second.depth)


def test_memory_and_the_problem_stay_bounded_in_a_long_submap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    window_problem = bundle_adjustment.window_problem

    def counted(window, *arguments):
        sizes.append(len(window.frames))
        return window_problem(window, *arguments)

    monkeypatch.setattr(bundle_adjustment, "window_problem", counted)
    world = poster_world(walk(48))
    adjustment, _, refined = refine(TruthPredictor(world, **SHAKY), world)
    assert len(refined[-1].T_submap_camera) == 48
    assert max(sizes) == bundle_adjustment.REMEMBERED
    rotation, _ = errors(refined[-1].T_submap_camera, world.T_world_camera)
    assert rotation < 0.005
    images = bundle_adjustment.REMEMBERED * world.frames[0].image[..., 0].nbytes
    assert held_bytes(adjustment) < 30 * images
