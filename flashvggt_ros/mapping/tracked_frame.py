"""A keyframe with its depth and the corners that are seen in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, FrameStamp
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.feature_tracks import KeyframeImage, Pixels

Array = NDArray[np.float64]
Index = NDArray[np.int64]
EDGE = 0.15  # range of depth among neighbors, relative to depth, beyond which it says little
EDGE_WEIGHT = 0.05
CONFIDENCE_WEIGHTS = (0.2, 2.0)  # least and most, of confidence relative to the image's median


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Corners seen in one frame: track (M,), pixel (M, 2), the model's log depth there (M,).

    ``depth_weight`` (M,): how far that is to be trusted, 1 for average.
    """

    track: Index
    pixel: Pixels
    log_depth: Array
    depth_weight: Array

    @classmethod
    def none(cls) -> Sightings:
        """Nothing seen."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0), np.zeros(0))

    def chosen(self, which: NDArray[np.bool_]) -> Sightings:
        """Return those where ``which`` (M,) is True."""
        return Sightings(
            self.track[which], self.pixel[which], self.log_depth[which], self.depth_weight[which]
        )

    def joined(self, others: Sightings) -> Sightings:
        """Return these and ``others``."""
        return Sightings(
            np.append(self.track, others.track),
            np.concatenate([self.pixel, others.pixel]),
            np.append(self.log_depth, others.log_depth),
            np.append(self.depth_weight, others.depth_weight),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """A keyframe's image, camera and depth as the model sees them, and what is tracked in it.

    ``log_depth`` (H, W) float32 in window units, NaN where there is none.
    """

    stamp: FrameStamp
    image: KeyframeImage
    pinhole: Pinhole
    log_depth: NDArray[np.float32]
    depth_weight: NDArray[np.float32]
    seen: Sightings

    def sample(self, tracks: Index, pixels: Pixels) -> Sightings:
        """Make sightings of ``tracks`` (M,) at ``pixels`` (M, 2)."""
        height, width = self.log_depth.shape
        u, v = np.rint(pixels).astype(np.int64).T
        u, v = u.clip(0, width - 1), v.clip(0, height - 1)
        log_depth = self.log_depth[v, u].astype(np.float64)
        weight = self.depth_weight[v, u].astype(np.float64)
        return Sightings(tracks, pixels, log_depth, weight)


def tracked_frame(
    stamp: FrameStamp, prediction: ChunkPrediction, number: int, log_scale: float
) -> TrackedFrame:
    """Take one frame out of a prediction; its depth becomes that of the window by ``log_scale``."""
    depth, confidence = prediction.depth[number], prediction.confidence[number]
    with np.errstate(divide="ignore"):
        log_depth = np.where(depth > 0, np.log(depth), np.float32(np.nan)) + np.float32(log_scale)
    kernel = np.ones((3, 3), np.uint8)
    is_edge = np.asarray(cv2.dilate(depth, kernel) - cv2.erode(depth, kernel)) > EDGE * depth
    relative = np.clip(confidence / np.median(confidence), *CONFIDENCE_WEIGHTS)
    weight = np.where(is_edge, np.float32(EDGE_WEIGHT), relative)
    image = KeyframeImage(prediction.fine_images[number], depth.shape[1])
    pinhole = prediction.cameras[number]
    return TrackedFrame(stamp, image, pinhole, log_depth, weight, Sightings.none())
