"""Measurements of one topic by their stamps, of bounded age and size."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from typing import Any, Generic, TypeVar

from flashvggt_ros.sensors.rejected_input import RejectedInput, Rejections, read_header
from flashvggt_ros.sensors.stamp_order import StampOrder

KEPT_NS = 60_000_000_000  # keyframes are asked for a queue and a chunk later than they came

T = TypeVar("T")


class StampedTrack(Generic[T]):
    """Values with growing stamps [ns], the newest minute of them. Thread-safe.

    Each value has a size; beyond ``limit`` of them together the oldest are let go.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._values: list[T] = []
        self._sizes: list[int] = []
        self._size = 0

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest value, 0 before the first."""
        with self._lock:
            return self._stamps[-1] if self._stamps else 0

    def add(self, stamp_ns: int, value: T, size: int = 1) -> None:
        """Keep a value that is newer than all before; raises ValueError where it is not."""
        with self._lock:
            if self._stamps and stamp_ns <= self._stamps[-1]:
                raise ValueError(f"the stamp {stamp_ns} is not after {self._stamps[-1]}")
            self._stamps.append(stamp_ns)
            self._values.append(value)
            self._sizes.append(size)
            self._size += size
            gone = bisect_left(self._stamps, stamp_ns - KEPT_NS)
            excess = self._size - sum(self._sizes[:gone]) - self._limit
            while excess > 0 and gone < len(self._stamps) - 1:
                excess -= self._sizes[gone]
                gone += 1
            self._size -= sum(self._sizes[:gone])
            del self._stamps[:gone], self._values[:gone], self._sizes[:gone]

    def within(self, first_ns: int, last_ns: int) -> list[tuple[int, T]]:
        """Return stamps and values from ``first_ns`` to ``last_ns``, both included."""
        with self._lock:
            first, end = bisect_left(self._stamps, first_ns), bisect_right(self._stamps, last_ns)
            return list(zip(self._stamps[first:end], self._values[first:end], strict=True))

    def around(self, stamp_ns: int) -> tuple[tuple[int, T], tuple[int, T]] | None:
        """Return the values before and after a stamp, twice the same where it is its own.

        None where the stamp lies outside of what is kept: nothing is extrapolated.
        """
        with self._lock:
            at = bisect_left(self._stamps, stamp_ns)
            if at == len(self._stamps) or (at == 0 and self._stamps[0] != stamp_ns):
                return None
            before = at if self._stamps[at] == stamp_ns else at - 1
            first, second = (
                (self._stamps[number], self._values[number]) for number in (before, at)
            )
            return first, second

    def clear(self) -> None:
        """Forget everything; any stamp may come next."""
        with self._lock:
            self._stamps.clear()
            self._values.clear()
            self._sizes.clear()
            self._size = 0


class TopicTrack(ABC, Generic[T]):
    """What the messages of one topic measure, by their stamps. One thread may add, another ask.

    Messages that make no sense, or whose stamps do not grow, are counted in ``rejections``, said
    once and dropped; where time has jumped back all is forgotten. ``what`` names such a message;
    ``limit`` is that of StampedTrack; ``order`` is that of the messages.
    """

    def __init__(self, topic: str, what: str, limit: int) -> None:
        self.rejections = Rejections(topic)
        self._what = what
        self.order = StampOrder()
        self._track: StampedTrack[T] = StampedTrack(limit)

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest message, 0 before the first."""
        return self._track.newest_ns

    def add(self, message: Any) -> None:
        """Take a message."""
        try:
            stamp_ns, frame = read_header(message)
            self.order.check(stamp_ns, self._what)
            value, size = self._read(message, frame)
        except RejectedInput as rejection:
            self.rejections.add(rejection)
            if self.order.jump_back_ns:
                self.clear()
        else:
            self.order.accept(stamp_ns)
            self._track.add(stamp_ns, value, size)

    def clear(self) -> None:
        """Forget everything; any stamp may come next."""
        self.order.clear()
        self._track.clear()
        self.rejections.say_again()

    @abstractmethod
    def _read(self, message: Any, frame: str) -> tuple[T, int]:
        """Return what a message with this frame_id measures, and its size; or RejectedInput."""
