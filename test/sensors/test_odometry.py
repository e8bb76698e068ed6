import logging
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_messages import odometry, quaternion

from flashvggt_ros.sensors.odometry import LONGEST_GAP_NS, MOST_MESSAGES, OdometryTrack

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def track_of(*messages):
    track = OdometryTrack("/odom")
    for message in messages:
        track.add(message)
    return track


def test_a_pose_between_two_messages_is_interpolated_in_place_and_turn():
    turned = Rotation.from_rotvec([0, 0, 0.4]).as_quat()
    track = track_of(
        odometry(START, (1, 2, 3)), odometry(START + SECOND // 10, (2, 4, 3), turned)
    )
    child, T_odom_base = track.at(START + SECOND // 40)
    assert child == "base_link"
    np.testing.assert_allclose(T_odom_base[:3, 3], [1.25, 2.5, 3], atol=1e-12)
    expected = Rotation.from_rotvec([0, 0, 0.1]).as_matrix()
    np.testing.assert_allclose(T_odom_base[:3, :3], expected, atol=1e-12)


def test_at_its_own_stamp_a_message_counts_alone():
    track = track_of(odometry(START, (1, 0, 0)))
    _, T_odom_base = track.at(START)
    np.testing.assert_allclose(T_odom_base[:3, 3], [1, 0, 0])


def test_nothing_is_known_outside_of_the_messages_nor_in_a_hole():
    track = track_of(odometry(START), odometry(START + 2 * LONGEST_GAP_NS))
    for stamp in (START - 1, START + LONGEST_GAP_NS, START + 2 * LONGEST_GAP_NS + 1):
        assert track.at(stamp) is None


def test_poses_of_different_frames_are_not_mixed():
    for other in ({"child": "laser"}, {"frame_id": "map"}):
        track = track_of(odometry(START), odometry(START + 10, **other))
        assert track.at(START + 5) is None
        assert track.at(START) is not None


def test_a_quaternion_of_any_length_is_a_rotation():
    track = track_of(odometry(START, xyzw=(0, 0, 0, 3)))
    np.testing.assert_allclose(track.at(START)[1], np.eye(4), atol=1e-12)


def _with_pose(**fields):
    message = odometry(START)
    vars(message.pose.pose).update(fields)
    return message


BAD = [
    (odometry(START, (np.nan, 0, 0)), "not_finite"),
    (odometry(START, (0, np.inf, 0)), "not_finite"),
    (odometry(START, xyzw=(0, 0, 0, 0)), "zero_quaternion"),
    (odometry(START, xyzw=(0, np.nan, 0, 1)), "not_finite"),
    (odometry(START, child=""), "frame_missing"),
    (odometry(START, child="\ud800"), "malformed"),
    (odometry(0), "stamp_zero"),
    (_with_pose(position=None), "malformed"),
    (_with_pose(orientation=SimpleNamespace(x=1, y=0)), "malformed"),
    (_with_pose(orientation=SimpleNamespace(x="a", y=0, z=0, w=1)), "malformed"),
    (_with_pose(orientation=SimpleNamespace(x=[1], y=[0], z=[0], w=[1])), "malformed"),
    (SimpleNamespace(), "malformed"),
    (None, "malformed"),
    (_with_pose(orientation=quaternion((1e200, 0, 0, 1e200))), "not_finite"),
]


@pytest.mark.parametrize(("message", "cause"), BAD)
def test_bad_messages_are_counted_said_once_and_dropped(message, cause, caplog):
    track = OdometryTrack("/odom")
    with caplog.at_level(logging.WARNING):
        track.add(message)
        track.add(message)
    assert track.rejections.counts == {cause: 2}
    assert len(caplog.records) == 1
    assert "/odom" in caplog.text
    caplog.text.encode()  # a log says nothing that cannot be sent
    assert track.newest_ns == 0


def test_stamps_that_go_back_are_dropped_until_the_track_is_cleared():
    track = track_of(odometry(START + 5), odometry(START + 5), odometry(START, (9, 9, 9)))
    assert track.rejections.counts == {"stamp_repeated": 1, "stamp_backwards": 1}
    assert track.at(START) is None
    track.clear()
    track.add(odometry(START, (9, 9, 9)))
    assert track.at(START)[1][0, 3] == 9


def test_a_track_survives_wild_stamps_and_begins_anew_where_time_has_jumped_back():
    track = track_of(odometry(START), odometry(START + 3600 * 10**9), odometry(START + 9 * 10**9))
    assert track.newest_ns == START + 9 * 10**9  # nine seconds ahead may be
    for number in range(1, 8):
        track.add(odometry(START + number, (number, 0, 0)))
    assert track.rejections.counts == {"stamp_ahead": 1, "stamp_backwards": 5}
    assert track.at(START + 6)[1][0, 3] == 6
    assert track.at(START + 9 * 10**9) is None




def test_memory_is_bounded_however_fast_the_messages_come():
    track = OdometryTrack("/odom")
    for step in range(1, 40_001):
        track._track.add(START + step, (("odom", "base"), np.zeros(7)))
    assert len(track._track.within(0, 2 * START)) == MOST_MESSAGES
