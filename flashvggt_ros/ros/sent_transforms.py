"""What this node said on TF, so that it notices others who speak of the same frames."""

from __future__ import annotations

import threading
import time
from collections import deque

from geometry_msgs.msg import TransformStamped

REMEMBERED = 512  # more than are on their way at any time
TOLD_S = 5.0  # how long a transform counts as somebody's

Key = tuple[str, int, int, float, float, float, float]


class SentTransforms:
    """Compares what is heard on TF with what was sent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: deque[Key] = deque(maxlen=REMEMBERED)
        self._sent_at: dict[str, float] = {}
        self._others: dict[str, tuple[float, str]] = {}

    def add(self, transforms: list[TransformStamped]) -> None:
        """Take note of what is about to be sent."""
        with self._lock:
            for transform in transforms:
                self._keys.append(_key(transform))
                self._sent_at[transform.child_frame_id] = time.monotonic()

    def hear(self, transform: TransformStamped) -> bool:
        """Take note of what came on TF; return whether it is of this node."""
        child = transform.child_frame_id
        with self._lock:
            if child not in self._sent_at:
                return False
            if _key(transform) in self._keys:
                return True
            if time.monotonic() - self._sent_at[child] < TOLD_S:
                self._others[child] = time.monotonic(), transform.header.frame_id
            return False

    @property
    def problems(self) -> tuple[str, ...]:
        """Which frames another node places too, in words."""
        with self._lock:
            return tuple(
                f"another node publishes {parent}->{child} on TF, as this one places {child}: stop "
                "one of them, or set tf.publish to false"
                for child, (heard_at, parent) in self._others.items()
                if time.monotonic() - heard_at < TOLD_S
            )


def _key(transform: TransformStamped) -> Key:
    stamp, shift = transform.header.stamp, transform.transform.translation
    w = transform.transform.rotation.w
    return (transform.child_frame_id, stamp.sec, stamp.nanosec, shift.x, shift.y, shift.z, w)
