"""Depth images, raw or compressedDepth, as a track that can be asked at the stamp of an image."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.image_decoding import Encoding, view_rows
from flashvggt_ros.sensors.image_streams import PNG_SIGNATURE, png_size
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    check_image_size,
    read_integer,
    read_octets,
    read_text,
)
from flashvggt_ros.sensors.stamped_track import TopicTrack

WIDTH = 160  # about, of depth images as they are kept [px]: a scale needs no more
MOST_PIXELS = WIDTH * 4 * WIDTH  # of those that are higher than wide
MOST_BYTES = 64_000_000  # of one topic's images
MILLIMETER = 1e-3
RAW_ENCODINGS = ("16UC1", "mono16", "32FC1")
CONFIG = struct.Struct("<iff")  # of compressed_depth_image_transport: format, depth parameters A, B

DepthImage = NDArray[np.float32]
Load = Callable[[], DepthImage]


class DepthTrack(TopicTrack[tuple[str, Load]]):
    """The depth images of one topic, thinned, by stamp.

    Raw images are 16UC1 [mm] or 32FC1 [m] (REP-118), compressed ones PNG as
    compressed_depth_image_transport makes them; 0, NaN and Inf mean not measured. They must show
    the camera's own view: their frame is the camera's. Sizes beyond ``max_megapixels`` are refused
    before any memory is taken; a compressed image is decoded when it is asked for.
    """

    def __init__(self, topic: str, max_megapixels: float) -> None:
        super().__init__(topic, "depth image", MOST_BYTES)
        self.frame = ""  # of the newest image
        self._max_megapixels = max_megapixels

    def at(self, camera: str, stamp_ns: int, tolerance_ns: int) -> DepthImage | None:
        """Return the camera's depth (h, w) [m] whose stamp is nearest; None: none is near."""
        near = self._track.within(stamp_ns - tolerance_ns, stamp_ns + tolerance_ns)
        near = [entry for entry in near if entry[1][0] == camera]
        if not near:
            return None
        _, (_, load) = min(near, key=lambda entry: abs(entry[0] - stamp_ns))
        try:
            return load()
        except RejectedInput as rejection:
            self.rejections.add(rejection)
            return None

    def _read(self, message: Any, frame: str) -> tuple[tuple[str, Load], int]:
        if not frame:
            raise RejectedInput("frame_missing", "frame_id is empty: name the camera's frame")
        if hasattr(message, "encoding"):
            depth = decode_depth(message, self._max_megapixels)
            self.frame = frame
            return (frame, lambda: depth), depth.nbytes
        form, stream = check_compressed_depth(message, self._max_megapixels)
        self.frame = frame
        return (frame, partial(decode_compressed_depth, form, stream)), len(stream)


def decode_depth(message: Any, max_megapixels: float) -> DepthImage:
    """Return a raw depth image thinned to about WIDTH columns: (h, w) [m], 0: not measured.

    Pixels are picked, the middle ones of blocks of equal size. Raises RejectedInput.
    """
    width, height = read_integer(message, "width"), read_integer(message, "height")
    check_image_size(width, height, max_megapixels)
    encoding = read_text(message, "encoding")
    if encoding not in RAW_ENCODINGS:
        raise RejectedInput(
            "unknown_encoding",
            f"encoding '{encoding[:40]}' is no depth; publish 16UC1 (millimeters) or 32FC1 "
            "(meters)",
        )
    kind, size = ("f", 4) if encoding == "32FC1" else ("u", 2)
    values = view_rows(message, Encoding(size, 1, None), height, width, kind)[..., 0]
    return _meters(_thinned(values), 1.0 if kind == "f" else MILLIMETER)


def check_compressed_depth(message: Any, max_megapixels: float) -> tuple[str, bytes]:
    """Return encoding and stream (header and PNG) of a compressedDepth image, or RejectedInput.

    ``format`` is the raw encoding, a semicolon and "compressedDepth", with "png" or nothing behind.
    """
    form = read_text(message, "format")
    encoding, _, transport = (part.strip() for part in form.partition(";"))
    if encoding not in RAW_ENCODINGS or transport not in ("compressedDepth", "compressedDepth png"):
        raise RejectedInput(
            "unknown_encoding",
            f"format '{form[:60]}' is not '16UC1; compressedDepth' or '32FC1; compressedDepth' "
            "as PNG; let the camera's transport compress to png",
        )
    octets = read_octets(message)
    stream = octets[CONFIG.size :].data
    if bytes(stream[: len(PNG_SIGNATURE)]) != PNG_SIGNATURE:
        raise RejectedInput("undecodable", f"no PNG begins at byte {CONFIG.size} of the data")
    width, height = png_size(stream)
    check_image_size(width, height, max_megapixels)
    return encoding, octets.tobytes()


def decode_compressed_depth(encoding: str, stream: bytes) -> DepthImage:
    """Return a checked compressedDepth image like ``decode_depth``. Raises RejectedInput.

    32FC1 is sent as inverse depth: depth = A / (value - B).
    """
    _, first, second = CONFIG.unpack_from(stream)
    octets = np.frombuffer(stream, np.uint8)[CONFIG.size :]
    try:
        values = cv2.imdecode(octets, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise RejectedInput("undecodable", f"OpenCV cannot decode the PNG: {error}") from None
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise RejectedInput("undecodable", "the PNG is not one channel of 16 bits")
    picked = _thinned(values)
    if encoding != "32FC1":
        return _meters(picked, MILLIMETER)
    if not (np.isfinite(first) and np.isfinite(second)):
        raise RejectedInput("not_finite", f"the depth parameters are {first} and {second}")
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = first / (picked.astype(np.float64) - second)
    return _meters(np.where(picked > 0, depth, 0), 1.0)


def _thinned(values: NDArray[Any]) -> NDArray[Any]:
    height, width = values.shape
    step = max(1, round(width / WIDTH), math.isqrt(height * width // MOST_PIXELS))
    row, column = min(step // 2, height - 1), min(step // 2, width - 1)
    return values[row::step, column::step]


def _meters(values: NDArray[Any], unit: float) -> DepthImage:
    with np.errstate(over="ignore", invalid="ignore"):  # signaling NaN
        depth = np.asarray(values, np.float32) * np.float32(unit)
    is_measured = np.isfinite(depth) & (depth > 0)
    return np.where(is_measured, depth, np.float32(0))
