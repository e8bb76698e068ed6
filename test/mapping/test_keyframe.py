"""What is kept of a keyframe can be shown to the model again."""

import dataclasses

import numpy as np
import pytest

from flashvggt_ros.geometry.camera import Calibration
from flashvggt_ros.mapping.keyframe import Keyframe, keyframes_of
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, make_world, walk

WORLD = make_world(walk(2))


def kept() -> list[Keyframe]:
    predictor = TruthPredictor(WORLD)
    prediction = predictor.predict(WORLD.frames, predictor.new_cache())
    return list(keyframes_of(WORLD.frames, prediction, 0.0))


def test_a_keyframe_is_small_and_gives_its_image_back_nearly_as_it_was():
    keyframe = kept()[1]
    frame = keyframe.frame()

    assert (frame.stamp_ns, frame.camera) == (WORLD.frames[1].stamp_ns, "camera")
    assert frame.image.shape == WORLD.frames[1].image.shape
    assert np.abs(frame.image.astype(int) - WORLD.frames[1].image).mean() < 3
    assert frame.calibration == Calibration(PINHOLE, "none", ())
    assert keyframe.nbytes < WORLD.frames[1].image.nbytes / 3


def test_its_sketch_shows_the_true_depth():
    keyframe = kept()[0]
    camera = keyframe.sketch.camera
    column, row = camera.width // 2, camera.height // 2
    step = PINHOLE.width / camera.width
    true = WORLD.depth[0, round((row + 0.5) * step - 0.5), round((column + 0.5) * step - 0.5)]
    ratio = keyframe.sketch.depth.astype(float) / np.float64(keyframe.sketch.depth[row, column])
    assert ratio[row, column] == 1
    assert ratio.max() == pytest.approx(WORLD.depth[0].max() / true, rel=0.15)


def test_an_uncalibrated_keyframe_stays_uncalibrated():

    frames = [dataclasses.replace(frame, calibration=None) for frame in WORLD.frames]
    predictor = TruthPredictor(WORLD)
    prediction = predictor.predict(frames, predictor.new_cache())
    assert all(k.frame().calibration is None for k in keyframes_of(frames, prediction, 0.0))


def test_a_damaged_picture_is_said():
    keyframe = kept()[0]

    with pytest.raises(ValueError, match="cannot be decoded"):
        dataclasses.replace(keyframe, picture=b"nothing").frame()
