"""When something that follows the map may be sent again."""

from __future__ import annotations

import math
import time

BUSY_SHARE = 0.1  # of the time, at most, that sending takes while there is other work


class RateLimit:
    """Lets each version of the map through once, and no two within a period.

    The worker maps and draws in turns: while it has images to map, what takes long to draw comes
    more rarely.
    """

    def __init__(self) -> None:
        self._version = -1
        self._sent_at = -math.inf
        self._took = 0.0

    def wait(self, version: int, period: float, *, is_busy: bool = False) -> float | None:
        """Return the seconds until ``version`` may be sent, 0 now; None: it has been sent."""
        if version == self._version:
            return None
        if is_busy:
            period = max(period, self._took / BUSY_SHARE)
        return max(0.0, self._sent_at + period - time.monotonic())

    def sent(self, version: int, began: float) -> None:
        """Take note that a version was sent now; ``began``: work on it, on the monotonic clock."""
        self._version = version
        self._sent_at = time.monotonic()
        self._took = self._sent_at - began

    def skip(self, version: int) -> None:
        """Take note that a version had nothing to send: the next one need not wait for it."""
        self._version = version

    def reset(self) -> None:
        """Let any version through again, the period after the last."""
        self._version = -1
