"""Measurements by their stamps, of bounded age and size; one thread adds, another asks."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

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
