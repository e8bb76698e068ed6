"""Problems in the log: each once, for as long as it lasts."""

from __future__ import annotations

import logging
from collections.abc import Collection


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
