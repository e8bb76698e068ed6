"""Images tell true poses and depths from wrong ones."""

import numpy as np

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.image_consistency import LEAST_PIXELS, differences, is_worse
from flashvggt_ros.mapping.tracked_frame import TrackedFrame, tracked_frame
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

WORLD = make_world(walk(6))
TRUE = np.zeros(6)


def tracked() -> tuple[list[TrackedFrame], np.ndarray]:
    predictor = TruthPredictor(WORLD)
    prediction = predictor.predict(WORLD.frames, predictor.new_cache())
    frames = [
        tracked_frame(FrameStamp(f.stamp_ns, f.camera), prediction, number, 0.0)
        for number, f in enumerate(WORLD.frames)
    ]
    return frames, prediction.T_submap_camera


def test_the_truth_agrees_and_a_turned_camera_or_a_wrong_depth_does_not():
    frames, T = tracked()
    true = differences(frames, T, TRUE, 3)
    turned = T.copy()
    turned[4, :3, :3] = turned[4, :3, :3] @ se3.matrix_from_quaternion(np.array([0, 0.02, 0, 1]))

    assert np.nanmean(true) < 7
    assert is_worse(differences(frames, turned, TRUE, 3), true)
    assert is_worse(differences(frames, T, TRUE + 0.5, 3), true)
    assert not is_worse(true, differences(frames, turned, TRUE, 3))
    assert not is_worse(true, true)


def test_without_enough_in_common_nothing_is_judged():
    frames, T = tracked()
    true = differences(frames, T, TRUE, 3)
    few = np.full_like(true, np.nan)
    few.ravel()[np.flatnonzero(np.isfinite(true))[: LEAST_PIXELS - 1]] = 50
    assert not is_worse(few, true)
    few.ravel()[np.flatnonzero(np.isfinite(true))[:LEAST_PIXELS]] = 50
    assert is_worse(few, true)


def test_images_of_different_cameras_are_not_compared():
    world = make_world(walk(4), cameras=("left", "right", "back", "front"))
    predictor = TruthPredictor(world)
    prediction = predictor.predict(world.frames, predictor.new_cache())
    frames = [
        tracked_frame(FrameStamp(f.stamp_ns, f.camera), prediction, number, 0.0)
        for number, f in enumerate(world.frames)
    ]
    assert len(differences(frames, prediction.T_submap_camera, np.zeros(4), 0)) == 0
