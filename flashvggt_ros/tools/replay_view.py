"""A replay in the live view: the map grows on the page while the bag is read."""

from __future__ import annotations

import resource
import signal
import time
from typing import TYPE_CHECKING

from flashvggt_ros.tools.map_layers import KeyframePictures, camera_path
from flashvggt_ros.tools.replay_report import describe_layout
from flashvggt_ros.tools.stop_signals import StopSignals
from flashvggt_ros.viewer.page import Page
from flashvggt_ros.viewer.status_lines import FrameRate, status_lines

if TYPE_CHECKING:
    from flashvggt_ros.tools.replay import Replay

PERIOD_S = 0.5  # least time between two pictures of the map
WORK_SHARE = 4.0  # drawing takes no more than one part in so many, and one
POLL_S = 0.1


class ReplayView:
    """Shows what a replay has mapped so far, at a bounded rate; see ReplayObserver."""

    def __init__(self, page: Page) -> None:
        self.is_paused = False
        self._page = page
        self._rate = FrameRate()
        self._shown_version = -1
        self._due, self._status_due = 0.0, 0.0
        page.add_pause(self)

    def pause(self, *, is_paused: bool) -> None:
        """Stop or go on reading the bag."""
        self.is_paused = is_paused

    def show(self, replay: Replay, state: str = "mapping") -> None:
        """Show the map if it has changed and is due."""
        now = time.monotonic()
        version = replay.slam.map.version
        if version != self._shown_version and now >= self._due:
            self._shown_version = version
            self._show_map(replay)
            cost = time.monotonic() - now
            self._due = now + cost + max(PERIOD_S, WORK_SHARE * cost)
        if now >= self._status_due:
            self._show_status(replay, state)
            self._status_due = now + PERIOD_S

    def finish(self, replay: Replay) -> None:
        """Show the whole map, now."""
        self._due = self._status_due = 0.0
        self.show(replay, f"finished: {replay.stopped_by}")

    def hold(self) -> None:
        """Keep the page until SIGINT, SIGTERM or SIGHUP."""
        print(f"live view: {self._page.address} stays until Ctrl-C", flush=True)
        hold()

    def _show_map(self, replay: Replay) -> None:
        current = replay.slam.map
        self._page.show_cloud(*current.cloud())
        path = camera_path(current.trajectory(), current.submaps, current.layout.graph)
        self._page.show_path(path, KeyframePictures(current.submaps))
        grid = current.grid()
        if grid is not None:
            self._page.show_grid(grid)

    def _show_status(self, replay: Replay, state: str) -> None:
        slam, layout = replay.slam, describe_layout(replay.slam.map)
        counts = {"read": replay.frames.read, "used": slam.map.frames, "gated": slam.gated,
                  "rejected": replay.frames.rejected.total()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        scale = layout["scale"]
        self._page.show_status(status_lines(
            state=state, frames=counts, rate=self._rate.update(replay.frames.read),
            chunk_latency_s=replay.chunk_s, submaps=len(slam.map.submaps),
            loops=layout["loops"], scale=scale["value"], scale_source=scale["source"],
            is_metric=scale["is_metric"], memory={"memory, at most": peak},
        ))


def hold() -> None:
    """Return at SIGINT, SIGTERM or SIGHUP; further ones change nothing until the process ends."""
    with StopSignals() as signals:
        while not signals.received:
            time.sleep(POLL_S)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
