"""SIGINT, SIGTERM and SIGHUP as a flag that a loop asks for."""

from __future__ import annotations

import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Turns SIGINT, SIGTERM and SIGHUP into a flag; further signals change nothing.

    SIGHUP, that the terminal is gone, stays ignored where it is so at the start, as by nohup.
    Nothing is interrupted: an exception from a signal handler while torch is imported ends the
    whole process.
    """

    def __init__(self) -> None:
        self.is_set = False
        for number in _NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def close(self) -> None:
        """Ignore these signals for the rest of the process.

        Python puts the default action back for its own handlers, but not for signals that are
        ignored, while it ends: a second SIGINT at that moment would end the process with its code.
        """
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
