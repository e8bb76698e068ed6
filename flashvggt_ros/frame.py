"""The records that flow through the system, one way: Frame, Chunk, ChunkPrediction, MapUpdate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Calibration, Pinhole


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of one camera.

    ``camera`` is the frame_id of the camera's optical frame. ``image`` is uint8 RGB (H, W, 3), as
    taken (not undistorted). ``calibration`` is None where the camera is uncalibrated: the model
    then estimates the field of view; every other member always has a value.
    """

    stamp_ns: int
    camera: str
    image: NDArray[np.uint8]
    calibration: Calibration | None


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Keyframes for one call of the model, in order of arrival."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPrediction:
    """What the model says of a chunk of N frames, the last N of the K frames of its submap.

    The submap frame is the model's: the first camera of the descriptor cache, arbitrary scale.

    ``T_submap_camera`` (K, 4, 4) float64: poses of all frames of the submap so far; they supersede
    those of earlier chunks. ``depth`` (N, H, W) float32 along z in submap units, 0 where there is
    none. ``confidence`` (N, H, W) float32, at least 1. ``colors`` (N, H, W, 3) uint8 RGB: the
    images as the model saw them (undistorted, resized). ``fine_images`` (N, F H, F W) uint8: the
    same in gray and F >= 1 times as fine, to follow corners in. ``cameras``: N pinholes at H x W.
    ``signatures`` (N, D) float32 of length 1: what each image shows as a whole; images of the same
    place have a large inner product.
    """

    T_submap_camera: NDArray[np.float64]
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]
    fine_images: NDArray[np.uint8]
    cameras: tuple[Pinhole, ...]
    signatures: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameStamp:
    """Which frame a pose belongs to."""

    stamp_ns: int
    camera: str


@dataclass(frozen=True, slots=True, eq=False)
class MapUpdate:
    """What one chunk changed.

    ``new`` and ``T_map_camera`` (N, 4, 4): the chunk's frames that had no pose before, in order of
    arrival. ``points_map`` (M, 3) float32 [m] and ``colors`` (M, 3) uint8 RGB: the chunk's cloud.
    ``submap`` counts from 0. ``is_joined`` is False when the submap could not be aligned with the
    one before it: its poses then continue from the last pose and the map is torn there.
    """

    new: tuple[FrameStamp, ...]
    T_map_camera: NDArray[np.float64]
    points_map: NDArray[np.float32]
    colors: NDArray[np.uint8]
    submap: int
    is_joined: bool
