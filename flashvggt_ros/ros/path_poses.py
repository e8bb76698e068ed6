"""The poses of ~/path as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.messages import pose_stamped

STILL = 1e-5  # by which a pose may move before its message does [m, rad]


class PathPoses:
    """The path's messages, changed only where a pose moved; no more than ``most`` of them.

    Of a longer path every second pose is left out, every fourth of one twice as long, and so on;
    the newest one is always there.
    """

    def __init__(self, map_frame: str, most: int) -> None:
        self.most = most
        self._map_frame = map_frame
        self._step = 1
        self._T_shown = np.empty((0, 4, 4))
        self._messages: list[PoseStamped] = []

    def update(
        self, frames: Sequence[FrameStamp], T_map_camera: NDArray[np.float64]
    ) -> list[PoseStamped]:
        """Return the messages of the frames (K), whose poses are now T_map_camera (K, 4, 4).

        They are valid until the next call, which changes them.
        """
        while len(frames) > self._step * (self.most - 1):
            self._step *= 2
            self._messages = self._messages[::2]
            self._T_shown = self._T_shown[::2]
        poses, shown = T_map_camera[:: self._step], self._T_shown
        known = len(shown)
        moved = (np.abs(poses[:known] - shown) > STILL).any(axis=(1, 2))
        fresh = [*np.flatnonzero(moved).tolist(), *range(known, len(poses))]
        stamps = frames[known * self._step :: self._step]
        self._messages += [
            pose_stamped(np.eye(4), frame.stamp_ns, self._map_frame) for frame in stamps
        ]
        self._T_shown = np.concatenate([shown, poses[known:]])
        self._T_shown[fresh] = poses[fresh]
        _move((self._messages[index].pose for index in fresh), poses[fresh])
        if not len(frames) or (len(frames) - 1) % self._step == 0:
            return self._messages
        newest = pose_stamped(T_map_camera[-1], frames[-1].stamp_ns, self._map_frame)
        return [*self._messages, newest]


def _move(messages: Iterable[Pose], T_map_camera: NDArray[np.float64]) -> None:
    """Give poses other places; this is ten times as fast as to make them anew."""
    places = T_map_camera[:, :3, 3].tolist()
    turns = se3.quaternion_from_matrix(T_map_camera[:, :3, :3]).tolist()
    for pose, place, turn in zip(messages, places, turns, strict=True):
        position, orientation = pose.position, pose.orientation
        position.x, position.y, position.z = place
        orientation.x, orientation.y, orientation.z, orientation.w = turn
