"""SIGINT and SIGTERM as a flag that a loop asks for."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag; further signals change nothing.

    Nothing is interrupted: an exception from a signal handler while torch is imported ends the
    whole process.
    """

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
