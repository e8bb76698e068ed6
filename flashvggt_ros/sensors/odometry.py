"""nav_msgs/Odometry as a track of poses that can be asked at the stamp of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    Rejections,
    check_stamp,
    read_field,
    read_header,
    read_numbers,
    read_quaternion,
    read_text,
)
from flashvggt_ros.sensors.stamped_track import StampedTrack

MOST_MESSAGES = 30_000  # a minute at 500 Hz
LONGEST_GAP_NS = 500_000_000  # between two messages; how a robot moves in a longer one is a guess


class OdometryTrack:
    """Where odometry says that a frame is: T_odom_child, interpolated between messages.

    Messages that make no sense, or whose stamps do not grow, are counted in ``rejections``, said
    once and dropped. One thread may add while another asks.
    """

    def __init__(self, topic: str) -> None:
        self.rejections = Rejections(topic)
        self._track: StampedTrack[tuple[tuple[str, str], NDArray[np.float64]]] = StampedTrack(
            MOST_MESSAGES
        )

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest message, 0 before the first."""
        return self._track.newest_ns

    def add(self, message: Any) -> None:
        """Take a nav_msgs/Odometry."""
        try:
            stamp_ns, parent = read_header(message)
            check_stamp(stamp_ns, self._track.newest_ns, "odometry message")
            child = read_text(message, "child_frame_id").lstrip("/")
            if not child:
                raise RejectedInput(
                    "frame_missing", "child_frame_id is empty: name the frame that moves"
                )
            pose = read_field(read_field(message, "pose"), "pose")
            place = read_numbers(read_field(pose, "position"), "xyz")
            xyzw = read_quaternion(read_field(pose, "orientation"))
        except RejectedInput as rejection:
            self.rejections.add(rejection)
            return
        self._track.add(stamp_ns, ((parent, child), np.concatenate([place, xyzw])))

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

    def clear(self) -> None:
        """Forget everything; any stamp may come next."""
        self._track.clear()
        self.rejections.say_again()


def _pose(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return se3.pose(se3.matrix_from_quaternion(numbers[3:]), numbers[:3])
