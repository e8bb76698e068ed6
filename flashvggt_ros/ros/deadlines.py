"""What the worker has to do at some time though no image and no job comes."""

from __future__ import annotations

import time

from flashvggt_ros.config import Config

NEVER = float("inf")


class Deadlines:
    """When a chunk has waited long enough, a submap has rested, and an output is due.

    On this machine's monotonic clock: a paused simulation clock starves nothing.
    """

    def __init__(self) -> None:
        self._fills_since = NEVER  # when the chunk that fills began
        self._rests_since = NEVER  # when the newest chunk was mapped; NEVER: nothing to finish
        self._output = NEVER

    def begin_chunk(self) -> None:
        """Count ``chunk.max_wait`` from now."""
        self._fills_since = time.monotonic()

    def begin_rest(self) -> float:
        """Count ``submap.max_rest`` from now, which is returned [s]."""
        self._rests_since = time.monotonic()
        return self._rests_since

    def end_rest(self) -> None:
        """There is nothing to finish until the next chunk."""
        self._rests_since = NEVER

    def set_output(self, wait: float | None) -> None:
        """Say in how many seconds the next output is due; None: no one wants any."""
        self._output = NEVER if wait is None else time.monotonic() + wait

    def has_waited(self, config: Config) -> bool:
        """Whether the chunk that fills is to be mapped as it is."""
        return time.monotonic() >= self._chunk(config)

    def has_rested(self, config: Config) -> bool:
        """Whether the submap that grows is to be finished, where no keyframe waits."""
        return time.monotonic() >= self._rest(config)

    def patience(self, config: Config, *, is_filling: bool) -> float | None:
        """Seconds until something is due; None: nothing is. ``is_filling``: keyframes wait."""
        due = min(self._output, self._chunk(config) if is_filling else self._rest(config))
        return None if due == NEVER else max(0.0, due - time.monotonic())

    def _chunk(self, config: Config) -> float:
        return self._fills_since + config.chunk.max_wait

    def _rest(self, config: Config) -> float:
        return self._rests_since + (config.submap.max_rest or NEVER)
