"""Exits with 0 when cv_bridge converts images exactly as sensors.image_decoding does.

Run as a process of its own (``python -m flashvggt_ros.ros.cv_bridge_probe``): a cv_bridge that was
built for another NumPy may end it.
"""

from __future__ import annotations

import sys

import numpy as np

import flashvggt_ros.ros  # noqa: F401 - finds a ROS that pip installed
from flashvggt_ros.ros.images import BRIDGED_ENCODINGS
from flashvggt_ros.ros.stand_ins.cv_bridge import CvBridge
from flashvggt_ros.sensors.image_decoding import ENCODINGS, decode_image


def main() -> int:
    """Compare all that the node converts through cv_bridge; name the first difference."""
    import cv_bridge

    random = np.random.default_rng(0)
    for encoding in BRIDGED_ENCODINGS:
        layout = ENCODINGS[encoding]
        octets = random.integers(0, 256, (37, 41, layout.channels * layout.depth), np.uint8)
        image = octets.view(f"<u{layout.depth}")
        if layout.channels == 1:
            image = image[..., 0]
        message = CvBridge().cv2_to_imgmsg(image, encoding)
        bridged = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
        if not np.array_equal(bridged, decode_image(message)):
            print(f"cv_bridge converts {encoding} in another way than a replay", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
