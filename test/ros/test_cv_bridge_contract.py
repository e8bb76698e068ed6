"""What is used of cv_bridge, for every implementation that is present."""

import numpy as np
import pytest
from implementations import implementations
from std_msgs.msg import Header

from flashvggt_ros.ros.images import BRIDGED_ENCODINGS
from flashvggt_ros.sensors.image_decoding import ENCODINGS, decode_image

every_implementation = pytest.mark.parametrize("module", implementations("cv_bridge"))
every_encoding = pytest.mark.parametrize("encoding", BRIDGED_ENCODINGS)


def pixels(encoding):
    layout = ENCODINGS[encoding]
    shape = (12, 17) if layout.channels == 1 else (12, 17, layout.channels)
    limit = 256**layout.depth
    return np.random.default_rng(0).integers(0, limit, shape).astype(f"<u{layout.depth}")


@every_implementation
@every_encoding
def test_images_become_messages(module, encoding):
    header = Header(frame_id="camera")
    message = module.CvBridge().cv2_to_imgmsg(pixels(encoding), encoding, header)
    assert (message.height, message.width, message.encoding) == (12, 17, encoding)
    assert message.header.frame_id == "camera"
    assert message.step == pixels(encoding)[0].nbytes
    assert bytes(message.data) == pixels(encoding).tobytes()
    assert not message.is_bigendian


@every_implementation
@every_encoding
def test_rgb_is_what_a_replay_sees(module, encoding):
    message = module.CvBridge().cv2_to_imgmsg(pixels(encoding), encoding)
    rgb = module.CvBridge().imgmsg_to_cv2(message, "rgb8")
    np.testing.assert_array_equal(rgb, decode_image(message))
    bgr = module.CvBridge().imgmsg_to_cv2(message, "bgr8")
    np.testing.assert_array_equal(bgr, rgb[..., ::-1])


@every_implementation
def test_what_cannot_be_converted_is_a_cv_bridge_error(module):
    with pytest.raises(module.CvBridgeError):
        module.CvBridge().cv2_to_imgmsg(pixels("rgb8"), "mono16")
    message = module.CvBridge().cv2_to_imgmsg(pixels("rgb8"), "rgb8")
    message.encoding = "no such encoding"
    with pytest.raises(module.CvBridgeError):
        module.CvBridge().imgmsg_to_cv2(message, "rgb8")
