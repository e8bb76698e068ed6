"""A chunk's frames in parts, each computed in whatever thread is free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from flashvggt_ros.shared_work import SharedWork

MOST = 4  # frames of a part

OfFrames = Callable[..., Tensor]
"""A function of tensors (n, ...) of n frames that gives a tensor (n, ...) of the same frames."""
Share = Callable[..., Tensor]
"""Applies an OfFrames to tensors."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Gives values (B, n * P, C) for queries (B, n * P, heads, head_dim), keys and values."""


def undivided(function: OfFrames, *tensors: Tensor) -> Tensor:
    """Apply ``function`` to all frames at once."""
    return function(*tensors)


def shared_attention(attend: Attend, share: Share, count: int) -> Attend:
    """Return ``attend`` of one sequence of ``count`` frames, whose queries ``share`` divides.

    Several sequences are attended to at once: each has keys and values of its own.
    """
    if share is undivided:
        return attend

    def shared(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        def attend_part(frames: Tensor) -> Tensor:
            mixed = attend(frames.flatten(0, 1)[None], k, v)
            return mixed[0].unflatten(0, (len(frames), -1))

        if len(q) > 1:
            return attend(q, k, v)
        return share(attend_part, q[0].unflatten(0, (count, -1))).flatten(0, 1)[None]

    return shared


class FrameParts:
    """Applies functions to a few frames at a time; threads that wait may take some of the parts.

    Parts, and the threads that torch uses for one, are the same whoever computes them: what comes
    of it does not depend on timing. Only for inference.
    """

    def __init__(self, work: SharedWork) -> None:
        """Leave half of torch's threads to whoever helps with ``work``."""
        self._work = work
        self._threads = max(1, torch.get_num_threads() // 2)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Let torch use as many threads inside, when this thread calls it, as for a part."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def share(self, function: OfFrames, *tensors: Tensor) -> Tensor:
        """Return what ``function`` makes of all frames, an even number of parts of them."""
        count = len(tensors[0])
        number = min(count, 2 * math.ceil(count / (2 * MOST)))
        parts = zip(*(tensor.tensor_split(number) for tensor in tensors), strict=True)
        pieces = [partial(self._apply, function, part) for part in parts]
        return torch.cat(self._work.run(pieces))

    def _apply(self, function: OfFrames, part: tuple[Tensor, ...]) -> Tensor:
        with self.threads(), torch.inference_mode():
            return function(*part)
