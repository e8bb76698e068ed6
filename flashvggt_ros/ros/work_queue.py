"""What waits for the worker: images, bounded, and jobs, in order of arrival."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from flashvggt_ros.sensors.intake import CheckedImage
from flashvggt_ros.slam import Slam

MOST_BYTES = 128_000_000  # of images that wait: five raw ones of 4K


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """An image and when it came, on the monotonic clock [s]."""

    image: CheckedImage
    time: float


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something to do between two images, by the thread that owns the map."""

    run: Callable[[Slam], Any]
    result: Future

    def perform(self, slam: Slam) -> None:
        """Do it, and say in ``result`` what came of it; raises what is not the caller's to know."""
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.run(slam))
        except (OSError, ValueError) as error:
            self.result.set_exception(error)
        finally:
            if not self.result.done():
                self.result.set_exception(RuntimeError("failed; the log says why"))


class WorkQueue:
    """Images and jobs in order of arrival; putting never waits.

    At most ``max_frames`` images wait, and no more than ``max_bytes`` of them unless it is one.
    When another does not fit, every second waiting image of each camera is dropped: thinning keeps
    the coverage of time even, where dropping the oldest or the newest would tear a hole. Jobs are
    never dropped.
    """

    def __init__(self, max_frames: int, max_bytes: int = MOST_BYTES) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._entries: list[Arrival | Job] = []
        self._frames = self._bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()

    @property
    def is_closed(self) -> bool:
        """Whether close() was called: nothing is taken out any more."""
        return self._is_closed

    @property
    def has_images(self) -> bool:
        """Whether any image waits."""
        return self._frames > 0

    def put_image(self, image: CheckedImage) -> int:
        """Add an image; return how many waiting images were dropped to make room."""
        dropped = 0
        with self._changed:
            while self._frames and not self._has_room(image.nbytes):
                dropped += self._thin()
            self._keep([*self._entries, Arrival(image, time.monotonic())])
            self._changed.notify()
        return dropped

    def put_job(self, run: Callable[[Slam], Any]) -> Future:
        """Add a job; its result comes in the future, cancelled if the worker stops before."""
        result: Future = Future()
        with self._changed:
            if self._is_closed:
                result.cancel()
            else:
                self._entries.append(Job(run, result))
                self._changed.notify()
        return result

    def discard_images(self) -> int:
        """Drop all waiting images; return how many."""
        with self._changed:
            dropped = self._frames
            self._keep([entry for entry in self._entries if isinstance(entry, Job)])
        return dropped

    def get(self, timeout: float | None) -> Arrival | Job | None:
        """Take out the oldest entry; None after ``timeout`` seconds and when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._is_closed, timeout)
            if self._is_closed or not self._entries:
                return None
            entry = self._entries.pop(0)
            if isinstance(entry, Arrival):
                self._frames -= 1
                self._bytes -= entry.image.nbytes
            return entry

    def close(self) -> None:
        """Let get() return None at once from now on, and cancel the jobs that wait."""
        with self._changed:
            self._is_closed = True
            jobs = [entry for entry in self._entries if isinstance(entry, Job)]
            self._keep([entry for entry in self._entries if isinstance(entry, Arrival)])
            self._changed.notify_all()
        for job in jobs:
            job.result.cancel()

    def _has_room(self, nbytes: int) -> bool:
        return self._frames < self._max_frames and self._bytes + nbytes <= self._max_bytes

    def _thin(self) -> int:
        seen: Counter[str] = Counter()
        kept: list[Arrival | Job] = []
        for entry in self._entries:
            if isinstance(entry, Arrival):
                seen[entry.image.camera] += 1
                if seen[entry.image.camera] % 2 == 0:
                    continue
            kept.append(entry)
        if len(kept) == len(self._entries):  # one image of each camera: the oldest has to go
            kept.remove(next(entry for entry in kept if isinstance(entry, Arrival)))
        dropped = len(self._entries) - len(kept)
        self._keep(kept)
        return dropped

    def _keep(self, entries: list[Arrival | Job]) -> None:
        self._entries = entries
        sizes = [entry.image.nbytes for entry in entries if isinstance(entry, Arrival)]
        self._frames, self._bytes = len(sizes), sum(sizes)
