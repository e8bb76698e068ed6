"""Problems in the log, said now and then and not all the time."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

SAY_AGAIN_S = 30.0


class ProblemLog:
    """Warns of each problem as it comes up; one that comes again is said again."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: set[str] = set()

    def say(self, problems: Collection[str]) -> None:
        """Take what is the matter now."""
        for problem in dict.fromkeys(problems):
            if problem not in self._said:
                self._logger.warning("%s", problem)
        self._said = set(problems)


class DropLog:
    """Warns that waiting images were dropped, with how many, at most twice a minute."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._unsaid = 0
        self._quiet_until = 0.0

    def add(self, dropped: int) -> None:
        """Take note of drops; 0 of them are none."""
        self._unsaid += dropped
        if dropped and time.monotonic() >= self._quiet_until:
            self._logger.warning(
                "the model is behind the images: %d waiting images dropped, every second one",
                self._unsaid,
            )
            self._unsaid = 0
            self._quiet_until = time.monotonic() + SAY_AGAIN_S
