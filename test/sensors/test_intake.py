import array
import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_messages import camera_info, compressed, header, image, picture, without_pixels

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.sensors.image_decoding import ENCODINGS
from flashvggt_ros.sensors.intake import CameraIntake, RejectedInput
from flashvggt_ros.sensors.rejected_input import CAUSES

RGB = picture()


def raw(stamp_ns=1_000_000_000, frame_id="camera_optical", **fields):
    return image(RGB, "rgb8", **{"header": header(stamp_ns, frame_id), **fields})


def intake(topic="/camera/image_raw"):
    return CameraIntake(topic, ImageConfig())


def cause_of(door, message):
    with pytest.raises(RejectedInput) as refusal:
        door.frame(message)
    return refusal.value.cause


def test_raw_and_compressed_messages_become_frames():
    door = intake()
    first = door.frame(raw(5_000_000_001))
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    second = door.frame(compressed(png, "png", header=header(5_000_000_002)))
    assert (first.stamp_ns, second.stamp_ns) == (5_000_000_001, 5_000_000_002)
    np.testing.assert_array_equal(first.image, RGB)
    np.testing.assert_array_equal(second.image, RGB)
    assert first.camera == "camera_optical"
    assert first.calibration is None
    assert not door.rejected


def test_a_check_is_made_without_decoding_and_says_what_waiting_costs(monkeypatch):
    stream = cv2.imencode(".jpg", RGB)[1].tobytes()
    messages = [compressed(stream, header=header(1)), raw(2)]
    door = CameraIntake("/image", ImageConfig(), convert_raw=lambda _: pytest.fail("converted"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert [door.check(message).nbytes for message in messages] == [len(stream), RGB.nbytes]


def test_what_shows_only_in_decoding_is_refused_then_counted_and_said_once(caplog):
    broken = without_pixels(cv2.imencode(".png", RGB)[1].tobytes())
    door = intake()
    images = [door.check(compressed(broken, header=header(stamp))) for stamp in (1, 2)]
    assert not door.rejected
    with caplog.at_level(logging.WARNING):
        for image_ in images:
            with pytest.raises(RejectedInput):
                image_.frame()
    assert door.rejected == {"undecodable": 2}
    assert len(caplog.records) == 1
    assert door.frame(raw(3)).stamp_ns == 3


def test_an_image_keeps_the_calibration_that_it_came_with():
    door = intake()
    door.set_camera_info(camera_info())
    waiting = door.check(raw(1))
    door.set_camera_info(camera_info(k=[60.0, 0, 20, 0, 60.0, 15, 0, 0, 1]))
    assert waiting.frame().calibration.pinhole.fx == 50.0
    assert door.frame(raw(2)).calibration.pinhole.fx == 60.0


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["raw", "jpeg", "png"])
def test_large_images_come_as_small_as_they_are_of_use_with_the_calibration_to_match(
    kind, reduction
):
    smooth = cv2.resize(RGB[::8, ::8], (64, 48), interpolation=cv2.INTER_CUBIC)
    stream = cv2.imencode(".jpg" if kind == "jpeg" else ".png", smooth[..., ::-1],
                          [cv2.IMWRITE_JPEG_QUALITY, 98] if kind == "jpeg" else [])[1].tobytes()
    message = (image(smooth, "rgb8", header=header(1)) if kind == "raw"
               else compressed(stream, header=header(1)))
    door = CameraIntake("/image", ImageConfig(), reduction=lambda width, height: reduction)
    door.set_camera_info(camera_info(width=64, height=48))
    frame = door.frame(message)
    assert frame.image.shape == (48 // reduction, 64 // reduction, 3)
    shape = (48 // reduction, reduction, 64 // reduction, reduction, 3)
    means = smooth.reshape(shape).mean((1, 3))
    errors = np.abs(frame.image - means)
    assert errors.mean() < 3 if kind == "jpeg" else errors.max() <= 0.51
    pinhole = frame.calibration.pinhole
    assert (pinhole.width, pinhole.height) == (64 // reduction, 48 // reduction)
    whole = door._calibration.pinhole
    u = whole.fx * 0.3 + whole.cx  # where a ray meets the image, in its left edge's pixels
    assert pinhole.fx * 0.3 + pinhole.cx + 0.5 == pytest.approx((u + 0.5) / reduction)


def test_stamps_are_exact_nanoseconds():
    stamp_ns = 2**31 * 1_000_000_000 - 1
    assert intake().frame(raw(stamp_ns)).stamp_ns == stamp_ns


@pytest.mark.parametrize(
    ("frame_id", "expected"),
    [("cam", "cam"), ("/cam", "cam"), ("", "camera/image_raw"), ("/", "camera/image_raw")],
)
def test_the_camera_is_the_frame_id_without_slash_or_the_topic(frame_id, expected):
    assert intake().frame(raw(frame_id=frame_id)).camera == expected


def test_zero_repeated_and_older_stamps_are_refused_and_newer_ones_go_on():
    door = intake()
    assert cause_of(door, raw(0)) == "stamp_zero"
    door.frame(raw(2_000_000_000))
    assert cause_of(door, raw(2_000_000_000)) == "stamp_repeated"
    assert cause_of(door, raw(1_999_999_999)) == "stamp_backwards"
    door.frame(raw(2_000_000_001))
    assert door.rejected == {"stamp_zero": 1, "stamp_repeated": 1, "stamp_backwards": 1}


def test_a_refused_image_does_not_move_the_clock():
    door = intake()
    assert cause_of(door, raw(9_000_000_000, encoding="odd")) == "unknown_encoding"
    assert door.frame(raw(1_000_000_000)).stamp_ns == 1_000_000_000


def test_a_bag_that_starts_over_is_refused_until_reset_which_the_refusal_names():
    door = intake()
    door.frame(raw(100_000_000_000))
    with pytest.raises(RejectedInput, match="~/reset"):
        door.frame(raw(1_000_000_000))
    door.reset()
    assert door.frame(raw(1_000_000_000)).stamp_ns == 1_000_000_000
    assert door.rejected["stamp_backwards"] == 1


@pytest.mark.parametrize(("seconds", "nanoseconds"), [(-1, 0), (1, 10**9), (1.5, 0), (None, 0)])
def test_a_stamp_that_is_no_time_is_refused(seconds, nanoseconds):
    message = raw()
    message.header.stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    assert cause_of(intake(), message) == "malformed"


def test_a_camera_info_calibrates_the_images_after_it():
    door = intake()
    door.set_camera_info(camera_info())
    assert door.frame(raw()).calibration.pinhole.fx == 50.0


def test_a_rectified_topic_takes_the_projection():
    for topic in ("/camera/image_rect_color/compressed", "/camera/image_rect"):
        door = intake(topic)
        door.set_camera_info(camera_info())
        assert door.frame(raw()).calibration.pinhole.fx == 40.0


def test_a_camera_info_that_is_refused_is_counted_and_leaves_the_one_before_it():
    door = intake()
    with pytest.raises(RejectedInput):
        door.set_camera_info(camera_info(k=[0.0] * 9))
    assert door.frame(raw(1)).calibration is None
    door.set_camera_info(camera_info())
    with pytest.raises(RejectedInput):
        door.set_camera_info(camera_info(k=[0.0] * 9))
    assert door.frame(raw(2)).calibration.pinhole.fx == 50.0
    assert door.rejected == {"camera_info_uncalibrated": 2}


def test_a_camera_info_of_another_size_is_counted_once_each_and_images_go_on():
    door = intake()
    for stamp in (1, 3):
        door.set_camera_info(camera_info(width=640, height=480))
        assert door.frame(raw(stamp)).calibration is None
        assert door.frame(raw(stamp + 1)).calibration is None
    assert door.rejected == {"camera_info_size": 2}
    door.set_camera_info(camera_info())
    assert door.frame(raw(5)).calibration is not None


def test_each_cause_is_said_once_with_its_topic_until_reset(caplog):
    door = intake()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            cause_of(door, raw(0))
            cause_of(door, raw(encoding="odd"))
        assert len(caplog.records) == 2
        assert all("/camera/image_raw" in record.getMessage() for record in caplog.records)
        door.reset()
        cause_of(door, raw(0))
    assert len(caplog.records) == 3
    assert door.rejected["stamp_zero"] == 4


def test_a_message_of_another_kind_is_refused():
    assert cause_of(intake(), SimpleNamespace(header=header())) == "malformed"
    assert cause_of(intake(), None) == "malformed"


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70),
    st.integers(),
    st.sampled_from([2**31, 2**32, 2**70, 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=64),
    st.lists(st.floats(), max_size=12),
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from([array.array("H", [1, 2]), np.zeros((3, 3)), np.uint8(4), RGB.tobytes()]),
)
PNG = cv2.imencode(".png", RGB)[1].tobytes()
JPEG = cv2.imencode(".jpg", RGB)[1].tobytes()
fuzz = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def only_refuses(door, call, message):
    try:
        result = call(message)
    except RejectedInput:
        result = None
        assert door.rejected.total() == 1
        assert set(door.rejected) <= CAUSES
    else:
        assert not door.rejected
    if isinstance(result, Frame):
        assert result.image.dtype == np.uint8
        assert result.image.ndim == 3


def changed(message, changes):
    for path, value in changes.items():
        *parents, name = path.split(".")
        target = message
        for parent in parents:
            target = getattr(target, parent, None)
        if isinstance(target, SimpleNamespace):
            setattr(target, name, value)
    return message


def changes(*paths):
    return st.dictionaries(st.sampled_from(paths), anything, max_size=4)


HEADER = ("header", "header.stamp", "header.frame_id", "header.stamp.sec", "header.stamp.nanosec")


@fuzz
@given(changes(*HEADER, "width", "height", "encoding", "step", "data", "is_bigendian"))
def test_no_raw_image_raises_anything_but_a_refusal(fields):
    door = intake()
    only_refuses(door, door.frame, changed(raw(), fields))


@fuzz
@given(
    changes(*HEADER, "format"),
    st.sampled_from([PNG, JPEG]),
    st.lists(st.tuples(st.integers(0, len(JPEG)), st.integers(0, 255)), max_size=3),
    st.integers(0, len(PNG)),
)
def test_no_compressed_image_raises_anything_but_a_refusal(fields, stream, damage, cut):
    data = bytearray(stream)
    for at, value in damage:
        data[at % len(data)] = value
    message = compressed(bytes(data[: len(data) - cut // 50]))
    door = intake()
    only_refuses(door, door.frame, changed(message, fields))


@fuzz
@given(
    changes(
        "width",
        "height",
        "distortion_model",
        "d",
        "k",
        "roi",
        "roi.width",
        "roi.x_offset",
        "binning_x",
        "binning_y",
    )
)
def test_no_camera_info_raises_anything_but_a_refusal(fields):
    door = intake()
    only_refuses(door, door.set_camera_info, changed(camera_info(), fields))
    door.frame(raw())
