"""How steadily the messages of one camera come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

RATE_WINDOW_S = 5.0
STALL_S = 1.0
STALL_PERIODS = 3.0  # of a camera slower than that
KEPT = 512  # arrivals; at 60 Hz the window has 300
RECENT = 16  # of them tell the period
MOST_OFFSET_S = 0.5  # between the clocks that cameras are stamped by


@dataclass(frozen=True, slots=True)
class StreamReport:
    """How images of one topic come.

    ``rate_hz``: over the last seconds. ``silence_s``: since the newest came, before the first since
    the watch began.
    ``offset_s``: stamp of the newest image less its arrival on this machine's monotonic clock; of
    use only compared with that of another camera.
    """

    topic: str
    rate_hz: float
    silence_s: float
    is_stalled: bool
    offset_s: float


class StreamWatch:
    """Notes when images come, whether they are good or not. One thread only.

    A stream stalls when for more than a second, or three periods of a slow camera, nothing came;
    make it when images could come. ``now()`` is a clock that never stands still [s].
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun = now()
        self._arrivals: deque[float] = deque(maxlen=KEPT)
        self._offset_s = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether any image has come."""
        return bool(self._arrivals)

    def arrived(self, stamp_ns: int = 0) -> None:
        """Take note of an image; a stamp of 0 is one that means nothing."""
        now = self._now()
        self._arrivals.append(now)
        if stamp_ns:
            self._offset_s = stamp_ns * 1e-9 - now

    def report(self, topic: str) -> StreamReport:
        """Return how the images of ``topic`` come at this moment."""
        silence_s = self._now() - (self._arrivals[-1] if self._arrivals else self._begun)
        return StreamReport(
            topic, self._rate(), silence_s, silence_s > self._patience(), self._offset_s
        )

    def _rate(self) -> float:
        oldest = self._now() - RATE_WINDOW_S
        recent = [arrival for arrival in self._arrivals if arrival >= oldest]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])

    def _patience(self) -> float:
        recent = list(self._arrivals)[-RECENT:]
        if len(recent) < 3:
            return STALL_S
        return max(STALL_S, STALL_PERIODS * median(b - a for a, b in pairwise(recent)))


def drift_problem(streams: Sequence[StreamReport]) -> str:
    """Say which cameras are stamped by clocks that differ; empty where none are."""
    running = [stream for stream in streams if stream.rate_hz and not stream.is_stalled]
    if len(running) < 2:
        return ""
    last = min(running, key=lambda stream: stream.offset_s)
    first = max(running, key=lambda stream: stream.offset_s)
    apart_s = first.offset_s - last.offset_s
    if apart_s <= MOST_OFFSET_S:
        return ""
    return (
        f"images of {last.topic} are stamped {apart_s:.1f} s before those of {first.topic} that "
        "arrive with them: let both drivers stamp by one clock"
    )
