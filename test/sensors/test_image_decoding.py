import array

import numpy as np
import pytest
from sensor_messages import as_rgb, deep_picture, image, picture, with_alpha

from flashvggt_ros.sensors.image_decoding import ENCODINGS, decode_image
from flashvggt_ros.sensors.rejected_input import RejectedInput

RGB = picture()
GRAY = RGB[..., 0]
DEEP = deep_picture()


def bt601(rgb):
    """Y, Cb, Cr after ITU-R BT.601, 16 to 235 and 16 to 240, one for each pixel."""
    red, green, blue = np.moveaxis(rgb.astype(float) / 255, 2, 0)
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    cb = 128 - 37.797 * red - 74.203 * green + 112.0 * blue
    cr = 128 + 112.0 * red - 93.786 * green - 18.214 * blue
    return [np.rint(plane).astype(np.uint8) for plane in (luma, cb, cr)]


def packed_422(rgb, order):
    """Two pixels in four bytes; ``order`` spells them with 0 1 (lumas), u and v."""
    luma, cb, cr = bt601(rgb)
    parts = {"0": luma[:, 0::2], "1": luma[:, 1::2], "u": cb[:, 0::2], "v": cr[:, 0::2]}
    return np.stack([parts[part] for part in order], axis=2).reshape(*rgb.shape[:2], 2)


def planar_420(rgb, first):
    luma, cb, cr = bt601(rgb)
    pair = (cb, cr) if first == "u" else (cr, cb)
    colors = np.stack([plane[::2, ::2] for plane in pair], axis=2).reshape(-1, rgb.shape[1])
    return np.vstack([luma, colors])


def mosaic(rgb, pattern):
    """The value that a sensor under color filters ``pattern`` (row by row) measures."""
    result = np.empty(rgb.shape[:2], rgb.dtype)
    for index, color in enumerate(pattern):
        row, column = divmod(index, 2)
        result[row::2, column::2] = rgb[row::2, column::2, "rgb".index(color)]
    return result


@pytest.mark.parametrize("padding", [0, 1, 64])
@pytest.mark.parametrize(
    ("encoding", "values", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("8UC3", RGB[..., ::-1], RGB),
        ("rgba8", with_alpha(RGB), RGB),
        ("bgra8", with_alpha(RGB[..., ::-1]), RGB),
        ("mono8", GRAY, as_rgb(GRAY)),
        ("8UC1", GRAY, as_rgb(GRAY)),
    ],
)
def test_eight_bit_encodings_give_the_exact_colors(encoding, values, expected, padding):
    decoded = decode_image(image(values, encoding, padding=padding))
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("padding", [0, 1, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_sixteen_bit_gray_is_scaled_to_the_full_range_in_either_byte_order(
    encoding, order, padding
):
    values = DEEP.astype(f"{order}u2")
    decoded = decode_image(image(values, encoding, padding=padding))
    np.testing.assert_array_equal(decoded, as_rgb(np.rint(DEEP / 257).astype(np.uint8)))


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "values"),
    [
        ("yuv422", packed_422(RGB, "u0v1")),
        ("uyvy", packed_422(RGB, "u0v1")),
        ("yuv422_yuy2", packed_422(RGB, "0u1v")),
        ("yuyv", packed_422(RGB, "0u1v")),
        ("nv12", planar_420(RGB, "u")),
        ("nv21", planar_420(RGB, "v")),
    ],
)
def test_yuv_encodings_give_the_colors_within_three_levels(encoding, values, padding):
    decoded = decode_image(image(values, encoding, padding=padding, height=48))
    assert decoded.shape == RGB.shape
    assert np.abs(decoded.astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(("suffix", "dtype"), [("8", "u1"), ("16", "<u2"), ("16", ">u2")])
def test_bayer_mosaics_of_a_linear_ramp_give_it_back(pattern, suffix, dtype, padding):
    v, u = np.mgrid[:48, :64]
    ramp = np.stack([40 + 2 * u, 60 + 3 * v, 250 - u - 2 * v], axis=2).astype(np.uint16)
    values = mosaic(ramp * (257 if suffix == "16" else 1), pattern).astype(dtype)
    decoded = decode_image(image(values, f"bayer_{pattern}{suffix}", padding=padding))
    difference = np.abs(decoded[2:-2, 2:-2].astype(int) - ramp[2:-2, 2:-2])
    assert difference.max() <= 1


def test_every_encoding_has_a_test_of_its_colors():
    tested = {"rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "mono8", "8UC1", "mono16", "16UC1"}
    tested |= {"yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"}
    tested |= {f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)}
    assert set(ENCODINGS) == tested


@pytest.mark.parametrize(
    "convert",
    [
        bytes,
        lambda data: array.array("B", data),
        lambda data: np.frombuffer(data, np.uint8),
        memoryview,
    ],
)
def test_any_byte_container_is_read_and_the_result_is_memory_of_its_own(convert):
    message = image(RGB, "rgb8")
    message.data = convert(message.data)
    decoded = decode_image(message)
    np.testing.assert_array_equal(decoded, RGB)
    assert decoded.flags.owndata
    assert decoded.flags.writeable
    assert decoded.flags.c_contiguous


def test_the_last_row_may_lack_its_padding():
    message = image(RGB, "bgr8", padding=10)
    message.data = message.data[:-10]
    np.testing.assert_array_equal(decode_image(message), RGB[..., ::-1])


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"encoding": "32FC1"}, "unknown_encoding"),
        ({"encoding": ""}, "unknown_encoding"),
        ({"encoding": None}, "malformed"),
        ({"width": 0}, "zero_size"),
        ({"height": 0}, "zero_size"),
        ({"width": -1}, "malformed"),
        ({"width": 64.0}, "malformed"),
        ({"step": 64 * 3 - 1}, "step_too_short"),
        ({"step": 64 * 3 + 1}, "data_too_short"),
        ({"data": bytes(64 * 48 * 3 - 1)}, "data_too_short"),
        ({"data": b""}, "data_too_short"),
        ({"data": None}, "malformed"),
        ({"data": np.zeros((48, 64 * 6), np.uint8)[:, ::2]}, "malformed"),
        ({"data": array.array("H", bytes(48 * 64 * 6))}, "malformed"),
        ({"width": 20000, "height": 20000, "step": 60000, "data": bytes(10)}, "too_large"),
        ({"encoding": "bayer_rggb8", "height": 47}, "unfit_size"),
        ({"encoding": "bayer_rggb8", "height": 2}, "unfit_size"),
        ({"encoding": "nv12", "width": 63}, "unfit_size"),
        ({"encoding": "yuv422", "width": 63}, "unfit_size"),
    ],
)
def test_malformed_images_are_refused_by_cause(fields, cause):
    with pytest.raises(RejectedInput) as refusal:
        decode_image(image(RGB, "rgb8", **fields), max_megapixels=34.0)
    assert refusal.value.cause == cause


def test_a_missing_field_is_named():
    message = image(RGB, "rgb8")
    del message.step
    with pytest.raises(RejectedInput, match="no field 'step'"):
        decode_image(message)


def test_a_refusal_names_value_limit_and_remedy():
    with pytest.raises(RejectedInput, match=r"20000x20000.*400\.0.*34.*image\.max_megapixels"):
        decode_image(image(RGB, "rgb8", width=20000, height=20000), max_megapixels=34.0)
