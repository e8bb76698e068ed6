"""Ten thousand keyframes in one room: memory and latency stay what they are."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import ate, drift_of, settings
from flashvggt_ros.worlds import (
    OdometryErrors,
    StreamedWorld,
    TruthCache,
    TruthPredictor,
    TruthRobot,
    held_bytes,
    long_walk,
    mount,
)

COUNT, QUICK = 10_000, 168  # keyframes
MIDDLE, QUICK_MIDDLE = 100, 8  # chunk that the last one is compared with
SUBMAPS = 9  # whose median is taken
PER_KEYFRAME = 1.0  # that a keyframe may add where all is known: its pose and stamps [kB]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What it took: CPU and wall clock [s]; cache [bytes]; number of its submap, submaps kept."""

    seconds: float
    wall: float
    cache: int
    submap: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Memory:
    """Of the map, and of the process [bytes]; seconds it takes to draw cloud, grid and path."""

    map: int
    resident: int
    drawing: float


def check_endurance(is_quick: bool) -> Iterator[Finding]:
    """Roam a room with odometry: time and memory of a keyframe stay as at the beginning.

    A chunk that ends a submap takes several times as long as another one, and any may be disturbed:
    so the mean is taken over the chunks of each submap, and of these the median over nine submaps,
    those around the hundredth chunk and the last ones. Time is that of the CPU, of all threads.
    """
    count = QUICK if is_quick else COUNT
    world = long_walk(count)
    slam, chunks, (half, end) = _roam(world)
    middle = QUICK_MIDDLE if is_quick else MIDDLE
    early, late = _around(chunks, middle), chunks_of(chunks)[-SUBMAPS:]
    what = f"cache memory, chunk {len(chunks)} against {middle}"
    yield Finding(what, 100 * _growth(early, late, "cache"), 2.0, "%")
    if is_quick:  # seconds say nothing of time or memory
        return
    kept, last = max(chunk.kept for part in early for chunk in part), late[-1][-1]
    yield Finding(f"submaps kept, {last.kept} of {last.submap + 1}, more than then",
                  last.kept - kept, 2, "")
    yield Finding(f"CPU time of a chunk, {_told(late, 'seconds')} against {_told(early, 'seconds')}"
                  f" (wall clock {_told(late, 'wall')} against {_told(early, 'wall')})",
                  100 * _growth(early, late, "seconds"), 10.0, "%")
    growth = (end.map - half.map) / (count / 2) / 1e3
    yield Finding("map memory per keyframe of a known room", growth, PER_KEYFRAME, "kB")
    yield Finding(f"map memory, {end.map / 1e6:.1f} MB at the end, against half time",
                  100 * (end.map / half.map - 1), 15.0, "%")
    yield Finding(f"resident memory, {end.resident / 1e6:.0f} MB at the end, against half time",
                  100 * (end.resident / half.resident - 1), 5.0, "%")
    yield Finding(f"cloud, grid and path drawn in {1e3 * end.drawing:.0f} ms, against half time",
                  100 * (end.drawing / half.drawing - 1), 25.0, "%")
    error = ate(slam.map.trajectory(), world, with_scale=False)
    yield Finding("SE(3) ATE of the whole walk", 100 * error, 5.0, "cm")


def _roam(world: StreamedWorld) -> tuple[Slam[TruthCache], list[_Chunk], list[_Memory]]:
    """Map a world; return what each chunk took, and what memory holds at half time and the end."""
    config = settings({})
    predictor = TruthPredictor(world, depth_noise=0.01, drift=drift_of(config, is_random=True))
    robot = TruthRobot(world, {"camera": mount()}, odometry=OdometryErrors())
    slam: Slam[TruthCache] = Slam(config, predictor, robot)
    chunks, memory, spent, wall = [], [], 0.0, 0.0
    for number, frame in enumerate(world.frames(), start=1):
        begun = time.process_time(), time.perf_counter()
        update = slam.add_frame(frame)
        spent, wall = spent + time.process_time() - begun[0], wall + time.perf_counter() - begun[1]
        if update:
            kept = len(slam.map.submaps)
            chunks.append(_Chunk(spent, wall, slam.cache.nbytes, update.submap, kept))
            spent = wall = 0.0
        if number in (len(world.stamps) // 2, len(world.stamps)):
            memory.append(_memory(slam))
    return slam, chunks, memory


def _memory(slam: Slam[TruthCache]) -> _Memory:
    slam.map.cloud(), slam.map.grid()  # what is drawn for the first time takes longer
    slam.map.version += 1
    begun = time.process_time()
    slam.map.cloud(), slam.map.grid(), slam.map.trajectory()
    drawing = time.process_time() - begun
    gc.collect()
    return _Memory(held_bytes(slam.map), _resident(), drawing)


def chunks_of(chunks: list[_Chunk]) -> list[list[_Chunk]]:
    """Return the chunks of each submap but the last one, which may grow on."""
    return [list(part) for _, part in groupby(chunks, key=lambda chunk: chunk.submap)][:-1]


def _around(chunks: list[_Chunk], number: int) -> list[list[_Chunk]]:
    """Return those of the submaps about a chunk."""
    parts = chunks_of(chunks)
    middle = [part[0].submap for part in parts].index(chunks[number].submap)
    return parts[max(0, middle - SUBMAPS // 2) : middle + SUBMAPS // 2 + 1]


def _growth(early: list[list[_Chunk]], late: list[list[_Chunk]], name: str) -> float:
    return float(_typical(late, name) / _typical(early, name) - 1)


def _typical(parts: list[list[_Chunk]], name: str) -> float:
    means: NDArray[np.float64] = np.array(
        [np.mean([getattr(chunk, name) for chunk in part]) for part in parts]
    )
    return float(np.median(means))


def _told(parts: list[list[_Chunk]], name: str) -> str:
    return f"{1e3 * _typical(parts, name):.0f} ms"


def _resident() -> int:
    """Memory of this process that is in RAM now [bytes]; Linux only."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
