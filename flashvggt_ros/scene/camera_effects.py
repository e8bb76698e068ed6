"""What a camera makes of light: exposure, white balance, tone curve, blur, noise and JPEG."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TARGET_BRIGHTNESS = 0.2  # of mean radiance after automatic exposure
GAMMA = 2.2


def develop(radiance: Tensor, gain: Tensor) -> Tensor:
    """Return the picture (F, 3, H, W) in 0..1 that an ideal camera takes; ``gain`` (F,)."""
    return (radiance * gain.view(-1, 1, 1, 1)).clamp(1e-6, 1.0) ** (1 / GAMMA)


def automatic_gain(radiance: Tensor) -> Tensor:
    """Gain (F,) that brings each picture to TARGET_BRIGHTNESS, highlights compressed first."""
    level = radiance.mean((1, 2, 3)).clamp(min=1e-4)
    squashed = (radiance / (radiance + level.view(-1, 1, 1, 1))).mean((1, 2, 3)) * 2 * level
    return TARGET_BRIGHTNESS / squashed


def photograph(
    radiance: Tensor,
    frames: int,
    generator: torch.Generator,
    kernel: Callable[..., Tensor] | None = None,
) -> Tensor:
    """Return pictures (B*N, 3, H, W) in 0..1 as a random real camera takes them.

    ``radiance`` (B*N, 3, H, W) is linear. Each of the B sequences of N = ``frames`` pictures has
    its own camera: exposure that drifts, white balance, tone curve, vignetting, focus and noise;
    the first half of the sequences is compressed. ``kernel`` may be ``expose`` compiled.
    """
    batch = len(radiance) // frames
    rand = _Random(batch, frames, radiance.device, generator)
    gain = automatic_gain(radiance).view(batch, frames)
    mean = gain.log().mean(1, keepdim=True)
    follow = rand.sequence(0.0, 1.0)  # how far the exposure follows each picture
    drift = rand.drift() * rand.sequence(0.0, 0.3)
    gain = (mean + follow * (gain.log() - mean) + drift + rand.normal_sequence(0.35)).exp()
    pictures = (kernel or expose)(
        radiance,
        gain.reshape(-1, 1, 1, 1) * rand.color(0.12),
        rand.sequence_map(-0.1, 0.5).clamp(min=0),
        0.25 * rand.chance(0.5),
        1 / rand.sequence_map(1.7, 2.6),
        rand.sequence_map(0.8, 1.3),
        rand.sequence_map(0.4, 1.3),
        rand.chance(0.4) * rand.sequence_map(0.0, 1.0),
        rand.sequence_map(0.0, 0.03) * rand.chance(0.7),
    )
    half = batch // 2 * frames
    if half:
        step = rand.sequence_map(0.01, 0.08)[:half]
        pictures = torch.cat([_jpeg(pictures[:half], step), pictures[half:]])
    return pictures


def expose(
    radiance: Tensor, gain: Tensor, vignetting: Tensor, shoulder: Tensor, power: Tensor,
    contrast: Tensor, saturation: Tensor, defocus: Tensor, noise: Tensor,
) -> Tensor:
    """Pictures (F, 3, H, W) from radiance and settings that broadcast against (F, 3, 1, 1)."""
    x = radiance * gain * (1 - vignetting * _corner_distance(radiance))
    x = (x / (1 + shoulder * x)).clamp(1e-6, 1.0) ** power
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * contrast
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * saturation
    x = x + defocus * (_blurred(x) - x)
    return (x + noise * torch.randn_like(x)).clamp(0, 1)


class _Random:
    """Random settings per sequence, drawn on the CPU, shaped for pictures (B*N, 1, 1, 1)."""

    def __init__(
        self, batch: int, frames: int, device: torch.device, generator: torch.Generator
    ) -> None:
        self.batch, self.frames, self.device, self.generator = batch, frames, device, generator

    def _rand(self, *shape: int) -> Tensor:
        draw = torch.rand(*shape, generator=self.generator, device=self.generator.device)
        return draw.to(self.device)

    def sequence(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self._rand(self.batch, 1)

    def normal_sequence(self, scale: float) -> Tensor:
        return scale * (self._rand(self.batch, 4).sum(1, keepdim=True) - 2) * math.sqrt(3)

    def sequence_map(self, low: float, high: float) -> Tensor:
        return self.sequence(low, high).expand(-1, self.frames).reshape(-1, 1, 1, 1)

    def chance(self, probability: float) -> Tensor:
        return (self.sequence_map(0.0, 1.0) < probability).float()

    def color(self, scale: float) -> Tensor:
        color = 1 + scale * (2 * self._rand(self.batch, 1, 3) - 1)
        return color.expand(-1, self.frames, -1).reshape(-1, 3, 1, 1)

    def drift(self) -> Tensor:
        time = torch.arange(self.frames, device=self.device) / 8
        turns, phase = self._rand(self.batch, 1), self._rand(self.batch, 1)
        return torch.sin(2 * math.pi * (turns * time + phase))


def _corner_distance(x: Tensor) -> Tensor:
    """Squared distance (H, W) from the middle of the picture, 1 at its corners."""
    height, width = x.shape[-2:]
    v = torch.linspace(-1, 1, height, device=x.device)[:, None]
    u = torch.linspace(-1, 1, width, device=x.device)[None, :]
    return (u * u + v * v) / 2


def _blurred(x: Tensor) -> Tensor:
    """Blur with a 5x5 binomial kernel; the border is repeated."""
    height, width = x.shape[-2:]
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    weights = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    rows = sum(w * x[..., k : k + height, :] for k, w in enumerate(weights))
    assert isinstance(rows, Tensor)
    columns = sum(w * rows[..., k : k + width] for k, w in enumerate(weights))
    assert isinstance(columns, Tensor)
    return columns


def _jpeg(x: Tensor, step: Tensor) -> Tensor:
    """Quantize the cosine transform of 8x8 blocks, finer at low frequencies; ``step`` (F,1,1,1)."""
    count, channels, height, width = x.shape
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.view(count, channels, rows, 8, columns, 8).transpose(3, 4)
    k = torch.arange(8, device=x.device, dtype=x.dtype)
    dct = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) / 2
    dct[0] /= math.sqrt(2)
    frequency = dct @ blocks @ dct.T
    q = step.view(-1, 1, 1, 1, 1, 1) * (1 + 0.7 * (k[:, None] + k[None, :]))
    frequency = (frequency / q).round() * q
    blocks = dct.T @ frequency @ dct
    picture = blocks.transpose(3, 4).reshape(count, channels, rows * 8, columns * 8)
    return picture[..., :height, :width].clamp(0, 1)
