"""Ends a long run early, and in order: it writes what it has, or leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flashvggt_ros.closed_pipes import lead_nowhere

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
_OUTPUTS = (1, 2)


class StopSignals:
    """Notes the first SIGINT, SIGTERM or SIGHUP instead of dying of it; a second acts as usual.

    SIGHUP, that the terminal is gone, stays ignored where it is so at the start, as by nohup. Shell
    and kernel may both send it: further ones change nothing. What would still go to the terminal
    goes nowhere then.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []

    def __enter__(self) -> StopSignals:
        self._terminals = [output for output in _OUTPUTS if os.isatty(output)]
        for number in _heeded(signal.SIGINT, *ENDINGS):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = True
        if number != signal.SIGHUP:
            signal.signal(number, self._before[number])
            return
        self._before[number] = signal.SIG_IGN
        signal.signal(number, signal.SIG_IGN)
        for output in self._terminals:  # to write there would raise
            lead_nowhere(output)


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """Stop as with Ctrl-C when asked to end, or when the terminal is gone; once."""
    heeded = _heeded(*ENDINGS)
    before = {number: signal.getsignal(number) for number in heeded}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)  # what is left behind is being removed
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _heeded(*numbers: int) -> list[int]:
    """All of them, but for SIGHUP where it is ignored from the start, as by nohup."""
    return [number for number in numbers
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
