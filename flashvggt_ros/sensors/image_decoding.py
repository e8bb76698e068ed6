"""Pixels of sensor_msgs/Image as uint8 RGB.

Encodings are those of sensor_msgs/image_encodings.hpp. Sixteen bits become eight by rounding v/257
(full scale to full scale).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    check_image_size,
    read_integer,
    read_octets,
    read_text,
)

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Layout of a raw image: bytes per value, values per pixel, and OpenCV's code to RGB.

    ``code`` is None where the values are RGB already. ``block`` (rows, columns) must divide the
    image, which has at least ``least`` rows and columns (OpenCV leaves smaller mosaics black).
    ``is_planar`` means 4:2:0: half as many rows again follow, with the color.
    """

    depth: int
    channels: int
    code: int | None
    block: tuple[int, int] = (1, 1)
    least: int = 1
    is_planar: bool = False


# OpenCV names a Bayer pattern after the second row's second and third pixel: its BG is our rggb.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(1, 3, None),
    "bgr8": Encoding(1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": Encoding(2, 1, cv2.COLOR_GRAY2RGB),
    # Without a color meaning: gray, and OpenCV's order of channels.
    "8UC1": Encoding(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": Encoding(1, 3, cv2.COLOR_BGR2RGB),
    "16UC1": Encoding(2, 1, cv2.COLOR_GRAY2RGB),
    "yuv422": Encoding(1, 2, cv2.COLOR_YUV2RGB_UYVY, (1, 2)),
    "uyvy": Encoding(1, 2, cv2.COLOR_YUV2RGB_UYVY, (1, 2)),
    "yuv422_yuy2": Encoding(1, 2, cv2.COLOR_YUV2RGB_YUYV, (1, 2)),
    "yuyv": Encoding(1, 2, cv2.COLOR_YUV2RGB_YUYV, (1, 2)),
    "nv12": Encoding(1, 1, cv2.COLOR_YUV2RGB_NV12, (2, 2), is_planar=True),
    "nv21": Encoding(1, 1, cv2.COLOR_YUV2RGB_NV21, (2, 2), is_planar=True),
    **{
        f"bayer_{pattern}{8 * depth}": Encoding(depth, 1, code, (2, 2), least=4)
        for pattern, code in _BAYER.items()
        for depth in (1, 2)
    },
}


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """A raw image that check_image() has found in order, not yet converted; size [px].

    ``convert`` makes RGB (H, W, 3) uint8 of the message.
    """

    message: Any
    convert: Callable[[Any], RgbImage]

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.message.width)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.message.height)

    @property
    def nbytes(self) -> int:
        """Size of the message."""
        return read_octets(self.message).nbytes

    def decode(self, reduction: int) -> RgbImage:
        """Convert to RGB, ``reduction`` times smaller, by which the sides can be divided."""
        return reduced(self.convert(self.message), reduction)


def check_image(message: Any, max_megapixels: float) -> tuple[str, NDArray[Any]]:
    """Return the encoding of a raw image and a view of its values, or raise RejectedInput.

    The view (rows, W) or (rows, W, channels), uint8 or uint16 in the message's byte order, skips
    the padding of each row and copies nothing. The last row may lack its padding.
    """
    width, height = read_integer(message, "width"), read_integer(message, "height")
    check_image_size(width, height, max_megapixels)
    name = read_text(message, "encoding")
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise RejectedInput(
            "unknown_encoding",
            f"encoding '{name[:40]}' is not supported; publish one of {', '.join(ENCODINGS)}",
        )
    is_divisible = height % encoding.block[0] == 0 and width % encoding.block[1] == 0
    if not is_divisible or min(height, width) < encoding.least:
        raise RejectedInput(
            "unfit_size",
            f"a {name} image cannot be {width}x{height}: its height must be a multiple of "
            f"{encoding.block[0]}, its width of {encoding.block[1]}, and both at least "
            f"{encoding.least}",
        )
    rows = height * 3 // 2 if encoding.is_planar else height
    values = view_rows(message, encoding, rows, width)
    return name, values[..., 0] if encoding.channels == 1 else values


def decode_image(message: Any, max_megapixels: float = np.inf) -> RgbImage:
    """Convert a raw image to RGB (H, W, 3): new, contiguous memory. Raises RejectedInput."""
    name, values = check_image(message, max_megapixels)
    code = ENCODINGS[name].code
    if code is None:
        return np.array(values, order="C")
    if values.dtype.itemsize == 2:
        values = values.astype(np.uint16)
    try:
        if code == cv2.COLOR_GRAY2RGB:
            values = eight_bit(values)
        return eight_bit(cv2.cvtColor(values, code))
    except cv2.error as error:
        raise RejectedInput("undecodable", f"OpenCV cannot convert {name}: {error}") from None


def view_rows(
    message: Any, encoding: Encoding, rows: int, width: int, kind: str = "u"
) -> NDArray[Any]:
    """View ``data`` as (rows, width, channels), unsigned (kind u) or floating (f) numbers.

    Raises RejectedInput where it is too short.
    """
    step = read_integer(message, "step")
    row = width * encoding.channels * encoding.depth
    if step < row:
        raise RejectedInput(
            "step_too_short", f"step is {step} bytes, but a row of {width} pixels has {row}"
        )
    octets = read_octets(message)
    needed = step * (rows - 1) + row
    if octets.size < needed:
        raise RejectedInput(
            "data_too_short",
            f"data has {octets.size} bytes, but {rows} rows of step {step} need {needed}",
        )
    order = ">" if read_integer(message, "is_bigendian") else "<"
    return np.ndarray(
        (rows, width, encoding.channels),
        np.dtype(f"{order}{kind}{encoding.depth}"),
        octets,
        strides=(step, encoding.channels * encoding.depth, encoding.depth),
    )


def reduced(image: RgbImage, reduction: int) -> RgbImage:
    """Average ``reduction`` x ``reduction`` pixels to one; (H, W, 3) must be divisible by it."""
    if reduction == 1:
        return image
    size = image.shape[1] // reduction, image.shape[0] // reduction
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale uint16 to uint8, full scale to full scale; uint8 stays."""
    if values.dtype.itemsize == 2:
        values = cv2.convertScaleAbs(values, alpha=1 / 257)
    return values
