import random

import numpy as np
import pytest

from flashvggt_ros.model.flashvggt import PRESETS
from flashvggt_ros.model.preprocess import Preprocessor
from training.schedule import GRIDS, LAST_RATE, SCHEDULES


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_step_has_chunks_that_make_up_its_sequences(name):
    schedule = SCHEDULES[name]
    for step in range(400):
        kind, sizes, grid = schedule.choose(step / 400, random.Random(step))
        assert sum(sizes) == kind.frames
        assert grid in dict(schedule.grids)


@pytest.mark.parametrize("size", [(640, 480), (540, 360), (752, 480), (1280, 720), (1242, 375),
                                  (480, 640), (1920, 1080), (1226, 370), (1280, 550), (1080, 1920),
                                  (1600, 580), (500, 500)])
def test_images_of_common_cameras_are_trained_for(size):
    config = PRESETS["flashvggt-mini"]
    preprocessor = Preprocessor(config, width=0, use_calibration=False)
    canvas = preprocessor.canvas(np.zeros((size[1], size[0], 3), np.uint8))
    grid = (canvas.height // config.patch_size, canvas.width // config.patch_size)
    assert grid in dict(GRIDS)


def test_rates_rise_stay_and_fall():
    schedule = SCHEDULES["continue"]
    assert schedule.rate(0.0, 0) < 0.01
    assert schedule.rate(0.3, 500) == 1.0
    assert schedule.rate(0.8, 500) == pytest.approx(0.5, abs=0.02)
    assert schedule.rate(1.0, 500) == pytest.approx(LAST_RATE)


def test_auxiliary_heads_settle_before_they_move_a_trained_model():
    shares = [SCHEDULES["continue"].auxiliary_share(step) for step in (0, 100, 150, 200, 999)]
    assert shares == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert SCHEDULES["continue"].auxiliary_rate(0.0, 0) == 1.0
    assert SCHEDULES["scratch"].auxiliary_share(0) == 1.0
    assert SCHEDULES["scratch"].auxiliary_rate(0.0, 0) == SCHEDULES["scratch"].rate(0.0, 0)


def test_long_sequences_come_last_and_short_ones_stay():
    schedule = SCHEDULES["continue"]
    lengths = [{schedule.choose(progress, random.Random(seed))[0].frames for seed in range(300)}
               for progress in (0.1, 0.9)]
    assert lengths == [{8, 16, 32}, {8, 16, 32, 64, 96}]
