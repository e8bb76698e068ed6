"""Corners followed from keyframe to keyframe, to a fraction of a pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = (13, 13)  # of a corner's surroundings that are compared [px]
LEVELS = 2  # halvings of the image; the guess from depth and poses does the rest
NEIGHBORHOOD = 31  # whose mean and contrast each pixel is measured by [px]
NOISE = 5.0  # contrast that is not amplified [gray levels]
CORNER_STRENGTH = 5e-4  # smallest eigenvalue of the gradients that stands out of noise
CORNER_DISTANCE = 9  # between two corners [px]
ROUND_TRIP = 0.7  # a corner followed there and back again returns this closely [px]
BORDER = 10  # corners closer to the border are not followed: beyond it are made-up pixels [px]

Pixels = NDArray[np.float64]


class KeyframeImage:
    """An image (H, W, 3) RGB made ready for following corners: exposure makes no difference."""

    def __init__(self, colors: NDArray[np.uint8]) -> None:
        self.gray = _normalized(colors)

    def contains(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Which pixels (M, 2) are finite and inside the image, not at its border (M,)."""
        height, width = self.gray.shape
        high = np.array([width - 1 - BORDER, height - 1 - BORDER])
        return np.asarray(((pixels >= BORDER) & (pixels <= high)).all(axis=1))

    def new_corners(self, known: Pixels, most: int) -> Pixels:
        """Find up to ``most`` corners (M, 2) that keep their distance from ``known`` (N, 2) [px].

        They are those of Shi and Tomasi (CVPR 1994) that stand out of the noise.
        """
        strength = cv2.cornerMinEigenVal(self.gray, blockSize=5, ksize=3)
        mask = (strength > CORNER_STRENGTH).astype(np.uint8)
        for u, v in np.rint(known).astype(int).tolist():
            cv2.circle(mask, (u, v), CORNER_DISTANCE, 0, -1)
        if most <= 0 or not mask.any():
            return np.zeros((0, 2))
        found = cv2.goodFeaturesToTrack(
            self.gray, most, 1e-3, CORNER_DISTANCE, mask=mask, blockSize=5
        )
        corners = np.zeros((0, 2)) if found is None else np.asarray(found, np.float64)[:, 0]
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
    start, guess = pixels[is_found], guesses[is_found]
    there, seen = _flow(source, target, start, guess)
    back, returned = _flow(target, source, there, there - (guess - start))
    is_close = np.linalg.norm(back - start, axis=1) < ROUND_TRIP
    places[is_found] = there
    is_found[is_found] = seen & returned & is_close & target.contains(there)
    return places, is_found


def _flow(
    source: KeyframeImage, target: KeyframeImage, start: Pixels, guess: Pixels
) -> tuple[Pixels, NDArray[np.bool_]]:
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        source.gray, target.gray, start.astype(np.float32).reshape(-1, 1, 2),
        guess.astype(np.float32).reshape(-1, 1, 2).copy(order="C"), winSize=WINDOW, maxLevel=LEVELS,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return np.asarray(there, np.float64)[:, 0], np.asarray(found)[:, 0] > 0


def _normalized(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray image whose every neighborhood has mean 128 and, unless it is blank, contrast 45."""
    gray = cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = np.asarray(cv2.GaussianBlur(gray, (0, 0), 0.7))
    size = (NEIGHBORHOOD, NEIGHBORHOOD)
    mean = cv2.boxFilter(gray, -1, size)
    variance = np.maximum(cv2.sqrBoxFilter(gray, -1, size) - mean**2, 0)
    scaled = 128 + 45 * (gray - mean) / np.sqrt(variance + NOISE**2)
    return np.clip(scaled, 0, 255).astype(np.uint8)
