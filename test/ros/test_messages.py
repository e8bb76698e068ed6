import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.ros.messages import (
    matrix,
    odometry_message,
    path_message,
    pose_message,
    pose_stamped,
    stamp_ns,
    time_message,
    transform_message,
    transform_stamped,
)


def pose(seed=0):
    random = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=random).as_matrix()
    T[:3, 3] = random.normal(size=3)
    return T


@pytest.mark.parametrize(
    "stamp", [0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789, 2**31 * 10**9 - 1]
)
def test_stamps_survive_to_the_nanosecond(stamp):
    message = time_message(stamp)
    assert (message.sec, message.nanosec) == divmod(stamp, 10**9)
    assert stamp_ns(message) == stamp


@pytest.mark.parametrize("stamp", [-1, 2**31 * 10**9])
def test_a_stamp_beyond_the_message_is_refused(stamp):
    with pytest.raises(ValueError, match=str(stamp)):
        time_message(stamp)


@pytest.mark.parametrize("convert", [pose_message, transform_message])
def test_poses_and_transforms_survive(convert):
    for seed in range(20):
        np.testing.assert_allclose(matrix(convert(pose(seed))), pose(seed), atol=1e-12)


def test_a_quarter_turn_about_z_has_the_known_quaternion():
    T = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], float)
    message = pose_message(T)
    position, rotation = message.position, message.orientation
    assert (position.x, position.y, position.z) == (1, 2, 3)
    half = np.sqrt(0.5)
    expected = pytest.approx((0, 0, half, half), abs=1e-12)
    assert (rotation.x, rotation.y, rotation.z, rotation.w) == expected


def test_a_zero_quaternion_is_no_rotation():
    message = pose_message(np.eye(4))
    message.orientation.w = 0.0
    with pytest.raises(ValueError, match="quaternion is zero"):
        matrix(message)


def test_an_edge_names_parent_child_and_stamp():
    edge = transform_stamped("map", "base", pose(1), 5_000_000_007)
    assert (edge.header.frame_id, edge.child_frame_id) == ("map", "base")
    assert stamp_ns(edge.header.stamp) == 5_000_000_007
    np.testing.assert_allclose(matrix(edge.transform), pose(1), atol=1e-12)


def test_odometry_says_that_it_has_no_velocity():
    message = odometry_message(pose(2), 42, "map", "camera")
    assert (message.header.frame_id, message.child_frame_id) == ("map", "camera")
    assert stamp_ns(message.header.stamp) == 42
    np.testing.assert_allclose(matrix(message.pose.pose), pose(2), atol=1e-12)
    assert message.twist.covariance[0] == -1


def test_a_path_keeps_every_pose_and_bears_the_last_stamp():
    poses = [pose_stamped(pose(index), 100 + index, "map") for index in range(3)]
    path = path_message(poses, "map")
    assert path.header.frame_id == "map"
    assert stamp_ns(path.header.stamp) == 102
    assert [stamp_ns(entry.header.stamp) for entry in path.poses] == [100, 101, 102]
    assert stamp_ns(path_message([], "map").header.stamp) == 0
