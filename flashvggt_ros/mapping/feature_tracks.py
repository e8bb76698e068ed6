"""Corners followed from keyframe to keyframe, to a fraction of a pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = (13, 13)  # of a corner's surroundings that are compared [fine px]
LEVELS = 2  # halvings of the model's image; the guess from depth and poses does the rest
NEIGHBORHOOD = 31  # whose mean and contrast each pixel is measured by [px]
NOISE = 5.0  # contrast that is not amplified [gray levels]
CORNER_STRENGTH = 5e-4  # smallest eigenvalue of the gradients that stands out of noise
CORNER_DISTANCE = 9  # between two corners [px]
ROUND_TRIP = 0.7  # a corner followed there and back again returns this closely [fine px]
BORDER = 10  # corners closer to the border are not followed: beyond it are made-up pixels [px]

Pixels = NDArray[np.float64]


class KeyframeImage:
    """An image made ready for following corners: exposure makes no difference.

    ``fine`` (F H, F W) is ``detail`` F times as fine as the model's image, ``coarse`` (H, W) as
    that. Pixels are those of the model, with centers at integers in both.
    """

    def __init__(self, gray: NDArray[np.uint8], width: int) -> None:
        """Take a gray image (F H, F W) of what the model saw ``width`` pixels wide."""
        self.detail = gray.shape[1] // width
        self.fine = _normalized(gray, self.detail)
        size = (width, gray.shape[0] // self.detail)
        self.coarse = np.asarray(cv2.resize(self.fine, size, interpolation=cv2.INTER_AREA))

    def to_fine(self, pixels: Pixels) -> Pixels:
        """Where pixels (M, 2) of the model's image are in ``fine``."""
        return (pixels + 0.5) * self.detail - 0.5

    def from_fine(self, pixels: Pixels) -> Pixels:
        """Invert to_fine."""
        return (pixels + 0.5) / self.detail - 0.5

    def contains(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Which pixels (M, 2) are finite and inside the image, not at its border (M,)."""
        height, width = self.coarse.shape
        high = np.array([width - 1 - BORDER, height - 1 - BORDER])
        return np.asarray(((pixels >= BORDER) & (pixels <= high)).all(axis=1))

    def new_corners(self, known: Pixels, most: int) -> Pixels:
        """Find up to ``most`` corners (M, 2) that keep their distance from ``known`` (N, 2) [px].

        They are those of Shi and Tomasi (CVPR 1994) that stand out of the noise.
        """
        strength = cv2.cornerMinEigenVal(self.fine, blockSize=5, ksize=3)
        mask = (strength > CORNER_STRENGTH).astype(np.uint8)
        distance = CORNER_DISTANCE * self.detail
        for u, v in np.rint(self.to_fine(known)).astype(int).tolist():
            cv2.circle(mask, (u, v), distance, 0, -1)
        if most <= 0 or not mask.any():
            return np.zeros((0, 2))
        found = cv2.goodFeaturesToTrack(self.fine, most, 1e-3, distance, mask=mask, blockSize=5)
        if found is None:
            return np.zeros((0, 2))
        corners = self.from_fine(np.asarray(found, np.float64)[:, 0])
        return corners[self.contains(corners)]


def follow(
    source: KeyframeImage, target: KeyframeImage, pixels: Pixels, guesses: Pixels
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Find where pixels (M, 2) of one image are in another: pixels (M, 2), and which were found.

    Lucas and Kanade in pyramids, from ``guesses`` (M, 2) on, and back again from as far away from
    the start as the guess was from the end. Pixels whose guess is outside are not looked for.
    """
    places = guesses.copy()
    is_found = source.contains(pixels) & target.contains(guesses)
    if not is_found.any():
        return places, is_found
    start, guess = source.to_fine(pixels[is_found]), target.to_fine(guesses[is_found])
    there, seen = _flow(source, target, start, guess)
    back, returned = _flow(target, source, there, there - (guess - start))
    is_close = np.linalg.norm(back - start, axis=1) < ROUND_TRIP
    places[is_found] = target.from_fine(there)
    is_found[is_found] = seen & returned & is_close & target.contains(places[is_found])
    return places, is_found


def _flow(
    source: KeyframeImage, target: KeyframeImage, start: Pixels, guess: Pixels
) -> tuple[Pixels, NDArray[np.bool_]]:
    levels = LEVELS + math.ceil(math.log2(source.detail))
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        source.fine, target.fine, start.astype(np.float32).reshape(-1, 1, 2),
        guess.astype(np.float32).reshape(-1, 1, 2).copy(order="C"), winSize=WINDOW, maxLevel=levels,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return np.asarray(there, np.float64)[:, 0], np.asarray(found)[:, 0] > 0


def _normalized(gray: NDArray[np.uint8], detail: int) -> NDArray[np.uint8]:
    """Gray image whose every neighborhood has mean 128 and, unless it is blank, contrast 45."""
    smooth = np.asarray(cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 0.7))
    size = (NEIGHBORHOOD * detail // 2 * 2 + 1,) * 2
    mean = cv2.boxFilter(smooth, -1, size)
    variance = np.maximum(cv2.sqrBoxFilter(smooth, -1, size) - mean**2, 0)
    scaled = 128 + 45 * (smooth - mean) / np.sqrt(variance + NOISE**2)
    return np.clip(scaled, 0, 255).astype(np.uint8)
