"""What the model asks of the memory of a submap, and the one that gradients pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """A chunk's keys in each layer: reference tokens first, then frames of equal token counts."""

    batch: int
    frames: int
    reference_tokens: int
    frame_tokens: int
    layers: int
    heads: int
    head_dim: int


class Memory(Protocol):
    """All that the model asks of a memory."""

    @property
    def seen(self) -> int:
        """Frames of all chunks that ended."""
        ...

    def begin(self, layout: ChunkLayout) -> None:
        """Make ready for a chunk."""
        ...

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add a chunk's keys and values (B, heads, L, head_dim) of a layer; return all to use."""
        ...

    def end(self, camera_tokens: Tensor) -> Tensor:
        """Add a chunk's camera tokens (B, N, C); return those to decode poses of (B, k, C)."""
        ...

    def complete_poses(self, pose_enc: Tensor) -> Tensor:
        """Poses (B, K, 9) of all frames seen, of those (B, k, 9) decoded of what end returned."""
        ...


class GradientCache:
    """A memory that autograd can see through: it concatenates and never writes in place."""

    def __init__(self) -> None:
        self.seen = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._camera_tokens: list[Tensor] = []

    def begin(self, layout: ChunkLayout) -> None:
        """Nothing to prepare."""

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append, and return everything."""
        if layer in self._layers:
            keys, values = self._layers[layer]
            k, v = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        self._layers[layer] = (k, v)
        return k, v

    def end(self, camera_tokens: Tensor) -> Tensor:
        """Append, and return everything."""
        self.seen += camera_tokens.shape[1]
        self._camera_tokens.append(camera_tokens)
        return torch.cat(self._camera_tokens, dim=1)

    def complete_poses(self, pose_enc: Tensor) -> Tensor:
        """All of them are there."""
        return pose_enc


class OneCallMemory:
    """A memory for a sequence that is seen in one call, of which it keeps nothing.

    A second call raises ValueError.
    """

    nbytes = allocated_bytes = 0

    def __init__(self) -> None:
        self.seen = 0

    def begin(self, layout: ChunkLayout) -> None:
        """Refuse a second chunk."""
        if self.seen:
            raise ValueError("this memory is for one call: use a cache for more")

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is given."""
        return k, v

    def end(self, camera_tokens: Tensor) -> Tensor:
        """Return what is given."""
        self.seen = camera_tokens.shape[1]
        return camera_tokens

    def complete_poses(self, pose_enc: Tensor) -> Tensor:
        """All of them are there."""
        return pose_enc
