from types import SimpleNamespace

import numpy as np
import pytest
from sensor_messages import camera_info

from flashvggt_ros.sensors.camera_info import calibration_from_camera_info
from flashvggt_ros.sensors.rejected_input import RejectedInput

EIGHT = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def region(x, y, width, height):
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height, do_rectify=False)


def numbers(pinhole):
    return pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy, pinhole.width, pinhole.height


def test_intrinsics_and_distortion_are_taken_over():
    calibration = calibration_from_camera_info(camera_info())
    assert numbers(calibration.pinhole) == (50.0, 55.0, 31.0, 23.0, 64, 48)
    assert calibration.distortion == "plumb_bob"
    assert calibration.coefficients == (0.1, -0.2, 0.001, 0.002, 0.03)


@pytest.mark.parametrize(
    ("model", "given", "expected_model", "expected"),
    [
        ("plumb_bob", [], "none", ()),
        ("plumb_bob", [0.0] * 5, "none", ()),
        ("plumb_bob", [0.1, 0.2, 0.3, 0.4], "plumb_bob", (0.1, 0.2, 0.3, 0.4, 0.0)),
        ("rational_polynomial", EIGHT, "rational_polynomial", tuple(EIGHT)),
        ("rational_polynomial", EIGHT + [0] * 4, "rational_polynomial", tuple(EIGHT)),
        ("rational_polynomial", EIGHT + [0] * 6, "rational_polynomial", tuple(EIGHT)),
        ("equidistant", [0.1, 0.2, 0.3, 0.4], "equidistant", (0.1, 0.2, 0.3, 0.4)),
        ("equidistant", [0.0] * 4, "equidistant", (0.0,) * 4),
        ("", [], "none", ()),
        ("none", [0.0], "none", ()),
    ],
)
def test_distortion_models_are_completed(model, given, expected_model, expected):
    calibration = calibration_from_camera_info(camera_info(distortion_model=model, d=given))
    assert calibration.distortion == expected_model
    assert calibration.coefficients == expected


def test_a_rectified_image_takes_its_projection_and_no_distortion():
    calibration = calibration_from_camera_info(camera_info(), is_rectified=True)
    assert numbers(calibration.pinhole) == (40.0, 45.0, 30.0, 22.0, 64, 48)
    assert calibration.distortion == "none"


def test_region_and_binning_keep_every_ray():
    message = camera_info(roi=region(8, 4, 40, 30), binning_x=2, binning_y=3)
    full = calibration_from_camera_info(camera_info()).pinhole
    sent = calibration_from_camera_info(message).pinhole
    assert (sent.width, sent.height) == (20, 10)
    ray = np.array([0.1, -0.05, 1.0])
    u, v = (full.matrix @ ray)[:2]
    # A pixel of the sent image covers 2 columns and 3 rows; its center is the mean of theirs.
    sent_u, sent_v = (sent.matrix @ ray)[:2]
    assert 8 + 2 * sent_u + 0.5 == pytest.approx(u, abs=1e-9)
    assert 4 + 3 * sent_v + 1.0 == pytest.approx(v, abs=1e-9)


def test_a_region_of_the_whole_image_changes_nothing():
    whole = calibration_from_camera_info(camera_info(roi=region(0, 0, 64, 48), binning_x=1))
    assert whole == calibration_from_camera_info(camera_info())


K = [50.0, 0.0, 31.0, 0.0, 55.0, 23.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"k": [0.0] * 9}, "camera_info_uncalibrated"),
        ({"k": [0.0, *K[1:]]}, "camera_info_uncalibrated"),
        ({"k": [*K[:4], 0.0, *K[5:]]}, "camera_info_uncalibrated"),
        ({"k": [-50.0, *K[1:]]}, "camera_info_invalid"),
        ({"k": [float("nan"), *K[1:]]}, "camera_info_invalid"),
        ({"k": [float("inf"), *K[1:]]}, "camera_info_invalid"),
        ({"k": [50.0, 0.3, *K[2:]]}, "camera_info_invalid"),
        ({"k": [*K[:8], 2.0]}, "camera_info_invalid"),
        ({"k": K[:8]}, "malformed"),
        ({"k": None}, "malformed"),
        ({"k": ["a"] * 9}, "malformed"),
        ({"width": 0}, "camera_info_invalid"),
        ({"d": [float("nan")] * 5}, "camera_info_invalid"),
        ({"d": [0.1] * 6}, "camera_info_unsupported"),
        ({"distortion_model": "kannala"}, "camera_info_unsupported"),
        ({"distortion_model": "", "d": [0.1]}, "camera_info_unsupported"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 12}, "camera_info_unsupported"),
        ({"roi": region(60, 0, 10, 10)}, "camera_info_invalid"),
        ({"roi": region(70, 0, 0, 0)}, "camera_info_invalid"),
        ({"binning_x": 100}, "camera_info_invalid"),
        ({"roi": None}, "malformed"),
    ],
)
def test_a_camera_info_that_cannot_be_used_is_refused_by_cause(fields, cause):
    with pytest.raises(RejectedInput) as refusal:
        calibration_from_camera_info(camera_info(**fields))
    assert refusal.value.cause == cause
