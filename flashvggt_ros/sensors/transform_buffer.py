"""Transforms by frames and stamps, as tf2 keeps and joins them; no ROS needed.

Follows tf2's BufferCore: a lookup joins source and target at the first frame both descend from;
between two stamps, translation is linear and rotation spherical linear; nothing is extrapolated;
time 0 means the newest time that all moving transforms on the way have.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    read_field,
    read_header,
    read_place,
    read_quaternion,
    read_text,
)

logger = logging.getLogger(__name__)

CACHE_NS = 10_000_000_000


class TransformException(LookupError):  # noqa: N818 - the names of tf2
    """Base of everything that a lookup raises."""


class LookupException(TransformException):
    """A frame does not exist."""


class ConnectivityException(TransformException):
    """Two frames are in different trees."""


class ExtrapolationException(TransformException):
    """The time asked for lies outside what was received."""


class InvalidArgumentException(TransformException):
    """A frame name is empty or begins with a slash."""


@dataclass(slots=True)
class _Track:
    """What is known of one frame: stamps [ns], ascending, with parent and T_parent_child."""

    is_static: bool
    stamps: list[int] = field(default_factory=list)
    values: list[tuple[str, NDArray[np.float64]]] = field(default_factory=list)

    def insert(
        self, stamp_ns: int, parent: str, T_parent_child: NDArray[np.float64], cache_ns: int
    ) -> bool:
        """Keep a transform and forget old ones; False when it is itself too old."""
        if self.is_static:
            self.stamps, self.values = [0], [(parent, T_parent_child)]
            return True
        if self.stamps:
            oldest_ns = self.stamps[-1] - cache_ns
            expired = bisect_left(self.stamps, oldest_ns)
            del self.stamps[:expired], self.values[:expired]
            if stamp_ns < oldest_ns:
                return False
        at = bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self.values[at] = (parent, T_parent_child)
            return True
        self.stamps.insert(at, stamp_ns)
        self.values.insert(at, (parent, T_parent_child))
        return True

    def at(self, stamp_ns: int) -> tuple[str, NDArray[np.float64]]:
        """Return parent and T_parent_child at a stamp, 0 for the newest."""
        if self.is_static or (stamp_ns == 0 and self.stamps):
            return self.values[-1]
        self._check_range(stamp_ns)
        after = bisect_right(self.stamps, stamp_ns)
        parent, T_before = self.values[after - 1]
        before_ns = self.stamps[after - 1]
        if before_ns == stamp_ns or self.values[after][0] != parent:
            return parent, T_before
        fraction = (stamp_ns - before_ns) / (self.stamps[after] - before_ns)
        return parent, se3.interpolate(T_before, self.values[after][1], fraction)

    def _check_range(self, stamp_ns: int) -> None:
        if not self.stamps:
            raise ExtrapolationException("Lookup would require extrapolation: there are no data")
        first, last = self.stamps[0], self.stamps[-1]
        if first <= stamp_ns <= last:
            return
        if first == last:
            problem = f"at time {_seconds(stamp_ns)}, but only time {_seconds(first)} is"
        elif stamp_ns > last:
            problem = (
                f"into the future. Requested time {_seconds(stamp_ns)} but the latest data is at "
                f"time {_seconds(last)}"
            )
        else:
            problem = (
                f"into the past. Requested time {_seconds(stamp_ns)} but the earliest data is at "
                f"time {_seconds(first)}"
            )
        raise ExtrapolationException(f"Lookup would require extrapolation {problem} in the buffer")


class TransformBuffer:
    """Keeps ``cache_ns`` of transforms and answers lookups. Thread-safe.

    A second transform with the same stamp takes the place of the first. ``refused`` counts what is
    no transform by its cause.
    """

    def __init__(self, cache_ns: int = CACHE_NS) -> None:
        self.refused: Counter[str] = Counter()
        self._cache_ns = cache_ns
        self._tracks: dict[str, _Track] = {}
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def add(
        self, message: Any, *, is_static: bool, authority: str = "default_authority"
    ) -> None:
        """Keep a geometry_msgs/TransformStamped for its stamp, or for all times if static.

        Bad ones are dropped, and the first of each kind is logged.
        """
        try:
            stamp_ns, parent, child, T_parent_child = _read(message)
        except RejectedInput as rejection:
            self.refused[rejection.cause] += 1
            if self.refused[rejection.cause] == 1:
                logger.error(
                    "ignoring a transform from %s: %s (further ones are counted)",
                    authority, rejection,
                )  # fmt: skip
            return
        with self._lock:
            track = self._tracks.get(child)
            if track is None or track.is_static != is_static:
                track = self._tracks[child] = _Track(is_static)
            is_kept = track.insert(stamp_ns, parent, T_parent_child, self._cache_ns)
            self._names |= {parent, child}
        if not is_kept:
            logger.warning(
                "ignoring the transform '%s' -> '%s' from %s: its time %s is older than the buffer",
                parent, child, authority, _seconds(stamp_ns),
            )  # fmt: skip

    def clear(self) -> None:
        """Forget all transforms but the static ones."""
        with self._lock:
            for track in self._tracks.values():
                if not track.is_static:
                    track.stamps.clear()
                    track.values.clear()

    def parents(self) -> dict[str, str]:
        """Return the newest parent of each child frame."""
        with self._lock:
            return {
                name: track.values[-1][0] for name, track in self._tracks.items() if track.values
            }

    def lookup(
        self, target: str, source: str, stamp_ns: int
    ) -> tuple[NDArray[np.float64], int]:
        """Return T_target_source (4, 4) and its stamp [ns]; raises a TransformException."""
        with self._lock:
            return self._lookup(target, source, stamp_ns)

    def _lookup(
        self, target: str, source: str, stamp_ns: int
    ) -> tuple[NDArray[np.float64], int]:
        if target == source:
            track = self._tracks.get(target)
            latest_ns = track.stamps[-1] if track is not None and track.stamps else 0
            return np.eye(4), stamp_ns or latest_ns
        self._check_name(target, "target_frame")
        self._check_name(source, "source_frame")
        if stamp_ns == 0:
            stamp_ns = self._latest_common(target, source)
        from_source, source_error = self._ancestors(source, stamp_ns)
        from_target, target_error = self._ancestors(target, stamp_ns)
        common = next((name for name in from_source if name in from_target), None)
        if common is None:
            self._raise_unconnected(target, source, source_error or target_error)
        return se3.inverse(from_target[common]) @ from_source[common], stamp_ns

    def _ancestors(
        self, name: str, stamp_ns: int
    ) -> tuple[dict[str, NDArray[np.float64]], ExtrapolationException | None]:
        """Return T_ancestor_frame by ancestor, nearest first, and why the root was not reached."""
        ancestors = {name: np.eye(4)}
        T_ancestor_frame = np.eye(4)
        while name in self._tracks:
            try:
                parent, T_parent_child = self._tracks[name].at(stamp_ns)
            except ExtrapolationException as error:
                return ancestors, error
            if parent in ancestors:
                raise LookupException(f"The tf tree is invalid: it has a loop at '{parent}'")
            T_ancestor_frame = T_parent_child @ T_ancestor_frame
            ancestors[parent] = T_ancestor_frame
            name = parent
        return ancestors, None

    def _latest_common(self, target: str, source: str) -> int:
        """Return the newest stamp that all moving transforms on the way share, 0 if none moves."""
        from_source, _ = self._ancestors(source, 0)
        from_target, _ = self._ancestors(target, 0)
        common = next((name for name in from_source if name in from_target), None)
        if common is None:
            return 0
        on_the_way: list[str] = []
        for ancestors in (from_source, from_target):
            names = list(ancestors)
            on_the_way += names[: names.index(common)]
        tracks = [self._tracks[name] for name in on_the_way]
        return min((track.stamps[-1] for track in tracks if not track.is_static), default=0)

    def _raise_unconnected(
        self, target: str, source: str, error: ExtrapolationException | None
    ) -> NoReturn:
        if error is not None:
            way = f"when looking up transform from frame [{source}] to frame [{target}]"
            raise ExtrapolationException(f"{error}, {way}")
        raise ConnectivityException(
            f"Could not find a connection between '{target}' and '{source}' because they are not "
            "part of the same tree. Tf has two or more unconnected trees."
        )

    def _check_name(self, name: str, argument: str) -> None:
        place = f"passed to lookupTransform argument {argument}"
        if not name:
            raise InvalidArgumentException(f'"{name}" {place}: frame_ids cannot be empty')
        if name.startswith("/"):
            raise InvalidArgumentException(f'"{name}" {place}: frame_ids cannot start with a "/"')
        if name not in self._names:
            raise LookupException(f'"{name}" {place} does not exist.')


def _read(message: Any) -> tuple[int, str, str, NDArray[np.float64]]:
    """Return stamp, parent, child and T_parent_child of a TransformStamped, or RejectedInput."""
    stamp_ns, parent = read_header(message)
    child = read_text(message, "child_frame_id").lstrip("/")
    way = f"'{parent[:60]}' -> '{child[:60]}'"
    if not (parent and child and parent != child):
        raise RejectedInput("frame_missing", f"{way}: parent and child must be two frames")
    try:
        transform = read_field(message, "transform")
        rotation = read_quaternion(read_field(transform, "rotation"))
        translation = read_place(read_field(transform, "translation"))
    except RejectedInput as rejection:
        raise RejectedInput(rejection.cause, f"{way}: {rejection}") from None
    return stamp_ns, parent, child, se3.pose(se3.matrix_from_quaternion(rotation), translation)


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns // 1_000_000_000}.{stamp_ns % 1_000_000_000:09d}"
