"""Decides which images show enough that is new to be worth a place in the map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import KeyframeConfig
from flashvggt_ros.frame import Frame

WIDTH = 160  # of the small image that is tracked [px]
CORNERS = 150
MIN_CORNERS = 12  # fewer of them, and the thumbnail decides
CORNER_STRENGTH = 4e-4  # smallest eigenvalue of the gradients; noise of 10 gray levels stays below
FAST = 75  # percentile of the corners' motions that counts: ahead of a car most hardly move
ROUND_TRIP = 1.0  # a point tracked there and back again returns this closely [px]
THUMBNAIL = (16, 12)  # [px]
THUMBNAIL_CONTRAST = 2.0  # standard deviation below which an image shows nothing [gray levels]
THUMBNAIL_CHANGE = 6.0  # mean difference, after that of the brightness [gray levels]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What the gate remembers of a keyframe."""

    image: NDArray[np.uint8]
    thumbnail: NDArray[np.float32]
    corners: NDArray[np.float32]


class KeyframeGate:
    """Compares each image with the last keyframe of the same camera.

    Corners (Shi and Tomasi) are tracked from the keyframe into the image (Lucas and Kanade in
    pyramids, there and back again) on an image of 160 px width, normalized against exposure. The
    first image of a camera always passes. Later ones pass where the median corner has moved by
    ``min_motion``, or where fewer than ``min_tracked`` of the corners are still seen. An image
    without any contrast never does: it shows nothing. After a keyframe with hardly any corners a
    coarse thumbnail decides. ``has_stood``: the corners of the newest image were where they were.
    """

    def __init__(self, config: KeyframeConfig) -> None:
        self._config = config
        self._keyframes: dict[str, _View] = {}
        self.has_stood = False

    def accepts(self, frame: Frame) -> bool:
        """Whether ``frame`` shows something new; if so, later frames are compared with it."""
        gray = _small_gray(frame.image)
        thumbnail = cv2.resize(gray, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        thumbnail -= thumbnail.mean()
        image = _normalized(gray)
        self.has_stood = False
        keyframe = self._keyframes.get(frame.camera)
        if keyframe is not None and not self._shows_new(keyframe, image, thumbnail):
            return False
        self._keyframes[frame.camera] = _View(image, thumbnail, _corners(image))
        return True

    def _shows_new(
        self, keyframe: _View, image: NDArray[np.uint8], thumbnail: NDArray[np.float32]
    ) -> bool:
        if image.shape != keyframe.image.shape:
            return True
        if thumbnail.std() < THUMBNAIL_CONTRAST:
            return False
        if len(keyframe.corners) < MIN_CORNERS:
            change = np.abs(thumbnail - keyframe.thumbnail).mean()
            return bool(change > THUMBNAIL_CHANGE)
        motion = _track(keyframe, image)
        if len(motion) < max(1, self._config.min_tracked * len(keyframe.corners)):
            return True
        most = self._config.min_motion * image.shape[1]
        self.has_stood = bool(np.percentile(motion, FAST) < most)
        return not self.has_stood


def _small_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray image of at most 160 px width, each pixel the mean of those that it replaces."""
    height, width = image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, np.uint8)


def _normalized(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image at mean 128 and contrast 50: exposure and gain make no difference."""
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    gain = min(4.0, 50.0 / max(deviation, 1e-6))  # bounded: noise is not to become texture
    smooth = cv2.GaussianBlur(gray, (0, 0), 0.8)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=gain, beta=128 - gain * mean), np.uint8)


def _corners(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return up to 150 corners (M, 1, 2) [px] that stand out of the noise."""
    strength = cv2.cornerMinEigenVal(image, blockSize=5, ksize=3)
    mask = (strength > CORNER_STRENGTH).astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(image, CORNERS, 0.01, 5, mask=mask, blockSize=5)
    return np.zeros((0, 1, 2), np.float32) if corners is None else np.asarray(corners, np.float32)


def _track(keyframe: _View, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far [px] each corner that could be tracked into ``image`` has moved (M,)."""
    there, seen = _flow(keyframe.image, image, keyframe.corners)
    back, returned = _flow(image, keyframe.image, there)
    is_close = np.linalg.norm((back - keyframe.corners)[:, 0], axis=1) < ROUND_TRIP
    moved = np.linalg.norm((there - keyframe.corners)[:, 0], axis=1)
    return np.asarray(moved[seen & returned & is_close], np.float32)


def _flow(
    start: NDArray[np.uint8], end: NDArray[np.uint8], corners: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where corners (M, 1, 2) of one image are in another, and which of them were found (M,)."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        start, end, corners, np.empty_like(corners), winSize=(13, 13), maxLevel=3
    )
    return np.asarray(there, np.float32), np.asarray(found)[:, 0] > 0
