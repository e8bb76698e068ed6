import tracemalloc

import numpy as np
import pytest

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.gated_frames import GatedFrames, joined
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.worlds import look

SECOND = 10**9
POSES = np.stack([look((x, 0.2 * x, 1.0), yaw) for x, yaw in ((0, 0), (1, 0.4), (3, 0.2))])


def trajectory(stamps, poses=POSES, camera="camera"):
    return Trajectory(tuple(FrameStamp(stamp, camera) for stamp in stamps), poses[: len(stamps)])


def seen(keyframes, gated, camera="camera"):
    frames = GatedFrames()
    for stamp in sorted({*keyframes, *gated}):
        frames.add(FrameStamp(stamp, camera), is_keyframe=stamp in keyframes)
    return frames


def stamps(found):
    return [frame.stamp_ns for frame in found.frames]


def test_a_gated_frame_lies_between_its_keyframes_by_stamp():
    keyframes = [10 * SECOND, 11 * SECOND, 13 * SECOND]
    found = seen(keyframes, [int(10.25 * SECOND), 12 * SECOND]).placed(trajectory(keyframes))
    assert stamps(found) == [int(10.25 * SECOND), 12 * SECOND]
    for pose, (start, end, fraction) in zip(
        found.T_map_camera, ((0, 1, 0.25), (1, 2, 0.5)), strict=True
    ):
        between = se3.interpolate(POSES[start], POSES[end], fraction)
        assert pose == pytest.approx(between, abs=1e-12)


def test_after_the_last_keyframe_its_pose_holds():
    found = seen([1, 2, 3], [4, 900]).placed(trajectory([1, 2, 3]))
    assert stamps(found) == [4, 900]
    assert found.T_map_camera == pytest.approx(np.stack([POSES[2]] * 2), abs=1e-12)


def test_around_a_lost_keyframe_nothing_is_made_up():
    frames = seen([10, 20, 30], [15, 25, 35])
    kept = Trajectory((FrameStamp(10, "camera"), FrameStamp(30, "camera")), POSES[[0, 2]])
    found = frames.placed(kept)
    assert stamps(found) == [15, 35]  # 25 shows what the lost keyframe showed
    assert found.T_map_camera == pytest.approx(POSES[[0, 2]], abs=1e-12)


def test_cameras_do_not_mix():
    frames = GatedFrames()
    for stamp, camera, is_keyframe in (
        (10, "left", True), (11, "right", True), (12, "left", False), (13, "right", False),
        (14, "left", True),
    ):
        frames.add(FrameStamp(stamp, camera), is_keyframe=is_keyframe)
    keyframes = joined(trajectory([10], POSES[:1], "left"), trajectory([11], POSES[1:], "right"),
                       trajectory([14], POSES[2:], "left"))
    found = frames.placed(keyframes)
    assert found.frames == (FrameStamp(12, "left"), FrameStamp(13, "right"))
    assert found.T_map_camera[0] == pytest.approx(se3.interpolate(POSES[0], POSES[2], 0.5))
    assert found.T_map_camera[1] == pytest.approx(POSES[1])


def test_nothing_gated_and_nothing_mapped_are_no_error():
    assert seen([1, 2], []).placed(trajectory([1, 2])).frames == ()
    assert seen([1], [2, 3]).placed(trajectory([])).T_map_camera.shape == (0, 4, 4)


def test_an_hour_of_standing_still_is_remembered_in_a_megabyte():
    frames = GatedFrames()
    tracemalloc.start()
    try:
        for number in range(108_000):
            frames.add(FrameStamp(number, "camera"), is_keyframe=number == 0)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.1e6
    assert len(frames.placed(trajectory([0])).frames) == 107_999
