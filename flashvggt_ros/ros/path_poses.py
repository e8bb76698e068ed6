"""The poses of ~/path as messages."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.ros.messages import pose_stamped


class PathPoses:
    """The path's messages, converted anew only where a pose moved."""

    def __init__(self, map_frame: str) -> None:
        self._map_frame = map_frame
        self._T_map_camera = np.empty((0, 4, 4))
        self._messages: list[PoseStamped] = []

    def update(
        self, frames: tuple[FrameStamp, ...], T_map_camera: NDArray[np.float64]
    ) -> list[PoseStamped]:
        """Return the messages of all frames (K), whose poses are now T_map_camera (K, 4, 4)."""
        known = len(self._messages)
        moved = (T_map_camera[:known] != self._T_map_camera).any(axis=(1, 2))
        self._messages.extend([PoseStamped()] * (len(frames) - known))
        for index in [*np.flatnonzero(moved), *range(known, len(frames))]:
            self._messages[index] = pose_stamped(
                T_map_camera[index], frames[index].stamp_ns, self._map_frame
            )
        self._T_map_camera = T_map_camera.copy()
        return self._messages
