"""Dense depth and its confidence from aggregator tokens: a DPT head (arXiv 2103.13413)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN_CHANNELS = 32
EMBEDDING_SHARE = 0.1
FRAMES_AT_ONCE = 8  # at 392x518 in float32 about 0.3 GB of maps each
# At 224 px the largest maps, 32 channels at full size, are then below the 32 MB from which on glibc
# takes memory from the system anew each time, page by page: on a CPU that costs as much as a layer.
FRAMES_AT_ONCE_ON_CPU = 4


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two convolutions around which relu(x), not x, is carried, as VGGT was trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w), which is overwritten, to the same shape."""
        x = functional.relu_(x)
        return self.conv2(functional.relu_(self.conv1(x))).add_(x)


class Fusion(nn.Module):
    """Adds one level of detail to what the coarser levels gave, and enlarges."""

    def __init__(self, channels: int, *, is_coarsest: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        if not is_coarsest:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, coarser: Tensor | None, level: Tensor, size: tuple[int, int]) -> Tensor:
        """Merge ``level`` (N, C, h, w), which is overwritten, with what came before, at ``size``.

        A convolution of single pixels and interpolation may be swapped: before it there are fewer.
        """
        x = level if coarser is None else self.resConfUnit1(level).add_(coarser)
        return _resize(self.out_conv(self.resConfUnit2(x)), size)


class Scratch(nn.Module):
    """The layers behind the projections; the name is that of the released checkpoints."""

    def __init__(self, features: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        for level, width in enumerate(channels, start=1):
            setattr(self, f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
            setattr(self, f"refinenet{level}", Fusion(features, is_coarsest=level == 4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, HIDDEN_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HIDDEN_CHANNELS, 2, 1),
        )

    def fuse(self, levels: list[Tensor]) -> Tensor:
        """Merge four levels, fine to coarse, at twice the size of the finest."""
        levels = [getattr(self, f"layer{i}_rn")(x) for i, x in enumerate(levels, start=1)]
        height, width = levels[0].shape[-2:]
        sizes = [(2 * height, 2 * width), *(tuple(x.shape[-2:]) for x in levels[:3])]
        merged = None
        for i in (4, 3, 2, 1):
            merged = getattr(self, f"refinenet{i}")(merged, levels[i - 1], sizes[i - 1])
        return self.output_conv1(merged)


class DepthHead(nn.Module):
    """Depth along z and confidence (at least 1) at full image size."""

    def __init__(
        self, width: int, patch_size: int, features: int, channels: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.frames_at_once = 0
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.projects = nn.ModuleList(nn.Conv2d(width, count, 1) for count in channels)
        self.resize_layers = nn.ModuleList([
            nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
            nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
            nn.Identity(),
            nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
        ])
        self.scratch = Scratch(features, channels)

    def use_type(self, dtype: torch.dtype) -> None:
        """Compute in ``dtype``, but the last layer in float32.

        That one gives the logarithm of depth, which bfloat16 knows to a hundredth only.
        """
        self.to(dtype)
        self.scratch.output_conv2[-1].float()

    def forward(self, taps: list[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Depth and confidence, each (N, H, W), of four lists of patch tokens (N, patches, width).

        Computed in the type of use_type(), given in float32; ``frames_at_once`` frames at a time
        (0: as many as suit the device), which bounds memory and changes nothing else.
        """
        suited = FRAMES_AT_ONCE_ON_CPU if taps[0].device.type == "cpu" else FRAMES_AT_ONCE
        parts = zip(*(tap.split(self.frames_at_once or suited) for tap in taps), strict=True)
        maps = torch.cat([self._decode(part, grid) for part in parts])
        depth, confidence = maps.float().exp().unbind(1)
        return depth, 1 + confidence

    def _decode(self, taps: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Log depth and log (confidence - 1) (N, 2, H, W)."""
        rows, columns = grid
        size = (rows * self.patch_size, columns * self.patch_size)
        aspect = size[1] / size[0]
        levels = []
        for tap, project, resize in zip(taps, self.projects, self.resize_layers, strict=True):
            x = self.norm(tap.to(self.norm.weight.dtype)).transpose(1, 2).unflatten(2, grid)
            levels.append(resize(_add_place(project(x), aspect)))
        x = _add_place(_resize(self.scratch.fuse(levels), size), aspect)
        *hidden, last = self.scratch.output_conv2
        for layer in hidden:
            x = layer(x)
        return last(x.to(last.weight.dtype))


def _add_place(x: Tensor, aspect: float) -> Tensor:
    """Add to (N, C, h, w), in place, a small embedding of where in the image each pixel lies."""
    _, channels, height, width = x.shape
    diagonal = math.hypot(aspect, 1.0)
    across = _sinusoids(width, aspect / diagonal, channels // 2, x.device)
    down = _sinusoids(height, 1.0 / diagonal, channels // 2, x.device)
    across = across[None].expand(height, -1, -1)
    down = down[:, None].expand(-1, width, -1)
    place = EMBEDDING_SHARE * torch.cat([across, down], dim=2)  # channels last, as x is in memory
    return x.add_(place.to(x.dtype).permute(2, 0, 1))


def _sinusoids(count: int, span: float, channels: int, device: torch.device) -> Tensor:
    """Sines, then cosines (count, channels) of pixel centers over -span..span, base 100."""
    edge = span * (count - 1) / count
    place = torch.linspace(-edge, edge, count, device=device).double()
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float64, device=device) / half
    angle = place[:, None] * 100.0**-steps
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()
