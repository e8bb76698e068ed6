"""Rotary position embedding of image patches in two dimensions (RoPE, arXiv 2104.09864).

The first half of a head's channels turns with a token's row, the second half with its column. In
each half of d channels, channels i and i + d/2 form a pair that turns by position * base^(-2i/d).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Cosines and sines (L, 1, 2, head_dim / 4) of L tokens: rows in [.., 0, :], columns in 1."""

    cos: Tensor
    sin: Tensor

    def select(self, index: Tensor) -> Rotation:
        """Rotation of the tokens ``index`` (M,)."""
        return Rotation(self.cos[index], self.sin[index])


def rotation(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """Rotation of tokens at integer ``positions`` (L, 2), row before column, in float32."""
    half = head_dim // 2
    steps = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float()[:, None, :, None] * (1.0 / base ** (steps / half))
    return Rotation(angles.cos(), angles.sin())


def rotate(tokens: Tensor, turn: Rotation) -> Tensor:
    """Turn queries or keys (..., L, heads, head_dim) by the rotation of their L tokens."""
    first, second = tokens.unflatten(-1, (2, 2, -1)).unbind(-2)
    turned = (first * turn.cos - second * turn.sin, second * turn.cos + first * turn.sin)
    return torch.stack(turned, dim=-2).flatten(-3)


def patch_positions(rows: int, columns: int, specials: int, device: torch.device) -> Tensor:
    """Positions (specials + rows * columns, 2): specials at (0, 0), patches from (1, 1) on."""
    row, column = torch.meshgrid(
        torch.arange(1, rows + 1, device=device),
        torch.arange(1, columns + 1, device=device),
        indexing="ij",
    )
    patches = torch.stack([row, column], dim=-1).flatten(0, 1)
    return torch.cat([patches.new_zeros(specials, 2), patches])
