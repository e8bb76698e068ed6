"""What is no transform is said and left out; the rest is in the contract of tf2_ros."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from sensor_messages import header, quaternion, vector

from flashvggt_ros.sensors.transform_buffer import LookupException, TransformBuffer


def transform(parent="map", child="camera", xyz=(1, 2, 3), xyzw=(0, 0, 0, 1), **fields):
    message = SimpleNamespace(
        header=header(frame_id=parent), child_frame_id=child,
        transform=SimpleNamespace(translation=vector(xyz), rotation=quaternion(xyzw)),
    )
    vars(message).update(fields)
    return message


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (transform(xyz=(0, 0, 1e300)), "the limit is 1e+07 m"),
        (transform(xyz=(float("nan"), 0, 0)), "not finite"),
        (transform(xyzw=(1e-200, 0, 0, 0)), "no rotation"),
        (transform(xyzw=(1e200, 0, 0, 1e200)), "too large"),
        (transform(child=""), "two frames"),
        (transform(child="map"), "two frames"),
        (transform(child=None), "not a string"),
        (transform(transform=SimpleNamespace(translation=vector((0, 0, 0)))), "rotation"),
        (SimpleNamespace(), "header"),
    ],
)
def test_what_is_no_transform_is_said_and_ignored(message, complaint, caplog):
    buffer = TransformBuffer()
    with caplog.at_level(logging.ERROR):
        buffer.add(message, is_static=False)
    assert complaint in caplog.text
    with pytest.raises(LookupException):
        buffer.lookup("map", "camera", 0)


def test_what_is_no_transform_again_and_again_is_said_once(caplog):
    buffer = TransformBuffer()
    for x in (float("nan"), float("inf"), float("nan")):
        buffer.add(transform(xyz=(x, 0, 0)), is_static=False)
    assert caplog.text.count("ignoring a transform") == 1
    assert buffer.refused == {"not_finite": 3}


def test_a_quaternion_that_is_not_of_length_one_still_rotates():
    buffer = TransformBuffer()
    buffer.add(transform(xyzw=(0, 0, 3, 3)), is_static=True)
    T, _ = buffer.lookup("map", "camera", 0)
    np.testing.assert_allclose(T[:3, 0], [0, 1, 0], atol=1e-12)
