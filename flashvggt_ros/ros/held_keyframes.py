"""Keyframes that have no pose yet, as the worker accounts for them."""

from __future__ import annotations

from flashvggt_ros.frame import Frame


class HeldKeyframes:
    """Keyframes in order of arrival, and when their images came, on the monotonic clock [s]."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._times: list[float] = []

    def __len__(self) -> int:
        return len(self._frames)

    def hold(self, frame: Frame, time: float) -> None:
        """Add one that came at ``time``."""
        self._frames.append(frame)
        self._times.append(time)

    def first(self, count: int) -> list[Frame]:
        """Return the first ones, as many as there are."""
        return self._frames[:count]

    def let_go(self, count: int) -> float:
        """Forget the first ones, at least one; return when the last of them came [s]."""
        newest = self._times[count - 1]
        del self._frames[:count], self._times[:count]
        return newest

    def clear(self) -> None:
        """Forget all."""
        self._frames.clear()
        self._times.clear()
