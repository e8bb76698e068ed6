"""Which transforms a buffer is given: those of one frame follow each other in time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flashvggt_ros.sensors.rejected_input import RejectedInput, read_header, read_text
from flashvggt_ros.sensors.stamp_order import (
    JUMP_AHEAD_NS,
    RUN,
    GrowingRun,
    RecordingClock,
    before_first_ns,
    is_now,
    no_clock,
)

logger = logging.getLogger(__name__)


class TransformOrder:
    """Holds back transforms that are stamped more than ten seconds off the newest of their frame.

    A buffer that has taken a single one of the future refuses all of now, as older than it keeps,
    and answers with it. Several in a row that grow prove that time has jumped, and so does one that
    is of now by a clock (``now_ns()``, 0 where it is not known), or goes on as the ``recording`` of
    a bag did, which was paused: it is then taken, and where time has jumped back, ``clear()`` lets
    the buffer forget what was before. The first of a frame that lies as far after the clock has to
    be proven, too. One thread only.
    """

    def __init__(
        self, clear: Callable[[], None], now_ns: Callable[[], int] = no_clock
    ) -> None:
        self._clear = clear
        self._now_ns = now_ns
        self.recording = RecordingClock()
        self._newest: dict[str, int] = {}
        self._runs: dict[str, GrowingRun] = {}
        self._said: set[str] = set()

    def forget(self) -> None:
        """Take any stamp next."""
        self._newest.clear()
        self._runs.clear()

    def accepts(self, message: Any) -> bool:
        """Whether a geometry_msgs/TransformStamped that is not static is to be kept."""
        try:
            stamp_ns, _ = read_header(message)
            child = read_text(message, "child_frame_id")
        except RejectedInput:
            return True  # the buffer says what is wrong with it
        newest_ns = self._newest.get(child) or before_first_ns(self._now_ns(), stamp_ns)
        if abs(stamp_ns - newest_ns) > JUMP_AHEAD_NS:
            if not self._is_proven(child, stamp_ns):
                self._say(child, (stamp_ns - newest_ns) * 1e-9)
                return False
            if stamp_ns < newest_ns:
                self._clear()
                self.forget()
            newest_ns = stamp_ns
        self._runs.pop(child, None)
        self._newest[child] = max(newest_ns, stamp_ns)
        self.recording.note(stamp_ns)
        return True

    def _is_proven(self, child: str, stamp_ns: int) -> bool:
        run = self._runs.setdefault(child, GrowingRun())
        run.add(stamp_ns)
        is_current = is_now(self._now_ns(), stamp_ns) or self.recording.confirms(stamp_ns)
        return run.is_proof or is_current

    def _say(self, child: str, ahead_s: float) -> None:
        if child not in self._said:
            self._said.add(child)
            logger.warning(
                "/tf: a transform of '%s' is stamped %.1f s %s those before it, or the node's "
                "clock, and dropped unless %d in a row are: check the clock of who publishes it "
                "(said once)",
                child, abs(ahead_s), "after" if ahead_s > 0 else "before", RUN,
            )
