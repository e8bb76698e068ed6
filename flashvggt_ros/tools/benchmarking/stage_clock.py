"""How long each stage of the model takes, on the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from flashvggt_ros.model.attention import Block
from flashvggt_ros.model.chunk_graphs import ChunkGraphs
from flashvggt_ros.model.flashvggt import FlashVGGT

STAGES = ("encoder", "frame blocks", "global blocks", "camera head", "depth head", "transfers")


class Mark(Protocol):
    """A moment on the device's time line."""

    def until(self, later: Any) -> float:
        """Seconds to a later mark; both must have passed."""
        ...


class HostMark:
    """A moment on the host, which is the device."""

    def __init__(self) -> None:
        self._time = time.perf_counter()

    def until(self, later: HostMark) -> float:
        """Seconds to a later mark."""
        return later._time - self._time


class CudaMark:
    """A moment in the current CUDA stream; the host does not wait for it to pass."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record()

    def until(self, later: CudaMark) -> float:
        """Seconds to a later mark; torch.cuda.synchronize must have been called since."""
        return self._event.elapsed_time(later._event) / 1e3


def mark(device: torch.device) -> Mark:
    """Mark now."""
    return CudaMark() if device.type == "cuda" else HostMark()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class StageClock:
    """Adds up the time of each of STAGES."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans: dict[str, list[tuple[Mark, Mark]]] = {stage: [] for stage in STAGES}
        self._is_within = False

    @contextmanager
    def span(self, stage: str) -> Iterator[None]:
        """Count what happens inside to ``stage``; spans must not nest."""
        begin = mark(self._device)
        yield
        self._spans[stage].append((begin, mark(self._device)))

    @contextmanager
    def watching(self, model: FlashVGGT) -> Iterator[None]:
        """Count the model's calls inside to their stages; it runs without graphs meanwhile."""
        watched = list(_methods(model))
        graphs, model.aggregator.graphs = model.aggregator.graphs, ChunkGraphs(0)
        for stage, module, name in watched:
            setattr(module, name, partial(self._timed, stage, getattr(module, name)))
        try:
            yield
        finally:
            model.aggregator.graphs = graphs
            for _, module, name in watched:
                delattr(module, name)  # what the class has is no longer hidden

    def seconds(self) -> dict[str, float]:
        """Wait for the device, and return the time of each stage."""
        synchronize(self._device)
        return {
            stage: sum(begin.until(end) for begin, end in spans)
            for stage, spans in self._spans.items()
        }

    def _timed(self, stage: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_within:  # a call that is part of another
            return method(*args, **kwargs)
        self._is_within = True
        try:
            with self.span(stage):
                return method(*args, **kwargs)
        finally:
            self._is_within = False


def _methods(model: FlashVGGT) -> Iterator[tuple[str, nn.Module, str]]:
    aggregator = model.aggregator
    yield "encoder", aggregator.patch_embed, "forward"
    for block in aggregator.frame_blocks:
        yield "frame blocks", block, "forward"
    for block in aggregator.global_blocks:
        assert isinstance(block, Block)
        for name in ("forward", "project", "finish"):
            yield "global blocks", block, name
        yield "global blocks", block.attn, "attend"
    yield "camera head", model.camera_head, "forward"
    yield "depth head", model.depth_head, "forward"
