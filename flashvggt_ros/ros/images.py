"""Raw images through cv_bridge where it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flashvggt_ros.ros import backends
from flashvggt_ros.sensors.image_decoding import ENCODINGS, RgbImage, decode_image

# What cv_bridge and sensors.image_decoding convert to the same values, bit by bit; a cv_bridge that
# does not is not used. All else is decoded by the code that an offline replay runs.
BRIDGED_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16")


def image_converter() -> Callable[[Any], RgbImage]:
    """Return the function that makes RGB (H, W, 3) uint8 of a raw message that was checked.

    Node and replay get the same pixels, whichever cv_bridge is in use.
    """
    bridge = backends.cv_bridge().module.CvBridge()

    def convert(message: Any) -> RgbImage:
        if not _is_bridged(message):
            return decode_image(message)
        return np.require(bridge.imgmsg_to_cv2(message, "rgb8"), requirements=("C", "W"))

    return convert


def _is_bridged(message: Any) -> bool:
    """Return whether cv_bridge can be trusted with a message.

    Its releases shear images whose step is no whole number of pixels, and fail on big-endian ones
    under NumPy 2: rows with padding and foreign byte order stay with us.
    """
    if message.encoding not in BRIDGED_ENCODINGS or message.is_bigendian:
        return False
    layout = ENCODINGS[message.encoding]
    return bool(message.step == message.width * layout.channels * layout.depth)
