"""What of the map has reached TF, how late, and what listeners may count on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rclpy.clock import Clock

from flashvggt_ros.config import Config

UNKNOWN = -1.0
PATIENCE = 4.0  # repetitions: one, and three that a busy machine may be late
LATENCIES = 1000  # newest poses that percentiles are taken over


@dataclass(frozen=True, slots=True)
class TfReport:
    """``newest_ns``: newest stamp sent on TF, 0: none yet.

    ``behind_s``: that much older it is than the newest image received, at most
    ``tolerance_s`` while all is well. ``latency_p50_s`` and ``latency_p95_s``: from the stamp of an
    image to its pose on TF; ``age_s``: since the newest stamp. These three are on the node's clock,
    and UNKNOWN where nothing is on TF or images are stamped by another clock.
    """

    newest_ns: int
    behind_s: float
    tolerance_s: float
    age_s: float
    latency_p50_s: float
    latency_p95_s: float


class TfWatch:
    """Notes what goes out on TF. One thread may note, another ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latencies_ns: deque[int] = deque(maxlen=LATENCIES)
        self._newest_ns = 0
        self._carries_odometry = False

    def placed(self, stamp_ns: int) -> None:
        """Take note that the pose of an image goes out for the first time, now."""
        with self._lock:
            self._latencies_ns.append(self._clock.now().nanoseconds - stamp_ns)

    def sent(self, stamps_ns: Iterable[int], carries_odometry: bool) -> None:
        """Take note of transforms that went out, with or without an odometry frame as child."""
        with self._lock:
            self._newest_ns = max([self._newest_ns, *stamps_ns])
            self._carries_odometry = carries_odometry

    def clear(self) -> None:
        """Begin anew: no pose is on TF, and any stamp may be the next."""
        with self._lock:
            self._latencies_ns.clear()
            self._newest_ns = 0

    def report(
        self, newest_image_ns: int, is_on_clock: bool, chunk_latency_s: float, config: Config
    ) -> TfReport:
        """Return what holds now; ``chunk_latency_s``: the longest that a chunk took lately."""
        with self._lock:
            newest_ns, latencies_ns = self._newest_ns, list(self._latencies_ns)
            carries_odometry = self._carries_odometry
        tolerance_s = tf_tolerance_s(config, carries_odometry, chunk_latency_s)
        behind_s = max(0.0, (newest_image_ns - newest_ns) * 1e-9) if newest_ns else 0.0
        age_s = p50_s = p95_s = UNKNOWN
        if newest_ns and is_on_clock:
            age_s = (self._clock.now().nanoseconds - newest_ns) * 1e-9
            if latencies_ns:
                p50_s, p95_s = (np.percentile(latencies_ns, [50, 95]) * 1e-9).tolist()
        return TfReport(newest_ns, behind_s, tolerance_s, age_s, p50_s, p95_s)


def tf_tolerance_s(config: Config, carries_odometry: bool, chunk_latency_s: float) -> float:
    """How long to wait for TF at the stamp of an image just received [s].

    map->odom is dated to the newest image each time that it is repeated. A pose comes when its
    chunk is full, or has waited for chunk.max_wait, and mapped.
    """
    repeated_s = PATIENCE / config.tf.rate
    if carries_odometry:
        return repeated_s
    return config.chunk.max_wait + chunk_latency_s + repeated_s
