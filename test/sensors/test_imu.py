import logging
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_messages import imu, quaternion, vector

from flashvggt_ros.sensors.imu import ImuTrack

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
PERIOD = 5_000_000
TILT = Rotation.from_euler("xyz", [0.1, -0.2, 0.7])  # R_world_imu
UP = TILT.as_matrix()[2]
KNOWN = np.diag([1e-4, 1e-4, 1e-4]).reshape(-1)
UNKNOWN = np.zeros(9)


def track_of(make, count=200):
    """An IMU at 200 Hz for a second; ``make(number)`` gives each message's fields."""
    track = ImuTrack("/imu")
    for number in range(count):
        track.add(imu(START + number * PERIOD, **make(number)))
    return track


def angle(first, second):
    return float(np.arccos(np.clip(first @ second, -1, 1)))


def oriented(covariance, **fields):
    return lambda number: {
        "orientation": quaternion(TILT.as_quat()), "orientation_covariance": covariance,
        "linear_acceleration": vector(9.81 * UP), **fields,
    }


@pytest.mark.parametrize("covariance", [KNOWN, UNKNOWN])
def test_an_orientation_says_which_way_is_up(covariance):
    shaken = {"linear_acceleration": vector((3, 30, 1))}
    frame, up = track_of(oriented(covariance, **shaken)).up(START + SECOND // 2 + 1)
    assert frame == "imu_link"
    np.testing.assert_allclose(up, UP, atol=1e-12)


def test_an_orientation_is_interpolated_to_the_stamp():
    def make(number):
        turned = Rotation.from_rotvec([0.2 * number, 0, 0])
        return {
            "orientation": quaternion(turned.as_quat()), "orientation_covariance": KNOWN,
            "linear_acceleration": vector((50, 0, 0)),
        }

    _, up = track_of(make).up(START + PERIOD * 13 // 4)
    expected = Rotation.from_rotvec([0.2 * 3.25, 0, 0]).as_matrix()[2]
    assert angle(up, expected) < 0.002


@pytest.mark.parametrize(
    "fields",
    [
        {"orientation_covariance": np.array([-1.0, *[0.0] * 8])},
        {"orientation_covariance": np.diag([9.0, 9.0, 9.0]).reshape(-1)},
        {"orientation_covariance": KNOWN, "orientation": quaternion((0, 0, 0, 0))},
        {"orientation_covariance": UNKNOWN, "orientation": quaternion((0, 0, 0, 1))},
    ],
    ids=["none, by its covariance", "of no use", "zero", "nobody filled it in"],
)
def test_without_an_orientation_the_acceleration_at_rest_says_it(fields):
    rng = np.random.default_rng(0)

    def make(number):
        noisy = 9.81 * UP + rng.normal(0, 0.05, 3)
        return {"orientation": quaternion((0.5, 0.5, 0.5, 0.5)), **fields,
                "linear_acceleration": vector(noisy)}

    frame, up = track_of(make).up(START + SECOND // 2)
    assert frame == "imu_link"
    assert angle(up, UP) < 0.005
    assert np.linalg.norm(up) == pytest.approx(1)


@pytest.mark.parametrize(
    "fields",
    [
        {"linear_acceleration": vector((0, 3, 9.81))},
        {"linear_acceleration": vector((0, 0, 8.0))},
        {"linear_acceleration": vector((0, 0, 0))},
        {"angular_velocity": vector((0, 0, 0.5))},
        {"linear_acceleration_covariance": np.array([-1.0, *[0.0] * 8])},
    ],
    ids=["sideways", "falling", "gravity taken away", "turning", "no acceleration"],
)
def test_in_motion_an_acceleration_says_nothing(fields):
    assert track_of(lambda number: fields).up(START + SECOND // 2) is None


def test_single_shocks_do_not_count_and_too_many_leave_nothing():
    def shaken(share):
        return lambda number: {
            "linear_acceleration": vector((20, 0, 0) if number % 10 < share else 9.81 * UP)
        }

    _, up = track_of(shaken(3)).up(START + SECOND // 2)
    assert angle(up, UP) < 1e-6
    assert track_of(shaken(6)).up(START + SECOND // 2) is None


def test_an_orientation_that_gravity_contradicts_is_not_believed(caplog):
    upside_down = {"linear_acceleration": vector(-9.81 * UP)}  # z down, as many drivers have it
    track = track_of(oriented(KNOWN, **upside_down))
    with caplog.at_level(logging.WARNING):
        assert track.up(START + SECOND // 2) is None
        assert track.up(START + SECOND // 3) is None
    assert caplog.text.count("disagree about which way is up") == 1


def test_nothing_is_known_where_no_reading_is_near():
    track = track_of(oriented(KNOWN))
    assert track.up(START - SECOND // 5) is None
    assert track.up(START + 2 * SECOND) is None
    assert ImuTrack("/imu").up(START) is None


BAD = [
    ({"linear_acceleration": vector((np.nan, 0, 0))}, "not_finite"),
    ({"angular_velocity": vector((np.inf, 0, 0))}, "not_finite"),
    ({"orientation": quaternion((np.nan, 0, 0, 1)), "orientation_covariance": KNOWN}, "not_finite"),
    ({"orientation_covariance": np.full(9, np.nan)}, "not_finite"),
    ({"orientation_covariance": np.zeros(4)}, "malformed"),
    ({"orientation_covariance": None}, "malformed"),
    ({"linear_acceleration": None}, "malformed"),
    ({"header": SimpleNamespace()}, "malformed"),
]


@pytest.mark.parametrize(("fields", "cause"), BAD)
def test_bad_messages_are_counted_said_once_and_dropped(fields, cause, caplog):
    track = ImuTrack("/imu")
    with caplog.at_level(logging.WARNING):
        track.add(imu(START, **fields))
        track.add(imu(START, **fields))
    assert track.rejections.counts == {cause: 2}
    assert len(caplog.records) == 1
    assert track.newest_ns == 0


def test_an_imu_without_a_frame_or_with_stamps_that_go_back_is_dropped():
    track = ImuTrack("/imu")
    nameless = imu(START)
    nameless.header.frame_id = ""
    for message in (nameless, imu(0), imu(START), imu(START), imu(START - 1)):
        track.add(message)
    assert track.rejections.counts == {
        "frame_missing": 1, "stamp_zero": 1, "stamp_repeated": 1, "stamp_backwards": 1,
    }
    track.clear()
    track.add(imu(START - 1))
    assert track.newest_ns == START - 1
