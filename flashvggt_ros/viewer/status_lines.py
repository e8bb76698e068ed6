"""The lines of the status panel, worded the same whoever feeds the page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

WINDOW_S = 10.0


class FrameRate:
    """Frames per second over the last ten seconds."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def update(self, count: int) -> float:
        """Take how many frames are done by now; return the rate, 0 before it is known [1/s]."""
        now = time.monotonic()
        if self._counts and count < self._counts[-1][1]:  # begun anew
            self._counts.clear()
        self._counts.append((now, count))
        while now - self._counts[0][0] > WINDOW_S and len(self._counts) > 2:
            self._counts.popleft()
        since, before = self._counts[0]
        return (count - before) / (now - since) if now > since else 0.0


def status_lines(
    *, state: str, frames: Mapping[str, int], rate: float, chunk_latency_s: float, submaps: int,
    loops: int, scale: float, scale_source: str, is_metric: bool, memory: Mapping[str, int],
) -> dict[str, str]:
    """Return what the panel shows; ``rate`` [frames/s], ``scale`` [m], ``memory`` [bytes]."""
    measured = "" if is_metric else ", not metric"
    return {
        "state": state.replace("|", "/"),
        **{f"frames {name}": f"{count:,}" for name, count in frames.items()},
        "frames/s": f"{rate:.1f}",
        "chunk latency": f"{chunk_latency_s:.2f} s",
        "submaps": str(submaps),
        "loops": str(loops),
        "scale": f"{scale:.4g} ({scale_source}{measured})",
        **{name: f"{size / 1e6:,.0f} MB" for name, size in memory.items()},
    }
