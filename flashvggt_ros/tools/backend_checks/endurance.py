"""Ten thousand keyframes in one room: memory and latency stay what they are."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import drift_of, settings
from flashvggt_ros.worlds import (
    OdometryErrors,
    TruthCache,
    TruthPredictor,
    TruthRobot,
    held_bytes,
    long_walk,
    mount,
)

WINDOW = 40  # chunks over which latency is averaged
PER_KEYFRAME = 1.0  # that a keyframe may add where all is known: its pose and stamps [kB]


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """By chunk: CPU seconds (C,) and cache [bytes] (C,); at half time and the end: map [bytes]."""

    seconds: NDArray[np.float64]
    cache: NDArray[np.float64]
    map_halfway: int
    map_end: int
    peak_halfway: float
    peak_end: float


def check_endurance(is_quick: bool) -> Iterator[Finding]:
    """Roam a room with odometry: time and memory of a keyframe stay as at the beginning."""
    record = _roam(120 if is_quick else 10_000)
    middle, window = (8, 6) if is_quick else (100, WINDOW)
    early, late = slice(middle - window // 2, middle + window // 2), slice(-window, None)
    cache = record.cache[late].max() / record.cache[early].max() - 1
    latency = record.seconds[late].mean() / record.seconds[early].mean() - 1
    what = f"cache memory, chunk {len(record.cache)} against {middle}"
    yield Finding(what, 100 * cache, 2.0, "%")
    if is_quick:  # half a second says nothing of time or memory
        return
    growth = (record.map_end - record.map_halfway) / 5_000 / 1e3
    yield Finding("latency of the last chunks against the hundredth", 100 * latency, 10.0, "%")
    yield Finding("map memory per keyframe of a known room", growth, PER_KEYFRAME, "kB")
    yield Finding("resident memory, end against half time",
                  100 * (record.peak_end / record.peak_halfway - 1), 5.0, "%")


def _roam(count: int) -> _Record:
    world = long_walk(count)
    config = settings({})
    predictor = TruthPredictor(world, depth_noise=0.01, drift=drift_of(config, is_random=True))
    robot = TruthRobot(world, {"camera": mount()}, odometry=OdometryErrors())
    slam: Slam[TruthCache] = Slam(config, predictor, robot)
    seconds, cache, middle = [], [], (0, 0.0)
    spent = 0.0
    for number, frame in enumerate(world.frames()):
        begun = time.process_time()
        update = slam.add_frame(frame)
        spent += time.process_time() - begun
        if update:
            seconds.append(spent)
            cache.append(slam.cache.nbytes)
            spent = 0.0
        if number == count // 2:
            middle = held_bytes(slam.map), _resident()
    return _Record(
        np.array(seconds), np.array(cache), middle[0], held_bytes(slam.map), middle[1], _resident()
    )


def _resident() -> float:
    """Most resident memory so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
