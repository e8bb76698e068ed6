"""True trajectories: TUM files, or pose topics of a bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.se3 import matrix_from_quaternion, pose
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map_io import FARTHEST_M, is_lost, read_tracked_tum, tum_lines
from flashvggt_ros.sensors.bag_reader import Bag, BagTopic

TF_TYPE = "tf2_msgs/msg/TFMessage"
POSE_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/TransformStamped",
    TF_TYPE,
)
NANOSECONDS = 10**9
KITTI_COLUMNS = 12  # the upper three rows of a pose; no stamp
QUATERNION_TOLERANCE = 0.05  # of its length, which is 1: numbers of two decimals keep to it
STAMP_DIGITS = 19  # of nanoseconds since 1970


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """``stamps_ns`` (N,) ascending, ``T_world_camera`` (N, 4, 4); ``source`` says where from.

    ``lost`` is how many poses were left out because they are not finite.
    """

    stamps_ns: Sequence[int]
    T_world_camera: NDArray[np.float64]
    source: str
    lost: int


def read_ground_truth(source: str) -> GroundTruth:
    """Read ``FILE.tum``, ``BAG:TOPIC`` or, of a topic in several frames, ``BAG:TOPIC:FRAMES``.

    The topic carries PoseStamped, PoseWithCovarianceStamped, Odometry, TransformStamped or
    TFMessage; FRAMES are parent.child, or of poses, which name no child, the parent alone. Poses
    that are not finite, as trackers write them of what they have lost, are left out and counted.
    Raises ValueError that says what is there instead.
    """
    bag_path, topic, frames = _split(source)
    if not topic:
        if not expanded(source).is_file():
            raise ValueError(f"{source} is no ground-truth file: name FILE.tum or BAG:TOPIC")
        stamps, poses, lost = _read_file(expanded(source))
    else:
        stamps, poses, lost = _read_bag(bag_path, topic, frames)
    if not len(stamps):
        found = f"{lost} poses, none of them finite" if lost else "no poses"
        raise ValueError(f"the ground truth {source} has {found}")
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    return GroundTruth([int(stamps[row]) for row in order], poses[order], source, lost)


def _split(source: str) -> tuple[str, str, str]:
    """Bag, topic and frames; the topic is empty where the source is no BAG:TOPIC."""
    if expanded(source).exists():
        return source, "", ""
    parts = source.split(":")
    for count in range(1, len(parts)):
        bag = ":".join(parts[:count])
        if expanded(bag).exists():
            return bag, parts[count], ":".join(parts[count + 1 :])
    return source, "", ""


def _read_file(path: Path) -> tuple[list[int], NDArray[np.float64], int]:
    try:
        found = read_tracked_tum(path)
    except ValueError as error:
        raise ValueError(f"{error}{_remedy(path)}") from None
    for number, entries in tum_lines(path):
        length = float(np.linalg.norm([float(entry) for entry in entries[4:]]))
        if not is_lost(entries) and abs(length - 1) > QUATERNION_TOLERANCE:
            raise ValueError(f"{path}, line {number}: its quaternion has length {length:.3g}, not "
                             "1: the columns must be seconds x y z qx qy qz qw")
    return found


def _remedy(path: Path) -> str:
    """What makes a truth of a file in the form of a data set; empty for any other file."""
    _, entries = next(tum_lines(path), (0, []))
    if len(entries) == KITTI_COLUMNS:
        name, form = "KITTI odometry", "kitti_odometry"
    elif entries and entries[0].isdecimal() and len(entries[0]) == STAMP_DIGITS:
        name, form = "EuRoC", "euroc"
    else:
        return ""
    return (f"; it looks like one of {name}: 'flashvggt_convert {form} FOLDER --output BAG' makes "
            "a bag of the sequence, to be scored with --ground-truth /ground_truth/pose")


def _read_bag(path: str, topic: str, frames: str) -> tuple[list[int], NDArray[np.float64], int]:
    """Stamps, poses, and how many more are not finite."""
    with Bag(path) as bag:
        chosen = _pose_topic(bag, topic)
        messages = [bag.decode(message) for message in bag.messages([chosen.name])]
    if chosen.type == TF_TYPE:
        messages = [transform for message in messages for transform in message.transforms]
    messages = _of_frames(messages, frames, chosen.name)
    stamps, poses = [], []
    for message in messages:
        place, quaternion = _numbers(message)
        if np.isfinite([*place, *quaternion]).all():
            stamps.append(message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec)
            poses.append(_matrix(place, quaternion))
    lost = len(messages) - len(poses)
    return stamps, np.array(poses, np.float64).reshape(-1, 4, 4), lost


def _pose_topic(bag: Bag, name: str) -> BagTopic:
    known = {topic.name: topic for topic in bag.topics if topic.type in POSE_TYPES}
    topic = known.get("/" + name.strip("/"))
    if topic is None:
        listing = "".join(f"\n  {entry.name} ({entry.type})" for entry in known.values()) or " none"
        raise ValueError(f"{bag.path} has no poses on '{name}'; its pose topics:{listing}")
    return topic


def _of_frames(messages: Sequence[Any], frames: str, topic: str) -> list[Any]:
    """The messages in these frames; all of them where they have but one, and none is named."""
    known = {_frames(message) for message in messages}
    if frames not in known and (frames or len(known) > 1):
        raise ValueError(
            f"{topic} has no poses of '{frames}': name frames as BAG:{topic}:FRAMES; "
            f"it has: {', '.join(sorted(known)) or 'none'}"
        )
    return [message for message in messages if frames in ("", _frames(message))]


def _frames(message: Any) -> str:
    """parent.child, or the parent alone where a message names no child."""
    child = getattr(message, "child_frame_id", "")
    return f"{message.header.frame_id}.{child}" if child else str(message.header.frame_id)


def _numbers(message: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position x y z [m] and quaternion x y z w of any of POSE_TYPES."""
    if hasattr(message, "transform"):
        position, rotation = message.transform.translation, message.transform.rotation
    else:
        body = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        position, rotation = body.position, body.orientation
    place = np.array([position.x, position.y, position.z], np.float64)
    return place, np.array([rotation.x, rotation.y, rotation.z, rotation.w], np.float64)


def _matrix(place: NDArray[np.float64], quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """T (4, 4). Raises ValueError for what is no place or no rotation."""
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) <= QUATERNION_TOLERANCE:
        raise ValueError(f"a ground-truth pose has the quaternion {quaternion}: not a rotation")
    if not (np.abs(place) <= FARTHEST_M).all():
        raise ValueError(f"a ground-truth pose has the position {place}: not a place")
    return pose(matrix_from_quaternion(quaternion / length), place)
