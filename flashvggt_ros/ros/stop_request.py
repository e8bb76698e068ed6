"""SIGINT and SIGTERM as a flag that a loop asks for."""

from __future__ import annotations

import signal
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag; further signals change nothing.

    Nothing is interrupted: an exception from a signal handler while torch is imported ends the
    whole process.
    """

    def __init__(self) -> None:
        self.is_set = False
        for number in _NUMBERS:
            signal.signal(number, self._receive)

    def close(self) -> None:
        """Ignore both signals for the rest of the process.

        Python puts the default action back for its own handlers, but not for signals that are
        ignored, while it ends: a second SIGINT at that moment would end the process with its code.
        """
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
