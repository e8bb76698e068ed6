"""Running a case, and what was measured."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.tools.benchmarking.case import Case
from flashvggt_ros.tools.benchmarking.host_copies import HostCopies, Uploads, no_span
from flashvggt_ros.tools.benchmarking.stage_clock import Mark, StageClock, mark, synchronize

EARLY = slice(100, 200)  # chunks, counted from 0, that the last 100 are compared with


@dataclass(frozen=True, slots=True)
class Run:
    """One run over a sequence.

    ``chunk_s``: from the end of the chunk before, results on the host, to its own. ``cpu_s``: time
    of all threads of this process. Cache sizes at the end [bytes].
    """

    total_s: float
    cpu_s: float
    chunk_s: tuple[float, ...]
    cache_bytes: int
    cache_allocated_bytes: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """All runs of a case, after its warm-up.

    ``stages_s`` is from a run of its own, empty if there was none. ``peak_bytes``: the most memory
    that tensors took on a GPU, weights included; on a CPU that of the whole process so far.
    """

    label: str
    frames: int
    warm_up_s: float
    runs: tuple[Run, ...]
    stages_s: dict[str, float]
    stages_total_s: float
    peak_bytes: int

    @property
    def total_s(self) -> float:
        """Median of the runs' times."""
        return float(np.median([run.total_s for run in self.runs]))

    @property
    def cpu_s(self) -> float:
        """Median of the runs' CPU times."""
        return float(np.median([run.cpu_s for run in self.runs]))

    @property
    def chunk_s(self) -> np.ndarray:
        """Times (runs, chunks)."""
        return np.array([run.chunk_s for run in self.runs])

    @property
    def late_over_early(self) -> float | None:
        """Mean time of the last 100 chunks over that of chunks 100 to 200; None for fewer."""
        chunks = self.chunk_s
        if chunks.shape[1] < EARLY.stop + 100:
            return None
        return float(chunks[:, -100:].mean() / chunks[:, EARLY].mean())


def measure(
    case: Case,
    model: FlashVGGT,
    images: Tensor,
    *,
    repeats: int,
    has_stages: bool,
    is_synchronous: bool,
) -> Measurement:
    """Warm up with two chunks, then run the case ``repeats`` times, and once more for the stages.

    ``is_synchronous``: the host waits for each chunk's results before it begins the next, as a
    robot that acts on them does.
    """
    begin = time.perf_counter()
    run_once(case, model, images, frames=min(3 * case.chunk, case.frames), progress="warm-up")
    warm_up_s = time.perf_counter() - begin
    if case.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(case.device)
    runs = tuple(
        run_once(case, model, images, progress=case.label, is_synchronous=is_synchronous)
        for _ in range(repeats)
    )
    peak = peak_bytes(case.device)
    stages_s, stages_total_s = stage_times(case, model, images) if has_stages else ({}, 0.0)
    return Measurement(
        case.label, case.frames, warm_up_s, runs, stages_s, stages_total_s, peak
    )


def stage_times(case: Case, model: FlashVGGT, images: Tensor) -> tuple[dict[str, float], float]:
    """Time of each stage in a run of its own [s], and that run's total, both on the device."""
    clock = StageClock(case.device)
    with clock.watching(model):
        run = run_once(case, model, images, progress="stages", clock=clock)
    return clock.seconds(), run.total_s


def run_once(
    case: Case,
    model: FlashVGGT,
    images: Tensor,
    *,
    progress: str,
    frames: int = 0,
    is_synchronous: bool = False,
    clock: StageClock | None = None,
) -> Run:
    """Run the model over the first ``frames`` of a case (0: all), poses and depth to the host."""
    span = clock.span if clock else no_span
    device, count = case.device, frames or case.frames
    uploads, copies = Uploads(images, device), HostCopies(device)
    cache = case.new_cache(model)
    with ExitStack() as stack:
        stack.enter_context(case.computing())
        bar = stack.enter_context(
            tqdm(total=count, desc=progress, unit="frame", disable=None, leave=False)
        )
        synchronize(device)
        begun, cpu = time.perf_counter(), time.process_time()
        marks = [mark(device)]
        for first in range(0, count, case.chunk):
            size = min(case.chunk, count - first)
            with span("transfers"):
                chunk = uploads.chunk(first, size)
            prediction = model.forward_chunk(chunk, cache)
            with span("transfers"):
                marks.append(copies.take({
                    "pose_enc": prediction.pose_enc,
                    "depth": prediction.depth,
                    "depth_conf": prediction.depth_conf,
                }))
            if is_synchronous:
                synchronize(device)
            bar.update(size)
        synchronize(device)
        total_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return Run(total_s, cpu_s, _gaps(marks), cache.nbytes, cache.allocated_bytes)


def peak_bytes(device: torch.device) -> int:
    """Most memory used so far, see Measurement."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _gaps(marks: Sequence[Mark]) -> tuple[float, ...]:
    return tuple(early.until(late) for early, late in itertools.pairwise(marks))
