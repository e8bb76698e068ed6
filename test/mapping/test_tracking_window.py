"""Corners that were lost are looked for again, and what nobody asks for is left out."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import BundleAdjustmentConfig
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.bundle_problem import Priors
from flashvggt_ros.mapping.feature_tracks import KeyframeImage
from flashvggt_ros.mapping.tracked_frame import Sightings, TrackedFrame
from flashvggt_ros.mapping.tracking_window import LEAST_TO_RELINK, MOST_SEEN, TrackingWindow
from flashvggt_ros.mapping.window_problem import motion_priors, window_problem

PINHOLE = Pinhole(160.0, 160.0, 111.5, 83.5, 224, 168)
FRAMES = 4
CORNERS = 60


@pytest.fixture
def window() -> TrackingWindow:
    """Four times the same image from the same place; each corner of the first is in all."""
    noise = np.random.default_rng(0).normal(0, 1, (PINHOLE.height, PINHOLE.width))
    gray = np.clip(128 + 200 * cv2.GaussianBlur(noise, (0, 0), 2.5), 0, 255).astype(np.uint8)
    image = KeyframeImage(gray, PINHOLE.width)
    depth = np.zeros(gray.shape, np.float32)
    window = TrackingWindow(CORNERS)
    for number in range(FRAMES):
        stamp = FrameStamp(number, "camera")
        frame = TrackedFrame(stamp, image, PINHOLE, depth, depth + 1, Sightings.none())
        window.add(frame, np.eye(4), 0.0)
    return window


def lose(window: TrackingWindow, tracks: int, numbers: range) -> None:
    """Let frames see the first tracks no longer."""
    for number in numbers:
        frame = window.frames[number]
        window.frames[number] = replace(frame, seen=frame.seen.chosen(frame.seen.track >= tracks))


@pytest.mark.parametrize("lost", [LEAST_TO_RELINK - 1, LEAST_TO_RELINK])
def test_lost_tracks_are_found_again_where_they_are_enough_to_look_for(
    window: TrackingWindow, lost: int
) -> None:
    known = set(window.frames[-1].seen.track.tolist())
    lose(window, lost, range(FRAMES - 1, FRAMES))

    window.relink(FRAMES - 1)

    missing = known - set(window.frames[-1].seen.track.tolist())
    assert missing == (set(range(lost)) if lost < LEAST_TO_RELINK else set())


def test_a_place_seen_again_and_again_costs_no_more_each_time(window: TrackingWindow) -> None:
    for number in range(FRAMES, 5 * FRAMES, 2):  # its corners become new tracks each time
        lose(window, len(window.anchor), range(len(window.frames) - 1, len(window.frames)))
        for stamp in (FrameStamp(number, "camera"), FrameStamp(number + 1, "camera")):
            frame = replace(window.frames[0], stamp=stamp, seen=Sightings.none())
            window.add(frame, np.eye(4), 0.0)
    last = len(window.frames) - 1
    known = set(window.frames[last].seen.track.tolist())
    assert len(window.anchor) > 5 * len(known)

    window.relink(last)

    seen = window.frames[last].seen.track.tolist()
    assert known < set(seen)
    assert len(seen) == len(set(seen)) <= MOST_SEEN * CORNERS


def test_tracks_that_no_free_pose_sees_are_no_part_of_the_problem(window: TrackingWindow) -> None:
    lose(window, 10, range(2, FRAMES))
    ones = np.ones(FRAMES)
    priors = Priors(motion_priors(window), 0 * ones, ones, 0.0, 0.0)

    for fixed, first in ((1, 0), (2, 10)):
        is_free = np.arange(FRAMES) >= fixed
        made = window_problem(window, priors, is_free, BundleAdjustmentConfig())
        assert made is not None
        assert made.tracks.min() == first


def test_rotations_stay_rotations_over_hundreds_of_submaps(window):
    """Each submap moves the window to its first frame, by the inverse of that one's pose."""
    turns = Rotation.from_rotvec([[0.1 * n, 0.3, -0.2 * n] for n in range(FRAMES)]).as_matrix()
    window.T_window_camera[:, :3, :3] = turns
    window.T_window_camera[:, 0, 3] = range(FRAMES)
    apart = np.linalg.inv(window.T_window_camera[0]) @ window.T_window_camera[-1]
    for number in range(300):
        window.move(se3.inverse(window.T_window_camera[number % FRAMES]))
    rotations = window.T_window_camera[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, 1, 2), [np.eye(3)] * FRAMES, atol=1e-12
    )
    np.testing.assert_allclose(
        np.linalg.inv(window.T_window_camera[0]) @ window.T_window_camera[-1], apart, atol=1e-9
    )
