"""When something that follows the map may be sent again."""

from __future__ import annotations

import math
import time


class RateLimit:
    """Lets each version of the map through once, and no two within a period."""

    def __init__(self) -> None:
        self._version = -1
        self._sent_at = -math.inf

    def wait(self, version: int, period: float) -> float | None:
        """Return the seconds until ``version`` may be sent, 0 now; None: it has been sent."""
        if version == self._version:
            return None
        return max(0.0, self._sent_at + period - time.monotonic())

    def sent(self, version: int) -> None:
        """Take note that a version was sent now."""
        self._version = version
        self._sent_at = time.monotonic()

    def skip(self, version: int) -> None:
        """Take note that a version had nothing to send: the next one need not wait for it."""
        self._version = version

    def reset(self) -> None:
        """Let any version through again, the period after the last."""
        self._version = -1
