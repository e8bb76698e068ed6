"""Stand-in for cv_bridge: raw images between messages and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from flashvggt_ros.sensors.image_decoding import ENCODINGS, decode_image
from flashvggt_ros.sensors.rejected_input import RejectedInput


class CvBridgeError(TypeError):
    """An image that cannot be converted."""


class CvBridge:
    """Converts between sensor_msgs/Image and arrays (H, W) or (H, W, channels)."""

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str) -> NDArray[np.uint8]:
        """Return the image as (H, W, 3) in ``desired_encoding``, rgb8 or bgr8."""
        if desired_encoding not in ("rgb8", "bgr8"):
            raise CvBridgeError(f"cannot convert to {desired_encoding}, only to rgb8 or bgr8")
        try:
            image = decode_image(img_msg)
        except RejectedInput as error:
            raise CvBridgeError(str(error)) from error
        return image if desired_encoding == "rgb8" else np.ascontiguousarray(image[..., ::-1])

    def cv2_to_imgmsg(
        self, cvim: NDArray[Any], encoding: str, header: Header | None = None
    ) -> Image:
        """Return the message of an image that is laid out as ``encoding`` says."""
        layout = ENCODINGS.get(encoding)
        channels = 1 if cvim.ndim == 2 else cvim.shape[2]
        if layout is None or (cvim.dtype.itemsize, channels) != (layout.depth, layout.channels):
            raise CvBridgeError(f"a {cvim.dtype} image with {channels} channels is no {encoding}")
        message = Image(height=cvim.shape[0], width=cvim.shape[1], encoding=encoding)
        if header is not None:
            message.header = header
        message.is_bigendian = int(cvim.dtype.byteorder == ">")
        message.step = cvim.shape[1] * channels * cvim.dtype.itemsize
        message.data.frombytes(np.ascontiguousarray(cvim).view(np.uint8).data)
        return message
