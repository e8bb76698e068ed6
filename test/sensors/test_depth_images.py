import logging
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_messages import compressed, header, image

from flashvggt_ros.sensors.depth_images import MOST_BYTES, DepthTrack

START = 1_700_000_000_000_000_000
MILLISECOND = 1_000_000
TOLERANCE = 20 * MILLISECOND
LIMIT = 4.0  # megapixels


def ramp(height=120, width=160):
    """Depth [mm] whose every pixel differs from its neighbors; with a hole."""
    depth = 500 + 10 * np.arange(width)[None] + 7 * np.arange(height)[:, None]
    depth[:4, :4] = 0
    return depth.astype(np.uint16)


def raw(values, encoding, stamp_ns=START, camera="camera_optical", **fields):
    return image(values, encoding, header=header(stamp_ns, camera), **fields)


def png(values, encoding, parameters=(0.0, 0.0), stamp_ns=START, transport="compressedDepth png"):
    """As compressed_depth_image_transport packs it."""
    stream = struct.pack("<iff", 0, *parameters) + cv2.imencode(".png", values)[1].tobytes()
    return compressed(
        stream, f"{encoding}; {transport}", header=header(stamp_ns, "camera_optical")
    )


def decoded(message):
    track = DepthTrack("/depth", LIMIT)
    track.add(message)
    depth = track.at("camera_optical", START, TOLERANCE)
    assert depth is not None, track.rejections.counts
    assert depth.dtype == np.float32
    return depth


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimeters_become_meters(encoding):
    np.testing.assert_allclose(decoded(raw(ramp(), encoding)), ramp() / 1000, rtol=1e-6)


def test_padding_and_byte_order_are_heeded():
    swapped = ramp().astype(">u2")
    np.testing.assert_allclose(decoded(raw(swapped, "16UC1", padding=6)), ramp() / 1000, rtol=1e-6)
    meters = (ramp() / 1000).astype(">f4")
    np.testing.assert_allclose(decoded(raw(meters, "32FC1", padding=8)), meters, rtol=1e-6)


def test_what_is_not_measured_is_zero():
    meters = (ramp() / 1000).astype(np.float32)
    meters[5, :4] = np.nan, np.inf, -np.inf, -1.0
    depth = decoded(raw(meters, "32FC1"))
    assert (depth[5, :4] == 0).all()
    assert (depth[:4, :4] == 0).all()
    np.testing.assert_array_equal(depth[6:], meters[6:])


def test_large_images_are_thinned_to_pixels_in_the_middle_of_equal_blocks():
    large = ramp(480, 640)
    depth = decoded(raw(large, "16UC1"))
    np.testing.assert_allclose(depth, large[2::4, 2::4] / 1000, rtol=1e-6)
    assert depth.shape == (120, 160)
    assert decoded(raw(ramp(1, 1000), "16UC1")).shape[0] == 1


@pytest.mark.parametrize("transport", ["compressedDepth", "compressedDepth png"])
def test_a_png_of_millimeters_is_decoded(transport):
    message = png(ramp(480, 640), "16UC1", transport=transport)
    np.testing.assert_allclose(decoded(message), ramp(480, 640)[2::4, 2::4] / 1000, rtol=1e-6)


def test_a_png_of_inverse_depth_is_decoded():
    meters = ramp() / 1000.0
    first, second = 30.0, 1.5  # value = A / depth + B
    with np.errstate(divide="ignore"):
        values = np.where(meters > 0, first / meters + second, 0)
    depth = decoded(png(np.round(values * 100).astype(np.uint16), "32FC1", (3000.0, 150.0)))
    np.testing.assert_allclose(depth, meters, rtol=1e-2)
    assert (depth[:4, :4] == 0).all()


def test_the_nearest_image_of_the_camera_is_taken_within_the_tolerance():
    track = DepthTrack("/depth", LIMIT)
    for number in range(5):
        values = np.full((4, 4), 1000 + number, np.uint16)
        track.add(raw(values, "16UC1", START + number * 33 * MILLISECOND))
    for shift, expected in ((0, 1.002), (15, 1.002), (-15, 1.002), (19, 1.003)):
        stamp = START + (66 + shift) * MILLISECOND
        assert track.at("camera_optical", stamp, TOLERANCE)[0, 0] == pytest.approx(expected)
    assert track.at("camera_optical", START + 500 * MILLISECOND, TOLERANCE) is None
    assert track.at("camera_optical", START + 16 * MILLISECOND, 10 * MILLISECOND) is None
    assert track.at("other_optical", START, TOLERANCE) is None


def _changed(message, **fields):
    vars(message).update(fields)
    return message


BAD = [
    (raw(ramp(), "rgb8"), "unknown_encoding"),
    (raw(ramp().astype(np.float64), "64FC1"), "unknown_encoding"),
    (raw(ramp(), "16UC1", width=20_000, height=20_000), "too_large"),
    (raw(ramp(), "16UC1", width=0), "zero_size"),
    (raw(ramp(), "16UC1", step=10), "step_too_short"),
    (raw(ramp(), "16UC1", data=b"short"), "data_too_short"),
    (raw(ramp(), "16UC1", camera=""), "frame_missing"),
    (raw(ramp(), "16UC1", 0), "stamp_zero"),
    (png(ramp(), "16UC1", transport="compressedDepth rvl"), "unknown_encoding"),
    (png(ramp(), "bgr8", transport="jpeg compressed bgr8"), "unknown_encoding"),
    (_changed(png(ramp(), "16UC1"), data=b""), "undecodable"),
    (_changed(png(ramp(), "16UC1"), data=bytes(400)), "undecodable"),
    (_changed(png(ramp(), "16UC1"), data=png(ramp(), "16UC1").data[:-40]), "truncated"),
    (png(np.zeros((3000, 3000), np.uint16), "16UC1"), "too_large"),
    (SimpleNamespace(header=header(START)), "malformed"),
    (None, "malformed"),
]


@pytest.mark.parametrize(("message", "cause"), BAD)
def test_bad_images_are_counted_said_once_and_dropped(message, cause, caplog):
    track = DepthTrack("/depth", LIMIT)
    with caplog.at_level(logging.WARNING):
        track.add(message)
        track.add(message)
    assert track.rejections.counts == {cause: 2}
    assert len(caplog.records) == 1
    assert track.newest_ns == 0


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (png(ramp().astype(np.uint8), "16UC1"), "undecodable"),
        (png(np.dstack([ramp()] * 3), "16UC1"), "undecodable"),
        (png(ramp(), "32FC1", (np.nan, 1.0)), "not_finite"),
    ],
)
def test_what_shows_only_when_a_png_is_decoded_is_counted_then(message, cause):
    track = DepthTrack("/depth", LIMIT)
    track.add(message)
    assert track.at("camera_optical", START, TOLERANCE) is None
    assert track.rejections.counts == {cause: 1}


@settings(deadline=None, max_examples=150)
@given(
    encoding=st.sampled_from(["16UC1", "32FC1", "mono16"]),
    fields=st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(-10, 2**33) | st.none() for name in ("width", "height", "step")
        } | {"data": st.binary(max_size=64) | st.none(), "is_bigendian": st.integers(0, 300)},
    ),
)
def test_no_message_raises(encoding, fields):
    kind = np.float32 if encoding == "32FC1" else np.uint16
    track = DepthTrack("/depth", LIMIT)
    track.add(raw(np.ones((4, 4), kind), encoding, **fields))
    track.at("camera_optical", START, TOLERANCE)


def test_memory_is_bounded_however_fast_the_images_come():
    track = DepthTrack("/depth", LIMIT)
    message = raw(ramp(), "16UC1")
    for number in range(1000):
        message.header = header(START + number * MILLISECOND)
        track.add(message)
    kept = [number for number in range(1000)
            if track.at("camera_optical", START + number * MILLISECOND, 0) is not None]
    assert kept == list(range(1000 - MOST_BYTES // (ramp().size * 4), 1000))


def test_an_image_that_is_much_higher_than_wide_is_thinned_too():
    depth = decoded(raw(np.full((1_000_000, 2), 1500, np.uint16), "16UC1"))
    assert 0 < depth.nbytes < 2_000_000
    np.testing.assert_allclose(depth, 1.5, rtol=1e-6)
