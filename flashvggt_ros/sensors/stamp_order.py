"""Stamps of one topic: they grow, and where they have begun anew that shows."""

from __future__ import annotations

from collections.abc import Callable

from flashvggt_ros.sensors.rejected_input import RejectedInput, check_stamp

JUMP_BACK_NS = 1_000_000_000  # what lies farther back is not just late
JUMP_AHEAD_NS = 10_000_000_000  # tf2 forgets what is older than that against the newest
RUN = 5  # messages that must agree on it


def never(stamp_ns: int) -> bool:
    """Know of no clock that could confirm a stamp."""
    return False


class GrowingRun:
    """Stamps in a row that grow among themselves; ``last_ns`` is the newest there was."""

    def __init__(self) -> None:
        self.last_ns = 0
        self._length = 0

    @property
    def is_proof(self) -> bool:
        """Whether they are so many that time has jumped to them."""
        return self._length >= RUN

    def add(self, stamp_ns: int) -> None:
        """Go on with a stamp, or begin with it where it does not grow."""
        self._length = self._length + 1 if stamp_ns > self.last_ns else 1
        self.last_ns = stamp_ns

    def end(self) -> None:
        """Something else came in between."""
        self._length = 0


class StampOrder:
    """Refuses stamps that are not newer than all before, and finds when time has jumped.

    Several messages in a row that grow among themselves prove it: a bag or a simulation starts
    over, or a clock was set back, where they lie more than a second before the newest one; time has
    jumped on where they lie ten seconds after it, and the last of them is taken. A single one was
    held up on its way, or stamped wrongly. ``is_current(stamp_ns)`` says that a stamp is of now by
    a clock: no more proof is then needed that time has jumped on.
    """

    def __init__(self, is_current: Callable[[int], bool] = never) -> None:
        self._is_current = is_current
        self._has_paused = False
        self.clear()

    def clear(self) -> None:
        """Take any stamp next."""
        self._newest_ns = 0
        self._back, self._ahead = GrowingRun(), GrowingRun()

    def pause(self) -> None:
        """Nothing is listened to for a while: the next stamp may lie far ahead."""
        self._has_paused = True

    def accept(self, stamp_ns: int) -> None:
        """Take note of a message that is taken."""
        self._has_paused = False
        self._newest_ns = stamp_ns
        self._back.end()
        self._ahead.end()

    def check(self, stamp_ns: int, what: str) -> None:
        """Raise RejectedInput for a stamp out of order; ``what`` names such a message: "image"."""
        try:
            check_stamp(stamp_ns, self._newest_ns, what)
        except RejectedInput:
            if 0 < stamp_ns < self._newest_ns - JUMP_BACK_NS:
                self._back.add(stamp_ns)
                self._ahead.end()
            raise
        ahead_ns = stamp_ns - self._newest_ns
        is_expected = not self._newest_ns or self._has_paused or ahead_ns <= JUMP_AHEAD_NS
        if not (is_expected or self._is_current(stamp_ns)):
            self._check_ahead(stamp_ns, what)

    def _check_ahead(self, stamp_ns: int, what: str) -> None:
        self._ahead.add(stamp_ns)
        self._back.end()
        if not self._ahead.is_proof:
            raise RejectedInput(
                "stamp_ahead",
                f"the stamp {stamp_ns} ns lies {(stamp_ns - self._newest_ns) / 1e9:.3f} s after "
                f"that of the last {what}; check the driver's clock, unless {RUN} in a row do so",
            )

    @property
    def jump_back_ns(self) -> int:
        """How far time has jumped back, 0 where it has not; the messages were refused so far."""
        return self._newest_ns - self._back.last_ns if self._back.is_proof else 0

    @property
    def newest_refused_ns(self) -> int:
        """Stamp of the newest message that was refused as lying far back, 0 before the first."""
        return self._back.last_ns
