"""The size of a JPEG picture is known without decoding it."""

import cv2
import numpy as np
import pytest

from flashvggt_ros.mapping.jpeg_size import jpeg_size


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_the_size_is_that_of_the_image(options: list[int]) -> None:
    _, picture = cv2.imencode(".jpg", np.zeros((30, 70, 3), np.uint8), options)
    assert jpeg_size(picture.tobytes()) == (70, 30)


@pytest.mark.parametrize("picture", [b"", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff\xd8\xff\xd9",
                                     b"\xff\xd8" + bytes(100), b"\xff\xd8\xff\xe0\xff\xff" * 9])
def test_what_is_no_jpeg_picture_is_refused(picture: bytes) -> None:
    with pytest.raises(ValueError, match="JPEG"):
        jpeg_size(picture)
