"""Lets a long run end early and still write what it has."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class StopSignals:
    """Notes the first SIGINT or SIGTERM instead of dying of it; a second one acts as usual."""

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = True
        signal.signal(number, self._before[number])
