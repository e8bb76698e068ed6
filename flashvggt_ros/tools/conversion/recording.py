"""A recording of a public data set: what a converter reads and a bag is written from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.map_io import FARTHEST_M
from flashvggt_ros.sensors.image_streams import JPEG_SIGNATURE, PNG_SIGNATURE, jpeg_size, png_size
from flashvggt_ros.sensors.rejected_input import RejectedInput

START_NS = 1_700_000_000_000_000_000  # for sequences whose time begins at zero
LAST_S = 2**31 - 1  # of a stamp of ROS
ROTATION_TOLERANCE = 0.05  # of R R^T from one
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimedFile:
    """An image file and its stamp [ns]."""

    stamp_ns: int
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """``stamps_ns`` (N,) and ``T_world_camera`` (N, 4, 4) of the optical frame; may be empty."""

    stamps_ns: Sequence[int]
    T_world_camera: NDArray[np.float64]


NO_TRUTH = Truth((), np.empty((0, 4, 4)))


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """K as fx, fy, cx, cy [px], and distortion as Calibration names it."""

    K: tuple[float, float, float, float]
    distortion: str = "none"
    coefficients: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Images of one camera in order of time, depth images where there are any, and the truth.

    ``depth_unit`` is how many millimeters a depth image's 1 stands for.
    """

    camera: CameraModel
    images: tuple[TimedFile, ...]
    truth: Truth
    depth: tuple[TimedFile, ...] = ()
    depth_unit: float = 1.0


ReadRecording = Callable[[Path], Recording]


def require(folder: Path, name: str, source: str) -> Path:
    """Return a file or folder of a data set. Raises ValueError that says where to get it."""
    path = folder / name
    if not path.exists():
        raise ValueError(f"{folder} has no {name}: {source}")
    return path


def text_of(path: Path) -> str:
    """Read a text file. Raises ValueError that names it where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file") from None


def content_of(path: Path) -> bytes:
    """Read a file that the data set names. Raises ValueError where it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: is the sequence unpacked whole?") from None


def nanoseconds_of(seconds: str, place: str) -> int:
    """A time written in seconds [ns]. Raises ValueError that names the place."""
    try:
        time = Decimal(seconds)
        if 0 <= time <= LAST_S:
            return int((time * 10**9).to_integral_value())
    except ArithmeticError:
        pass
    raise ValueError(f"{place}: not a time from 0 to {LAST_S} seconds: {seconds[:40]}")


def check_poses(T: NDArray[np.float64], place: str) -> None:
    """Raise ValueError, with the place, for the first of (N, 4, 4) that is no rotation and place.

    Those of one place are counted from 0.
    """
    R = T[:, :3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        is_pose = (off < ROTATION_TOLERANCE) & (np.linalg.det(R) > 0)
        is_pose &= (np.abs(T[:, :3, 3]) <= FARTHEST_M).all(axis=1)
    if not is_pose.all():
        row = int(np.argmin(is_pose))
        raise ValueError(f"{place}: pose {row} is no rotation and place: {T[row, :3].tolist()}")


def numbers_of(text: str, place: str) -> list[float]:
    """Numbers between blanks. Raises ValueError that names the place."""
    try:
        return [float(entry) for entry in text.split()]
    except ValueError:
        raise ValueError(f"{place}: not numbers: {text.strip()[:80]}") from None


def read_image(path: Path) -> tuple[str, NDArray[np.uint8], tuple[int, int]]:
    """Read an image file as it is: its form (jpeg or png), its bytes, and width and height [px].

    Raises ValueError where it is neither JPEG nor PNG, or cut off.
    """
    content = content_of(path)
    stream = memoryview(content)
    try:
        if content.startswith(PNG_SIGNATURE):
            form, size = "png", png_size(stream)
        elif content.startswith(JPEG_SIGNATURE):
            form, size = "jpeg", jpeg_size(stream)
        else:
            raise ValueError(f"{path} is neither JPEG nor PNG")
    except RejectedInput as error:
        raise ValueError(f"{path}: {error}") from None
    return form, np.frombuffer(content, np.uint8), size


def say_lost(path: Path, lost: int) -> None:
    """Say how many poses of a file were left out as they are not finite, if any were."""
    if lost:
        logger.warning("%s: %d true poses are not finite and were left out", path, lost)
