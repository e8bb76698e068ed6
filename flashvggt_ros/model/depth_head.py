"""Dense depth and its confidence from aggregator tokens: a DPT head (arXiv 2103.13413)."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from flashvggt_ros.model.frame_parts import Share, undivided
from flashvggt_ros.model.kernels import PLAIN, Kernels, KernelUser

HIDDEN_CHANNELS = 32
PLACES_KEPT = 32
EMBEDDING_SHARE = 0.1
FRAMES_AT_ONCE = 20  # at 392x518 about 0.3 GB of maps each, in 16 bits the half
# At 224 px the largest maps, 32 channels at full size, are then below the 32 MB from which on glibc
# takes memory from the system anew each time, page by page: on a CPU that costs as much as a layer.
FRAMES_AT_ONCE_ON_CPU = 4


class ResidualUnit(KernelUser):
    """Two convolutions around which relu(x), not x, is carried, as VGGT was trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w), where nothing is negative, to the same shape."""
        return self.kernels.convolve(self.conv2, self._hidden(x), [x])

    def merge(self, x: Tensor, coarser: Tensor) -> Tensor:
        """Positive part of the sum of forward's result and ``coarser``."""
        return self.kernels.convolve(self.conv2, self._hidden(x), [x, coarser], is_cut=True)

    def _hidden(self, x: Tensor) -> Tensor:
        return self.kernels.convolve(self.conv1, x, is_cut=True)


class Fusion(KernelUser):
    """Adds one level of detail to what the coarser levels gave, and enlarges."""

    def __init__(self, channels: int, *, is_coarsest: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        if not is_coarsest:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, coarser: Tensor | None, level: Tensor, size: tuple[int, int]) -> Tensor:
        """Merge ``level`` (N, C, h, w), nowhere negative, with what came before, at ``size``.

        A convolution of single pixels and interpolation may be swapped: before it there are fewer.
        """
        x = level if coarser is None else self.resConfUnit1.merge(level, coarser)
        return self.kernels.convolve_resize(self.out_conv, self.resConfUnit2(x), size)


class Scratch(KernelUser):
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
        levels = [
            self.kernels.convolve(getattr(self, f"layer{i}_rn"), x, is_cut=True)
            for i, x in enumerate(levels, start=1)
        ]
        height, width = levels[0].shape[-2:]
        sizes = [(2 * height, 2 * width), *(tuple(x.shape[-2:]) for x in levels[:3])]
        merged: Tensor | None = None
        for i in (4, 3, 2, 1):
            merged = getattr(self, f"refinenet{i}")(merged, levels[i - 1], sizes[i - 1])
        assert merged is not None
        return merged


class DepthHead(KernelUser):
    """Depth along z and confidence (at least 1) at full image size."""

    def __init__(
        self, width: int, patch_size: int, features: int, channels: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.frames_at_once = 0
        self.share: Share = undivided
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
        """Compute in ``dtype``, but the last layer in float32; biases are in float32 until added.

        That layer gives the logarithm of depth, which bfloat16 knows to a hundredth only. A bias
        errs in all pixels alike.
        """
        self.norm.to(dtype)
        self.resize_layers.to(dtype)
        for layer in (*self.projects, *self.scratch.modules()):
            if isinstance(layer, nn.Conv2d) and layer is not self.scratch.output_conv2[-1]:
                layer.weight.data = layer.weight.data.to(dtype)

    def set_kernels(self, kernels: Kernels) -> None:
        """Compute with ``kernels`` from now on, on weights as its convolutions read them."""
        super().set_kernels(kernels)
        if kernels is not PLAIN:
            for parameter in self.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)

    def forward(self, taps: list[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Depth and confidence, each (N, H, W), of four lists of patch tokens (N, patches, width).

        Computed in the type of use_type(), given in float32; ``frames_at_once`` frames at a time
        (0: as many as suit the device), which bounds memory and changes nothing else.
        """
        maps = self.share(partial(self._maps, grid), *taps)
        depth, confidence = maps.float().exp().unbind(1)
        return depth, 1 + confidence

    def _maps(self, grid: tuple[int, int], *taps: Tensor) -> Tensor:
        """Decode some frames at a time."""
        suited = FRAMES_AT_ONCE_ON_CPU if taps[0].device.type == "cpu" else FRAMES_AT_ONCE
        parts = zip(*(tap.split(self.frames_at_once or suited) for tap in taps), strict=True)
        return torch.cat([self._decode(part, grid) for part in parts])

    def _decode(self, taps: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Log depth and log (confidence - 1) (N, 2, H, W)."""
        rows, columns = grid
        size = (rows * self.patch_size, columns * self.patch_size)
        aspect = size[1] / size[0]
        levels = []
        for tap, project, resize in zip(taps, self.projects, self.resize_layers, strict=True):
            x = self.normalize(self.norm, tap, self.norm.weight.dtype)
            place = _place(grid, project.out_channels, aspect, x.device)
            x = x.transpose(1, 2).unflatten(2, grid)
            x = self.kernels.convolve_resize(project, x, grid, place)
            is_sized = isinstance(resize, nn.Identity)
            levels.append(x if is_sized else self.kernels.convolve(resize, x))
        scratch = self.scratch
        place = _place(size, scratch.output_conv1.out_channels, aspect, x.device)
        x = self.kernels.convolve_resize(
            scratch.output_conv1, scratch.fuse(levels), size, place
        )
        hidden, _, last = scratch.output_conv2
        return self.kernels.read_maps(hidden, last, x)


@lru_cache(PLACES_KEPT)
def _place(
    size: tuple[int, int], channels: int, aspect: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Embed where a map's pixels lie: (width, channels / 2) across, (height, channels / 2) down."""
    height, width = size
    diagonal = math.hypot(aspect, 1.0)
    with torch.inference_mode(False):  # to be used in and out of that mode
        across = _sinusoids(width, aspect / diagonal, channels // 2, device)
        down = _sinusoids(height, 1.0 / diagonal, channels // 2, device)
        return EMBEDDING_SHARE * across, EMBEDDING_SHARE * down


def _sinusoids(count: int, span: float, channels: int, device: torch.device) -> Tensor:
    """Sines, then cosines (count, channels) of pixel centers over -span..span, base 100."""
    edge = span * (count - 1) / count
    place = torch.linspace(-edge, edge, count, device=device).double()
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float64, device=device) / half
    angle = place[:, None] * 100.0**-steps
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()
