"""Which tokens of a chunk the keys and values of descriptor attention are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flashvggt_ros.model.kernels import Kernels
from flashvggt_ros.model.model_config import ModelConfig
from flashvggt_ros.model.rope import Rotation, patch_positions, rotation


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """All that the keys of a chunk depend on, but its tokens."""

    grid: tuple[int, int]
    count: int
    keyframes: tuple[int, ...]
    device: torch.device


class ChunkKeys:
    """Which tokens of a chunk become keys, and where they stand; the same in every block."""

    def __init__(self, config: ModelConfig, layout: KeyLayout) -> None:
        rows, columns = layout.grid
        device = layout.device
        self.grid, self.count, self.specials = layout.grid, layout.count, config.specials
        self.keyframes = layout.keyframes
        self.small = (rows // config.kv_downfactor, columns // config.kv_downfactor)
        self.is_blended = config.revision == "r1" and self.small != self.grid
        row = _nearest(rows, self.small[0], device)
        column = _nearest(columns, self.small[1], device)
        cells = (row[:, None] * columns + column).flatten()
        self.taps, self.tap_weights = _bilinear_taps(layout.grid, self.small, device)
        positions = patch_positions(rows, columns, self.specials, device)
        self.frame_turn = rotation(positions, config.width // config.heads, config.rope_base)
        frame = torch.arange(len(positions), device=device)
        descriptor = torch.cat([frame[: self.specials], cells + self.specials])
        source = frame[self.specials:].repeat(len(self.keyframes))
        source = torch.cat([source, descriptor.repeat(self.count)])
        self.source_turn: Rotation = self.frame_turn.select(source)
        references = torch.tensor(self.keyframes, dtype=torch.long, device=device)
        owner = torch.cat([
            references.repeat_interleave(rows * columns),
            torch.arange(self.count, device=device).repeat_interleave(len(descriptor)),
        ])
        self.sources = owner * len(frame) + source

    def descriptors(self, kernels: Kernels, normed: Tensor) -> Tensor:
        """Return tokens (B, M, C) to make keys and values of, from normalized ones (B, N * P, C).

        R1 interpolates patches bilinearly (two taps per axis, no antialias), R2 takes the patch at
        each cell's top left. Both sit at that patch's position, as upstream has it.
        """
        if not self.is_blended:
            return normed.index_select(1, self.sources)
        x = normed.unflatten(1, (self.count, -1))
        specials, patches = x[:, :, : self.specials], x[:, :, self.specials:]
        small = kernels.blend(patches, self.taps, self.tap_weights)
        frames = torch.cat([specials, small], dim=2).flatten(1, 2)
        reference = [patches[:, frame] for frame in self.keyframes]
        return torch.cat([*reference, frames], dim=1)


def _nearest(size: int, out: int, device: torch.device) -> Tensor:
    """Return indices (out,) of nearest-neighbor resampling from ``size``, as torch rounds them."""
    index = torch.arange(size, dtype=torch.float32, device=device)
    return functional.interpolate(index[None, None], size=out, mode="nearest")[0, 0].long()


def _bilinear_taps(
    grid: tuple[int, int], small: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Patches (4, cells) that bilinear resampling reads, and their weights (4, cells, 1).

    As functional.interpolate with align_corners False, of which four patches per cell are all that
    is read: resampling whole maps moves all of them, to where channels stand first and back.
    """
    (row, row_share), (column, column_share) = (
        _linear_taps(size, out, device) for size, out in zip(grid, small, strict=True)
    )
    indices = row[:, None, :, None] * grid[1] + column[None, :, None, :]  # (2, 2, rows, columns)
    shares = row_share[:, None, :, None] * column_share[None, :, None, :]
    return indices.flatten(2).flatten(0, 1), shares.flatten(2).flatten(0, 1)[..., None]


def _linear_taps(size: int, out: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Lower and upper index (2, out) of linear resampling from ``size``, and their weights."""
    center = (torch.arange(out, dtype=torch.float32, device=device) + 0.5) * (size / out) - 0.5
    center = center.clamp(min=0)
    lower = center.long()
    upper = (lower + 1).clamp(max=size - 1)
    share = center - lower
    return torch.stack([lower, upper]), torch.stack([1 - share, share])
