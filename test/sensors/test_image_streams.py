"""JPEG and PNG streams: their colors, their sizes before decoding, and what is no image."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from sensor_messages import as_rgb, compressed, deep_picture, picture, with_alpha

from flashvggt_ros.sensors.compressed_images import check_compressed
from flashvggt_ros.sensors.rejected_input import RejectedInput

LIMIT = 34.0  # megapixels
RGB = picture()
GRAY = RGB[..., 0]
DEEP = deep_picture()


def decode(message):
    return check_compressed(message, LIMIT).decode()


def encoded(extension, values, *parameters):
    return cv2.imencode(extension, values, list(parameters))[1].tobytes()


SMOOTH = cv2.resize(RGB[::8, ::8], (64, 48), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("form", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", ""])
@pytest.mark.parametrize("is_progressive", [0, 1])
def test_jpeg_gives_the_colors_within_its_loss(form, is_progressive):
    data = encoded(
        ".jpg",
        SMOOTH[..., ::-1],
        cv2.IMWRITE_JPEG_QUALITY,
        98,
        cv2.IMWRITE_JPEG_PROGRESSIVE,
        is_progressive,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    decoded = decode(compressed(data, form))
    assert decoded.flags.c_contiguous
    assert np.abs(decoded.astype(int) - SMOOTH).max() <= 6


def test_gray_jpeg_is_replicated():
    decoded = decode(compressed(encoded(".jpg", SMOOTH[..., 0])))
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])
    assert np.abs(decoded[..., 1].astype(int) - SMOOTH[..., 0]).max() <= 8


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RGB[..., ::-1], RGB),
        (with_alpha(RGB[..., ::-1]), RGB),
        (GRAY, as_rgb(GRAY)),
        (DEEP, as_rgb(np.rint(DEEP / 257).astype(np.uint8))),
        ((RGB[..., ::-1].astype(np.uint16) * 257), RGB),
    ],
    ids=["color", "alpha", "gray", "gray 16 bit", "color 16 bit"],
)
@pytest.mark.parametrize("form", ["png", "bgr8; png compressed bgr8"])
def test_png_gives_the_exact_colors(values, expected, form):
    decoded = decode(compressed(encoded(".png", values), form))
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8


def test_an_orientation_tag_does_not_turn_the_image():
    data = encoded(".jpg", SMOOTH)
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(turned) + 2) + turned + data[2:]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)
    assert decode(compressed(data)).shape == (48, 64, 3)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_a_stream_cut_anywhere_is_refused(extension):
    data = encoded(extension, SMOOTH)
    for length in range(8, len(data)):
        with pytest.raises(RejectedInput) as refusal:
            decode(compressed(data[:length]))
        assert refusal.value.cause == "truncated"
    assert decode(compressed(data + b"\0" * 16)).shape == (48, 64, 3)


def test_a_cut_stream_is_refused_even_where_its_thumbnail_is_whole():
    data = encoded(".jpg", SMOOTH)
    thumbnail = encoded(".jpg", SMOOTH[::4, ::4])
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    decode(compressed(data))
    with pytest.raises(RejectedInput, match="end marker") as refusal:
        decode(compressed(data[:-200]))
    assert refusal.value.cause == "truncated"


def png_chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def bombs():
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    jpeg = bytearray(encoded(".jpg", SMOOTH))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60000, 60000)
    return {"png": png, "jpeg": bytes(jpeg)}


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_header_that_asks_for_too_much_memory_is_refused_before_decoding(kind, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(RejectedInput) as refusal:
        decode(compressed(bombs()[kind]))
    assert refusal.value.cause == "too_large"


@pytest.mark.parametrize(
    ("data", "form", "cause"),
    [
        (encoded(".png", DEEP), "16UC1; compressedDepth png", "unknown_encoding"),
        (b"", "jpeg", "unknown_encoding"),
        (b"GIF89a" + bytes(20), "gif", "unknown_encoding"),
        (encoded(".jpg", SMOOTH), None, "malformed"),
        (b"\xff\xd8\xff\xd9", "jpeg", "undecodable"),
        (b"\xff\xd8\xff\xe0\x00\x01\xff\xd9", "jpeg", "undecodable"),
        (b"\xff\xd8\xff\xe0\x00\x02abc\xff\xd9", "jpeg", "undecodable"),
    ],
)
def test_streams_that_are_no_image_are_refused_by_cause(data, form, cause):
    with pytest.raises(RejectedInput) as refusal:
        decode(compressed(data, form))
    assert refusal.value.cause == cause


def test_a_damaged_png_is_refused():
    data = bytearray(encoded(".png", RGB))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(RejectedInput, match="checksum"):
        decode(compressed(bytes(data)))


def test_a_png_with_fewer_rows_than_its_header_says_is_refused():
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    rows = png_chunk(b"IDAT", zlib.compress(bytes(5 * 31)))
    data = b"\x89PNG\r\n\x1a\n" + header + rows + png_chunk(b"IEND", b"")
    with pytest.raises(RejectedInput) as refusal:
        decode(compressed(data))
    assert refusal.value.cause == "undecodable"


def test_a_stream_that_would_take_a_decoder_hours_is_refused_at_once():
    whole = encoded(".jpg", SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    chunk = struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    png = encoded(".png", RGB)
    for stream, complaint in (
        (whole[:-2] + 200 * scan + whole[-2:], "more than 100 scans"),
        (whole[:2] + b"\xff\xe0\x00\x02" * 200_000 + whole[2:], "more than 100000 segments"),
        (png[:33] + chunk * 200_000 + png[33:], "more than 100000 chunks"),
    ):
        with pytest.raises(RejectedInput, match=complaint):
            decode(compressed(stream))
    assert decode(compressed(whole[:2] + b"\xff" * 1000 + whole[2:])).any()
