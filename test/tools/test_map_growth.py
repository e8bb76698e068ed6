import numpy as np
import pytest
from PIL import Image

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.tools.map_growth import PATH_COLOR, Stage, draw_growth
from flashvggt_ros.worlds import walk

TRUE_STAMPS = list(range(0, 4000, 100))
POSITIONS = walk(40)[:, :3, 3]


def stage(keyframes, points):
    rng = np.random.default_rng(0)
    cloud = rng.uniform(-2, 2, (points, 3)).astype(np.float32)
    frames = tuple(FrameStamp(stamp, "camera") for stamp in TRUE_STAMPS[:keyframes])
    return Stage(cloud, np.full((points, 3), 90, np.uint8), frames, POSITIONS[:keyframes])


def test_the_animation_has_a_frame_for_each_stage_and_shows_path_and_truth(tmp_path):
    path = tmp_path / "growth.webp"
    S_truth = 3.0 * POSITIONS @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]]) + 5.0
    draw_growth(path, [stage(5, 100), stage(20, 500), stage(40, 900)], TRUE_STAMPS, S_truth)
    with Image.open(path) as animation:
        assert animation.n_frames == 3
        shown = []
        for number in range(3):
            animation.seek(number)
            picture = np.asarray(animation.convert("RGB"))[80:].astype(int)
            shown.append((np.abs(picture - PATH_COLOR).max(axis=2) < 60).sum())
    assert 0 < shown[0] < shown[1] < shown[2]


def test_a_path_without_truth_is_refused(tmp_path):
    with pytest.raises(ValueError, match="only 0 of 40 keyframes"):
        draw_growth(tmp_path / "growth.webp", [stage(40, 100)], [1, 2, 3], POSITIONS[:3])
