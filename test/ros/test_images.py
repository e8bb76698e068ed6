import numpy as np
import pytest
from sensor_msgs.msg import Image

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.ros.images import BRIDGED_ENCODINGS, image_converter
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.sensors.image_decoding import ENCODINGS, decode_image
from flashvggt_ros.sensors.intake import CameraIntake


def message(encoding, padding, is_bigendian):
    layout = ENCODINGS[encoding]
    rows = 18 if layout.is_planar else 12
    step = 16 * layout.channels * layout.depth + padding
    octets = np.random.default_rng(0).integers(0, 256, rows * step, np.uint8)
    image = Image(height=12, width=16, encoding=encoding, step=step, is_bigendian=is_bigendian)
    image.header.stamp = time_message(1)
    image.data.frombytes(octets.data)
    return image


def test_all_that_goes_through_cv_bridge_is_known_to_a_replay():
    assert set(BRIDGED_ENCODINGS) <= set(ENCODINGS)


@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 6, 96])
@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_the_node_sees_the_pixels_that_a_replay_sees(encoding, padding, is_bigendian):
    replay = CameraIntake("image", ImageConfig())
    node = CameraIntake("image", ImageConfig(), convert_raw=image_converter())
    expected = replay.frame(message(encoding, padding, is_bigendian)).image
    found = node.frame(message(encoding, padding, is_bigendian)).image
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, decode_image(message(encoding, padding, is_bigendian)))
    assert found.flags.c_contiguous
    assert found.flags.writeable
