"""Where a replay was in the map that it loaded, as it knew at the time."""

from __future__ import annotations

from typing import Any

import numpy as np

from flashvggt_ros.frame import FrameStamp, MapUpdate
from flashvggt_ros.mapping.trails import Trajectory


class LocalizedPath:
    """Collects the keyframes whose place in a loaded map was known when they were mapped."""

    def __init__(self) -> None:
        self._frames: list[FrameStamp] = []
        self._poses = [np.zeros((0, 4, 4))]
        self._after: int | None = None

    def add(self, update: MapUpdate, frames_read: int, *, is_localized: bool) -> None:
        """Take what a chunk changed, after so many images of the bag."""
        if not is_localized:
            return
        if self._after is None:
            self._after = frames_read
        self._frames.extend(update.new)
        self._poses.append(update.T_map_camera)

    def trajectory(self) -> Trajectory:
        """Return the poses as they were published; later corrections are not in them."""
        return Trajectory(tuple(self._frames), np.concatenate(self._poses))

    def describe(self) -> dict[str, Any]:
        """Say since when the place was known, and of how many keyframes; None: never."""
        return {
            "keyframes": len(self._frames),
            "after_frames": self._after,
            "since_ns": self._frames[0].stamp_ns if self._frames else None,
        }
