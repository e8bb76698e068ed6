"""nav_msgs/Odometry as a track of poses that can be asked at the stamp of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    read_field,
    read_place,
    read_quaternion,
    read_text,
)
from flashvggt_ros.sensors.stamped_track import TopicTrack

MOST_MESSAGES = 30_000  # a minute at 500 Hz
LONGEST_GAP_NS = 500_000_000  # between two messages; how a robot moves in a longer one is a guess

FramedPose = tuple[tuple[str, str], NDArray[np.float64]]  # parent and child; x y z, quaternion xyzw


class OdometryTrack(TopicTrack[FramedPose]):
    """Where nav_msgs/Odometry says that a frame is: T_odom_child, interpolated between messages."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic, "odometry message", MOST_MESSAGES)

    def at(self, stamp_ns: int) -> tuple[str, NDArray[np.float64]] | None:
        """Return the frame that moves and its pose T_odom_child (4, 4) at a stamp.

        None outside of what came, in holes of more than half a second, and while the frames change.
        """
        found = self._track.around(stamp_ns)
        if found is None:
            return None
        (before_ns, (frames, before)), (after_ns, (frames_after, after)) = found
        if frames != frames_after or after_ns - before_ns > LONGEST_GAP_NS:
            return None
        if before_ns == after_ns:
            return frames[1], _pose(before)
        fraction = (stamp_ns - before_ns) / (after_ns - before_ns)
        return frames[1], se3.interpolate(_pose(before), _pose(after), fraction)

    def _read(self, message: Any, frame: str) -> tuple[FramedPose, int]:
        child = read_text(message, "child_frame_id").lstrip("/")
        if not child:
            raise RejectedInput(
                "frame_missing", "child_frame_id is empty: name the frame that moves"
            )
        pose = read_field(read_field(message, "pose"), "pose")
        place = read_place(read_field(pose, "position"))
        xyzw = read_quaternion(read_field(pose, "orientation"))
        return ((frame, child), np.concatenate([place, xyzw])), 1


def _pose(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return se3.pose(se3.matrix_from_quaternion(numbers[3:]), numbers[:3])
