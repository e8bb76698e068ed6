"""Copies between host and GPU that overlap with computing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from flashvggt_ros.tools.benchmarking.stage_clock import Mark, mark

BUFFERS = 2  # one is filled while the other is read


class HostCopies:
    """Brings results to the host, on a stream of its own and to pinned memory where that helps.

    On a CPU nothing is copied: the results are there.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers: list[dict[str, Tensor]] = [{} for _ in range(BUFFERS)]
        self._done: list[torch.cuda.Event | None] = [None] * BUFFERS
        self._count = 0
        self.latest: dict[str, Tensor] = {}

    def take(self, results: dict[str, Tensor]) -> Mark:
        """Begin to copy; return a mark behind it. ``latest`` is what was taken, once it passed."""
        if self._stream is None:
            self.latest = results
            return mark(self._device)
        slot = self._count % BUFFERS
        self._count += 1
        done = self._done[slot]
        if done is not None:
            done.synchronize()  # of an earlier chunk: whoever reads the buffer has had its turn
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            self.latest = {
                name: self._copy(self._buffers[slot], name, tensor)
                for name, tensor in results.items()
            }
            event = torch.cuda.Event()
            event.record()
            self._done[slot] = event
            return mark(self._device)

    def _copy(self, buffers: dict[str, Tensor], name: str, tensor: Tensor) -> Tensor:
        buffer = buffers.get(name)
        if buffer is None or buffer.numel() < tensor.numel():
            room = 2 * tensor.numel() if buffer is not None else tensor.numel()
            buffer = torch.empty(room, dtype=tensor.dtype, pin_memory=True)
            buffers[name] = buffer
        target = buffer[: tensor.numel()].view(tensor.shape)
        target.copy_(tensor, non_blocking=True)
        assert self._stream is not None
        tensor.record_stream(self._stream)
        return target


class Uploads:
    """Images on their way to the device: bytes travel, not floats."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        """``images`` (n, H, W, 3) in bytes; longer sequences see them again and again."""
        self._images = images.pin_memory() if device.type == "cuda" else images
        self._device = device

    def chunk(self, first: int, count: int) -> Tensor:
        """Frames (count, 3, H, W) in [0, 1] from number ``first`` on."""
        indices = [index % len(self._images) for index in range(first, first + count)]
        start, end = indices[0], indices[-1] + 1
        if end - start == count:
            pixels = self._images[start:end].to(self._device, non_blocking=True)
        else:
            parts = [self._images[index].to(self._device, non_blocking=True) for index in indices]
            pixels = torch.stack(parts)
        return pixels.permute(0, 3, 1, 2).float().div_(255)


def no_span(_: str) -> AbstractContextManager[None]:
    """Stand where a clock's span would, when nothing is clocked."""
    return nullcontext()
