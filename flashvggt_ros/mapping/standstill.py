"""Until when a camera stands where its newest keyframe was taken."""

from __future__ import annotations

from flashvggt_ros.frame import Frame, FrameStamp


class Standstill:
    """Remembers of each camera its newest keyframe, and until when images showed the same."""

    def __init__(self) -> None:
        self._keyframes: dict[str, FrameStamp] = {}
        self._until_ns: dict[str, int] = {}

    @property
    def until_ns(self) -> dict[FrameStamp, int]:
        """Stamp of the newest image that showed the same as a camera's newest keyframe, by that."""
        return {frame: self._until_ns[camera] for camera, frame in self._keyframes.items()}

    def begin(self, keyframe: Frame) -> None:
        """Take a new keyframe."""
        self._keyframes[keyframe.camera] = FrameStamp(keyframe.stamp_ns, keyframe.camera)
        self._until_ns[keyframe.camera] = keyframe.stamp_ns

    def go_on(self, frame: Frame) -> None:
        """Take an image that shows the same as the newest keyframe of its camera."""
        self._until_ns[frame.camera] = frame.stamp_ns
