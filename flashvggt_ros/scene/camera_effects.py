"""What a camera makes of light: exposure, white balance, tone curve, blur, noise and JPEG."""

from __future__ import annotations

import math

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


def photograph(radiance: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """Return pictures (B*N, 3, H, W) in 0..1 as a random real camera takes them.

    ``radiance`` (B*N, 3, H, W) is linear. Each of the B sequences of N = ``frames`` pictures has
    its own camera: exposure that drifts, white balance, tone curve, vignetting, focus, noise and
    compression.
    """
    count = len(radiance)
    batch = count // frames
    rand = _Random(batch, frames, radiance.device, generator)
    gain = automatic_gain(radiance).view(batch, frames)
    mean = gain.log().mean(1, keepdim=True)
    follow = rand.sequence(0.0, 1.0)  # how far the exposure follows each picture
    drift = rand.drift() * rand.sequence(0.0, 0.3)
    gain = (mean + follow * (gain.log() - mean) + drift + rand.normal_sequence(0.35)).exp()
    x = radiance * gain.view(-1, 1, 1, 1)
    x = x * rand.color(0.12)
    x = x * _vignette(x, rand.sequence(0.0, 0.5).clamp(min=0.1) - 0.1, frames)
    contrast = rand.sequence(0.8, 1.3)
    gamma = rand.sequence(1.7, 2.6)
    power = (1 / gamma).expand(batch, frames).reshape(-1, 1, 1, 1)
    x = x / (1 + 0.25 * x * rand.chance(0.5))
    x = x.clamp(1e-6, 1.0) ** power
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * contrast.expand(batch, frames).reshape(-1, 1, 1, 1)
    grey = x.mean(1, keepdim=True)
    saturation = rand.sequence(0.4, 1.3).expand(batch, frames).reshape(-1, 1, 1, 1)
    x = grey + (x - grey) * saturation
    x = _defocus(x, rand.chance(0.4) * rand.sequence_map(0.0, 1.0))
    sigma = rand.sequence_map(0.0, 0.03) * rand.chance(0.7)
    x = x + sigma * torch.randn(x.shape, device=x.device)
    x = x.clamp(0, 1)
    return torch.where(rand.chance(0.5) > 0, _jpeg(x, rand.sequence_map(0.01, 0.08)), x)


class _Random:
    """Random settings per sequence, drawn on the CPU, shaped for pictures (B*N, 1, 1, 1)."""

    def __init__(
        self, batch: int, frames: int, device: torch.device, generator: torch.Generator
    ) -> None:
        self.batch, self.frames, self.device, self.generator = batch, frames, device, generator

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator).to(self.device, non_blocking=True)

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
        return torch.sin(2 * math.pi * (self._rand(self.batch, 1) * time + self._rand(self.batch, 1)))


def _vignette(x: Tensor, strength: Tensor, frames: int) -> Tensor:
    height, width = x.shape[-2:]
    v = torch.linspace(-1, 1, height, device=x.device)[:, None]
    u = torch.linspace(-1, 1, width, device=x.device)[None, :]
    falloff = (u * u + v * v) / 2
    per_picture = strength.expand(-1, frames).reshape(-1, 1, 1, 1)
    return 1 - per_picture * falloff


def _defocus(x: Tensor, sigma: Tensor) -> Tensor:
    """Blend in a 5x5 binomial blur; ``sigma`` (F, 1, 1, 1) in 0..1 is its share."""
    kernel = torch.tensor([1.0, 4, 6, 4, 1], device=x.device, dtype=x.dtype) / 16
    flat = x.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (2, 2, 0, 0), mode="replicate"), kernel.view(1, 1, 1, 5))
    flat = F.conv2d(F.pad(flat, (0, 0, 2, 2), mode="replicate"), kernel.view(1, 1, 5, 1))
    return x + sigma * (flat.view_as(x) - x)


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
