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
    """Cosines and sines (L, 1, head_dim) of L tokens; sines are negative for the first of a pair.

    They are spread over all channels because whole rows of tokens are multiplied several times
    faster than quarters of them.
    """

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
    cos, sin = angles.cos(), angles.sin()
    return Rotation(torch.cat([cos, cos], -1).flatten(2), torch.cat([-sin, sin], -1).flatten(2))


def rotate(tokens: Tensor, turn: Rotation) -> Tensor:
    """Turn queries or keys (..., L, heads, head_dim) by the rotation of their L tokens."""
    first_row, second_row, first_column, second_column = tokens.chunk(4, dim=-1)
    partners = torch.cat([second_row, first_row, second_column, first_column], dim=-1)
    return tokens * turn.cos + partners * turn.sin


def patch_positions(rows: int, columns: int, specials: int, device: torch.device) -> Tensor:
    """Positions (specials + rows * columns, 2): specials at (0, 0), patches from (1, 1) on."""
    row, column = torch.meshgrid(
        torch.arange(1, rows + 1, device=device),
        torch.arange(1, columns + 1, device=device),
        indexing="ij",
    )
    patches = torch.stack([row, column], dim=-1).flatten(0, 1)
    return torch.cat([patches.new_zeros(specials, 2), patches])
