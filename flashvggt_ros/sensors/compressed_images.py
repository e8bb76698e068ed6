"""Pixels of sensor_msgs/CompressedImage as uint8 RGB.

Images are returned as the sensor gave them: orientation tags inside a JPEG are not applied, for
camera_info speaks of the unturned image.

A JPEG that is cut short or whose segments are broken is refused. One whose segments are whole but
whose compressed pixels are damaged is not noticed: libjpeg conceals it, OpenCV does not say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.image_decoding import RgbImage, eight_bit, reduced
from flashvggt_ros.sensors.image_streams import (
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    jpeg_size,
    png_size,
)
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    check_image_size,
    read_octets,
    read_text,
)

COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
# A JPEG decoder leaves out what a smaller image does not need.
REDUCED_JPEG = {
    1: COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}


@dataclass(frozen=True, slots=True, eq=False)
class ImageStream:
    """A JPEG or PNG (L,) of which all is in order but for the compressed pixels; size [px]."""

    octets: NDArray[np.uint8]
    width: int
    height: int
    is_jpeg: bool

    @property
    def nbytes(self) -> int:
        """Size of the stream."""
        return self.octets.nbytes

    def decode(self, reduction: int = 1) -> RgbImage:
        """Decode to RGB (H, W, 3): new, contiguous memory. Raises RejectedInput.

        ``reduction``: by how much smaller than the stream's image, 1, 2, 4 or 8; it must divide
        the sides. Gray is replicated and alpha is dropped.
        """
        flags = REDUCED_JPEG[reduction] if self.is_jpeg else COLOR
        decoded_by = reduction if self.is_jpeg else 1
        try:
            decoded = cv2.imdecode(self.octets, flags)
        except cv2.error as error:
            raise RejectedInput("undecodable", f"OpenCV cannot decode it: {error}") from None
        shape = (self.height // decoded_by, self.width // decoded_by, 3)
        if decoded is None or decoded.shape != shape:
            raise RejectedInput(
                "undecodable",
                f"the {self.width}x{self.height} stream of {self.octets.size} bytes cannot be "
                "decoded",
            )
        image = eight_bit(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
        return reduced(image, reduction // decoded_by)


def check_compressed(message: Any, max_megapixels: float) -> ImageStream:
    """Return the stream that a message carries, not yet decoded, or raise RejectedInput.

    What the stream is, is told from its first bytes; of ``format`` only a depth transport is
    heeded.
    """
    form = read_text(message, "format")
    if "compresseddepth" in form.lower():
        raise RejectedInput(
            "unknown_encoding",
            f"format '{form[:60]}' carries depth, not an image; name a color image topic",
        )
    octets = read_octets(message)
    stream = octets.data
    is_jpeg = stream[:3] == JPEG_SIGNATURE
    if is_jpeg:
        width, height = jpeg_size(stream)
    elif stream[:8] == PNG_SIGNATURE:
        width, height = png_size(stream)
    else:
        raise RejectedInput(
            "unknown_encoding",
            f"format '{form[:60]}' with {octets.size} bytes that begin with "
            f"'{bytes(stream[:8]).hex()}' is neither JPEG nor PNG",
        )
    check_image_size(width, height, max_megapixels)
    return ImageStream(octets, width, height, is_jpeg)
