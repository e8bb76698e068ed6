"""CUDA graphs of what lies between two uses of the memory, for chunks too small to fill a GPU.

Such a chunk costs the host more time to launch its kernels one by one than the GPU to run them. All
that has the same shapes in every chunk is recorded once and launched as a whole; attention to the
growing memory is not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from threading import Thread, current_thread
from typing import NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

GRAPHS_KEPT = 4  # each holds memory of its own
ROWS_IN_GRAPHS = 32_768  # of an input; larger ones fill the GPU, and their graphs its memory


class Stop(NamedTuple):
    """Where attention to the memory is due.

    ``attend`` takes the queries, and keys and values of the memory; see Attention.project.
    """

    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    layer: int
    q: Tensor
    k: Tensor
    v: Tensor


Result = tuple[Tensor, ...]
Stretches = Generator[Stop, Tensor | None, Result]
"""A computation that pauses at each stop, and goes on with what attention gave."""
Attend = Callable[[Stop], Tensor]


def no_stop(stop: Stop) -> Tensor:
    """Attention of a computation without stops."""
    raise AssertionError(f"layer {stop.layer} stops where nothing should")


class ChunkGraphs:
    """Runs computations, by graphs from the second time on."""

    def __init__(self, most_rows: int) -> None:
        """``most_rows``: of the input of a computation that is recorded; 0: none is.

        What is not recorded yet is known by the threads that ran it.
        """
        self._most_rows = most_rows
        self._recordings: dict[Hashable, _Recording | WeakSet[Thread]] = {}

    @classmethod
    def on(cls, device: torch.device) -> ChunkGraphs:
        """Make those that a device gains by; only GPUs have graphs."""
        return cls(ROWS_IN_GRAPHS if device.type == "cuda" else 0)

    def run(
        self, name: Hashable | None, make: Callable[[Tensor], Stretches], x: Tensor,
        attend: Attend = no_stop,
    ) -> Result:
        """Run the computation that ``make`` starts on ``x``.

        By ``name`` and the shape of ``x`` it is known again: all else it computes with must be the
        same, and at the same place in memory; None: it is not recorded. A thread runs it once as it
        is before it records it: libraries set up in each thread what must not be set up meanwhile.
        """
        if name is None or x.shape[:-1].numel() > self._most_rows:
            return run_stretches(make(x), attend)
        key = (name, x.shape, x.dtype)
        known = self._recordings.pop(key, WeakSet[Thread]())
        if isinstance(known, WeakSet) and current_thread() in known:
            known = _Recording(make, x)
        if isinstance(known, WeakSet):
            result = run_stretches(make(x), attend)
            known.add(current_thread())
        else:
            result = tuple(tensor.clone() for tensor in known.run(x, attend))
        self._recordings[key] = known
        if len(self._recordings) > GRAPHS_KEPT:
            self._recordings.pop(next(iter(self._recordings)))
        return result


def run_stretches(stretches: Stretches, attend: Attend) -> Result:
    """Run to the end, without graphs."""
    mixed: Tensor | None = None
    while True:
        stop, result = _next_stop(stretches, mixed)
        if stop is None:
            return result
        mixed = attend(stop)


def _next_stop(stretches: Stretches, mixed: Tensor | None) -> tuple[Stop | None, Result]:
    """Run one stretch: to the next stop, or None and the result."""
    try:
        return stretches.send(mixed), ()
    except StopIteration as end:
        return None, end.value


class _Recording:
    """One graph for each stretch; what they give is overwritten by the next run."""

    def __init__(self, make: Callable[[Tensor], Stretches], x: Tensor) -> None:
        self._x = torch.empty_like(x)
        self._stretches = make(self._x)
        self._pool = torch.cuda.graph_pool_handle()
        self._parts: list[tuple[torch.cuda.CUDAGraph, Stop | None, Result]] = []
        self._mixed: list[Tensor] = []

    def run(self, x: Tensor, attend: Attend) -> Result:
        """Run on ``x``, recording what is not recorded yet."""
        self._x.copy_(x)
        number = 0
        while True:
            if number == len(self._parts):
                self._record(self._mixed[-1] if self._mixed else None)
            graph, stop, result = self._parts[number]
            graph.replay()
            if stop is None:
                return result
            self._take(number, attend(stop))
            number += 1

    def _record(self, mixed: Tensor | None) -> None:
        graph = torch.cuda.CUDAGraph()
        # other threads, which publish maps and memory, may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            stop, result = _next_stop(self._stretches, mixed)
        self._parts.append((graph, stop, result))

    def _take(self, number: int, mixed: Tensor) -> None:
        """Put what attention gave where the next graph reads it."""
        if number == len(self._mixed):
            self._mixed.append(mixed.clone())
        else:
            self._mixed[number].copy_(mixed)
