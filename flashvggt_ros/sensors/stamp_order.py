"""Stamps of one topic: they grow, and where they have begun anew that shows."""

from __future__ import annotations

from collections.abc import Callable

from flashvggt_ros.sensors.rejected_input import RejectedInput, check_stamp

JUMP_BACK_NS = 1_000_000_000  # what lies farther back is not just late
JUMP_AHEAD_NS = 10_000_000_000  # tf2 forgets what is older than that against the newest
RUN = 5  # messages that must agree on it
EARLIEST_NS, LATEST_NS = -500_000_000, 10_000_000_000  # age on arrival of a stamp of this clock


def no_clock() -> int:
    """Know of no clock that could confirm a stamp, or deny it."""
    return 0


def is_now(now_ns: int, stamp_ns: int) -> bool:
    """Whether what arrives now can be stamped by a clock; ``now_ns``: its time, 0 for none."""
    return now_ns > 0 and EARLIEST_NS <= now_ns - stamp_ns <= LATEST_NS


def before_first_ns(now_ns: int, stamp_ns: int) -> int:
    """With what the first stamp is compared: a clock that it is ahead of, else nothing but it."""
    return min(now_ns or stamp_ns, stamp_ns)


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


class RecordingClock:
    """When a bag recorded its messages: stamps that jump with it are those of a pause, not wild.

    Stamps may be of another clock than the recorder's: what counts is how far they are ahead of it.
    Where nothing is heard, as live, it confirms nothing.
    """

    def __init__(self) -> None:
        self._log_ns = self._ahead_ns = 0

    def hear(self, log_ns: int) -> None:
        """The message that comes now was recorded then."""
        self._log_ns = log_ns

    def note(self, stamp_ns: int) -> None:
        """The message is taken, and has this stamp."""
        self._ahead_ns = stamp_ns - self._log_ns

    def confirms(self, stamp_ns: int) -> bool:
        """Whether the message's stamp lies as far ahead of the recorder as those taken."""
        return self._log_ns > 0 and (
            abs(stamp_ns - self._log_ns - self._ahead_ns) <= JUMP_AHEAD_NS
        )


class StampOrder:
    """Refuses stamps that are not newer than all before, and finds when time has jumped.

    Several messages in a row that grow among themselves prove it: a bag or a simulation starts
    over, or a clock was set back, where they lie more than a second before the newest one; time has
    jumped on where they lie ten seconds after it, and the last of them is taken. A single one was
    held up on its way, or stamped wrongly. ``now_ns()`` is the time of a clock, 0 where it is not
    known: no more proof is needed that time has jumped on where a stamp is of now, or goes on as
    the ``recording`` of a bag did, which was paused then; and where the first one lies ten seconds
    after the clock, it is proven as if it had jumped. How far ahead of it a topic is stamped stays
    proven over clear().
    """

    def __init__(self, now_ns: Callable[[], int] = no_clock) -> None:
        self._now_ns = now_ns
        self.recording = RecordingClock()
        self._has_paused = False
        self._ahead_ns = 0  # how far the newest stamp that was taken was ahead of the clock
        self.clear()

    def clear(self) -> None:
        """Take any stamp next, but one further ahead of the clock than was proven before."""
        self._newest_ns = 0
        self._back, self._ahead = GrowingRun(), GrowingRun()

    def pause(self) -> None:
        """Nothing is listened to for a while: the next stamp may lie far ahead."""
        self._has_paused = True

    def accept(self, stamp_ns: int) -> None:
        """Take note of a message that is taken."""
        self._has_paused = False
        self._newest_ns = stamp_ns
        self.recording.note(stamp_ns)
        if now_ns := self._now_ns():
            self._ahead_ns = max(0, stamp_ns - now_ns)
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
        now_ns, before_ns, before = self._now_ns(), self._newest_ns, f"that of the last {what}"
        if not self._newest_ns or self._has_paused:
            before_ns = before_first_ns(now_ns, stamp_ns - self._ahead_ns) + self._ahead_ns
            before = "the node's clock"
        is_ahead = stamp_ns - before_ns > JUMP_AHEAD_NS
        if is_ahead and not (is_now(now_ns, stamp_ns) or self.recording.confirms(stamp_ns)):
            self._check_ahead(stamp_ns, (stamp_ns - before_ns) * 1e-9, before)

    def _check_ahead(self, stamp_ns: int, ahead_s: float, before: str) -> None:
        self._ahead.add(stamp_ns)
        self._back.end()
        if not self._ahead.is_proof:
            raise RejectedInput(
                "stamp_ahead",
                f"the stamp {stamp_ns} ns lies {ahead_s:.3f} s after {before}; check the driver's "
                f"clock, unless {RUN} in a row do so",
            )

    @property
    def jump_back_ns(self) -> int:
        """How far time has jumped back, 0 where it has not; the messages were refused so far."""
        return self._newest_ns - self._back.last_ns if self._back.is_proof else 0

    @property
    def newest_refused_ns(self) -> int:
        """Stamp of the newest message that was refused as lying far back, 0 before the first."""
        return self._back.last_ns
