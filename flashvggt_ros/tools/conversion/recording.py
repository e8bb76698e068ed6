"""A recording of a public data set: what a converter reads and a bag is written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.image_streams import JPEG_SIGNATURE, PNG_SIGNATURE, jpeg_size, png_size
from flashvggt_ros.sensors.rejected_input import RejectedInput

START_NS = 1_700_000_000_000_000_000  # for sequences whose time begins at zero


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
    content = path.read_bytes()
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
