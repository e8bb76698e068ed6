"""Poses and stamps as ROS messages, and back. Time is integer nanoseconds throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from std_msgs.msg import Header

from flashvggt_ros.ros import backends

_NANOSECONDS = 1_000_000_000


def stamp_ns(time: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds."""
    return int(time.sec) * _NANOSECONDS + int(time.nanosec)


def time_message(stamp: int) -> Time:
    """Return nanoseconds, 0 to below 2^31 s, as builtin_interfaces/Time."""
    seconds, nanoseconds = divmod(int(stamp), _NANOSECONDS)
    if not 0 <= seconds < 2**31:
        raise ValueError(f"the stamp {stamp} ns is not within 0 to 2^31 s")
    return Time(sec=seconds, nanosec=nanoseconds)


def pose_message(T: NDArray[np.float64]) -> Pose:
    """Return T (4, 4) as a pose."""
    x, y, z = T[:3, 3].tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(T))


def transform_message(T: NDArray[np.float64]) -> Transform:
    """Return T (4, 4) as a transform."""
    x, y, z = T[:3, 3].tolist()
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion(T))


def matrix(message: Any) -> NDArray[np.float64]:
    """Return a Pose or a Transform as (4, 4); ValueError where the quaternion is zero."""
    if hasattr(message, "orientation"):
        position, rotation = message.position, message.orientation
    else:
        position, rotation = message.translation, message.rotation
    xyzw = [rotation.x, rotation.y, rotation.z, rotation.w]
    if not any(xyzw):
        raise ValueError("the quaternion is zero: it is no rotation")
    T = np.array(backends.tf_transformations().module.quaternion_matrix(xyzw), np.float64)
    T[:3, 3] = position.x, position.y, position.z
    return T


def transform_stamped(
    parent: str, child: str, T_parent_child: NDArray[np.float64], stamp: int
) -> TransformStamped:
    """Return one edge of the TF tree."""
    return TransformStamped(
        header=Header(stamp=time_message(stamp), frame_id=parent),
        child_frame_id=child,
        transform=transform_message(T_parent_child),
    )


def pose_stamped(T: NDArray[np.float64], stamp: int, frame_id: str) -> PoseStamped:
    """Return the pose T (4, 4) in ``frame_id``."""
    return PoseStamped(
        header=Header(stamp=time_message(stamp), frame_id=frame_id), pose=pose_message(T)
    )


def odometry_message(
    T_map_child: NDArray[np.float64], stamp: int, frame_id: str, child_frame_id: str
) -> Odometry:
    """Return the pose of ``child_frame_id`` in ``frame_id``.

    There is no velocity: the first entry of the twist's covariance is -1, which says unknown.
    """
    odometry = Odometry(
        header=Header(stamp=time_message(stamp), frame_id=frame_id), child_frame_id=child_frame_id
    )
    odometry.pose.pose = pose_message(T_map_child)
    odometry.twist.covariance[0] = -1.0
    return odometry


def path_message(poses: Sequence[PoseStamped], frame_id: str) -> Path:
    """Return a path with the stamp of its last pose."""
    path = Path(header=Header(frame_id=frame_id), poses=list(poses))
    if poses:
        path.header.stamp = poses[-1].header.stamp
    return path


def _quaternion(T: NDArray[np.float64]) -> Quaternion:
    xyzw = backends.tf_transformations().module.quaternion_from_matrix(T)
    x, y, z, w = (float(value) for value in xyzw)
    return Quaternion(x=x, y=y, z=z, w=w)
