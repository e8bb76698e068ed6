"""Stamps of one topic: they grow, and where they have begun anew that shows."""

from __future__ import annotations

from flashvggt_ros.sensors.rejected_input import RejectedInput, check_stamp

JUMP_BACK_NS = 1_000_000_000  # what lies farther back is not just late
RUN = 5  # messages that must agree on it


class StampOrder:
    """Refuses stamps that are not newer than all before, and finds when time has jumped back.

    It has when several messages in a row lie more than a second before the newest one and grow
    among themselves: a bag or a simulation starts over, or a clock was set back. One that was held
    up on its way is none.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Take any stamp next."""
        self._newest_ns = 0
        self._back_ns = 0
        self._run = 0

    def accept(self, stamp_ns: int) -> None:
        """Take note of a message that is taken."""
        self._newest_ns = stamp_ns
        self._run = 0

    def check(self, stamp_ns: int, what: str) -> None:
        """Raise RejectedInput for a stamp out of order; ``what`` names such a message: "image"."""
        try:
            check_stamp(stamp_ns, self._newest_ns, what)
        except RejectedInput:
            if 0 < stamp_ns < self._newest_ns - JUMP_BACK_NS:
                self._run = self._run + 1 if stamp_ns > self._back_ns else 1
                self._back_ns = stamp_ns
            raise

    @property
    def jump_back_ns(self) -> int:
        """How far time has jumped back, 0 where it has not; the messages were refused so far."""
        return self._newest_ns - self._back_ns if self._run >= RUN else 0

    @property
    def newest_refused_ns(self) -> int:
        """Stamp of the newest message that was refused as lying far back, 0 before the first."""
        return self._back_ns
