"""What a camera makes of light: exposure, tone curve, color, focus, noise and JPEG."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TARGET_BRIGHTNESS = 0.2  # of mean radiance after automatic exposure
GAMMA = 2.2
CLEAN_SHARE = 0.15  # of sequences: as an ideal camera takes them
GRAY_SHARE = 0.15


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
    smear: Tensor | None = None,
) -> Tensor:
    """Return pictures (B*N, 3, H, W) in 0..1 as a random real camera takes them.

    ``radiance`` (B*N, 3, H, W) is linear. Each of the B sequences of N = ``frames`` pictures has
    its own camera: exposure of -1 to 1.8 stops around the automatic one, which follows the view,
    drifts and at times steps; white balance, vignetting, gamma, contrast, saturation (GRAY_SHARE
    are gray), focus or sharpening, noise. CLEAN_SHARE are as an ideal camera takes them. The first
    half of the sequences is compressed, and the eighth after it was enlarged. ``smear`` (B*N,):
    length of the motion blur [px], which hides what is left of single exposures. ``kernel`` may
    be ``expose`` compiled.
    """
    batch = len(radiance) // frames
    rand = _Random(batch, frames, radiance.device, generator)
    clean = rand.chance(CLEAN_SHARE)
    gray = rand.chance(GRAY_SHARE)
    focus = rand.chance(0.3) * rand.sequence_map(0.0, 1.0)
    focus = focus - rand.chance(0.3) * rand.sequence_map(0.0, 1.5)
    focus = _mixed(focus, 0.0, clean)
    if smear is not None:
        focus = torch.maximum(focus, (smear.view(-1, 1, 1, 1) / 8).clamp(0, 1) * (smear > 1)
                              .view(-1, 1, 1, 1))
    pictures = (kernel or expose)(
        radiance,
        _gain(radiance, rand, clean) * _mixed(rand.color(0.2), 1.0, clean),
        _mixed(rand.sequence_map(-0.15, 0.6).clamp(min=0), 0.0, clean),
        _mixed(0.4 * rand.chance(0.35), 0.0, clean),
        1 / _mixed(rand.sequence_map(1.8, 2.6), GAMMA, clean),
        _mixed(rand.sequence_map(-0.06, 0.12), 0.0, clean),
        _mixed(rand.log_map(0.8, 1.8), 1.0, clean),
        _mixed(rand.sequence_map(0.0, 1.6), 1.0, clean) * (1 - gray),
        focus,
        rand.log_map(0.003, 0.05) * rand.chance(0.8) * (1 - clean),
        rand.sequence_map(0.0, 1.2),
        rand.sequence_map(0.0, 1.0) * (1 - gray),
    )
    half, eighth = batch // 2 * frames, max(batch // 8, 1) * frames
    step = rand.log_map(0.005, 0.07)[:half]
    if half:
        sharp, soft, rest = pictures.tensor_split((half, half + eighth))
        changed = torch.cat([_jpeg(sharp, step), _enlarged(soft)])
        changed = changed + clean[: half + eighth] * (pictures[: half + eighth] - changed)
        pictures = torch.cat([changed, rest])
    return pictures


def _mixed(setting: Tensor, ideal: float, clean: Tensor) -> Tensor:
    return setting + clean * (ideal - setting)


def _gain(radiance: Tensor, rand: _Random, clean: Tensor) -> Tensor:
    """Exposure (B*N, 1, 1, 1): automatic, of one mean per sequence or following the view."""
    gain = automatic_gain(radiance[..., 1::4, 1::4]).view(rand.batch, rand.frames).log()
    mean = gain.mean(1, keepdim=True)
    follow = rand.sequence(0.0, 1.0)
    change = rand.drift() * rand.sequence(0.0, 0.35) + rand.sudden(0.2, 0.6)
    change = change + math.log(2) * rand.sequence(-1.0, 1.8)
    ideal = mean + 0.5 * (gain - mean)
    gain = mean + follow * (gain - mean) + change
    return _mixed(gain.reshape(-1, 1, 1, 1), 0.0, clean).add(
        clean * ideal.reshape(-1, 1, 1, 1)).exp()


def expose(
    radiance: Tensor, gain: Tensor, vignetting: Tensor, shoulder: Tensor, power: Tensor,
    black: Tensor, contrast: Tensor, saturation: Tensor, focus: Tensor, noise: Tensor,
    blotches: Tensor, chroma: Tensor,
) -> Tensor:
    """Pictures (F, 3, H, W) from radiance and settings that broadcast against (F, 3, 1, 1).

    What is brighter than 1 after ``gain`` is clipped. ``black``: display level that becomes black
    (negative: flare). ``contrast``: exponent of an S-curve about the middle. ``focus``: above 0
    blurred, below 0 sharpened, with halos. ``noise``: standard deviation, largest in the dark;
    ``blotches`` 0 to 1: how far neighbors share it, as after demosaicing; ``chroma``: its color.
    """
    x = radiance * gain * (1 - vignetting * _corner_distance(radiance))
    x = (x * (1 + shoulder) / (1 + shoulder * x)).clamp(1e-6, 1.0) ** power
    x = ((x - black) / (1 - black)).clamp(1e-4, 0.9999)
    low = 0.5 * (2 * x) ** contrast
    high = 1 - 0.5 * (2 - 2 * x) ** contrast
    x = torch.where(x < 0.5, low, high)
    gray = _luma(x)
    x = (gray + (x - gray) * saturation).clamp(0, 1)
    x = x + focus * (_blurred(x) - x)
    grain = torch.randn_like(x)
    grain = grain + blotches * torch.roll(grain, 1, -1)
    grain = (grain + blotches * torch.roll(grain, 1, -2)) / (1 + blotches * blotches)
    level = grain.mean(1, keepdim=True) * math.sqrt(3)
    grain = level + chroma * (grain - level)
    return (x + noise * (1.15 - _luma(x)) * grain).clamp(0, 1)


class _Random:
    """Random settings per sequence, shaped for pictures (B*N, 1, 1, 1)."""

    def __init__(
        self, batch: int, frames: int, device: torch.device, generator: torch.Generator
    ) -> None:
        self.batch, self.frames, self.device, self.generator = batch, frames, device, generator

    def _rand(self, *shape: int) -> Tensor:
        draw = torch.rand(*shape, generator=self.generator, device=self.generator.device)
        return draw.to(self.device)

    def sequence(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self._rand(self.batch, 1)

    def sequence_map(self, low: float, high: float) -> Tensor:
        return self.sequence(low, high).expand(-1, self.frames).reshape(-1, 1, 1, 1)

    def log_map(self, low: float, high: float) -> Tensor:
        return self.sequence_map(math.log(low), math.log(high)).exp()

    def chance(self, probability: float) -> Tensor:
        return (self.sequence_map(0.0, 1.0) < probability).float()

    def color(self, scale: float) -> Tensor:
        color = 1 + scale * (2 * self._rand(self.batch, 1, 3) - 1)
        return color.expand(-1, self.frames, -1).reshape(-1, 3, 1, 1)

    def drift(self) -> Tensor:
        time = torch.arange(self.frames, device=self.device) / 8
        turns, phase = self._rand(self.batch, 1), self._rand(self.batch, 1)
        return torch.sin(2 * math.pi * (turns * time + phase))

    def sudden(self, probability: float, scale: float) -> Tensor:
        """A step (B, N) of up to +-``scale`` at a random frame of some sequences."""
        time = torch.arange(self.frames, device=self.device)
        after = (time >= self.frames * self._rand(self.batch, 1)).float()
        happens = (self._rand(self.batch, 1) < probability).float()
        return after * happens * self.sequence(-scale, scale)


def _luma(x: Tensor) -> Tensor:
    return 0.3 * x[:, :1] + 0.59 * x[:, 1:2] + 0.11 * x[:, 2:]


def _corner_distance(x: Tensor) -> Tensor:
    """Squared distance (H, W) of pixels from the picture's middle, 1 at its corners."""
    height, width = x.shape[-2:]
    v = (torch.arange(height, device=x.device)[:, None] + 0.5) * (2 / height) - 1
    u = (torch.arange(width, device=x.device)[None, :] + 0.5) * (2 / width) - 1
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


def _enlarged(x: Tensor) -> Tensor:
    """Pictures as of a camera of half the resolution."""
    small = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
    return F.interpolate(small, x.shape[-2:], mode="bilinear")


def _jpeg(x: Tensor, step: Tensor) -> Tensor:
    """Quantize the cosine transform of 8x8 blocks, finer at low frequencies; ``step`` (F,1,1,1).

    0.1 is about quality 30 of JPEG, 0.006 quality 95. Of color differences only low frequencies
    are kept, as where they are stored at half the resolution.
    """
    count, _, height, width = x.shape
    gray = _luma(x)
    x = torch.cat([gray, x[:, :1] - gray, x[:, 2:] - gray], 1)
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.view(count, 3, rows, 8, columns, 8).transpose(3, 4)
    k = torch.arange(8, device=x.device, dtype=x.dtype)
    dct = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) / 2
    dct = dct * (1 - (1 - math.sqrt(0.5)) * (k == 0).float())[:, None]
    frequency = dct @ blocks @ dct.T
    q = step.view(-1, 1, 1, 1, 1, 1) * (1 + 0.7 * (k[:, None] + k[None, :]))
    is_kept = (k[:, None] < 4) & (k[None, :] < 4)
    frequency = (frequency / q).round() * q
    frequency = torch.cat([frequency[:, :1], frequency[:, 1:] * is_kept], 1)
    blocks = dct.T @ frequency @ dct
    x = blocks.transpose(3, 4).reshape(count, 3, rows * 8, columns * 8)[..., :height, :width]
    red, blue = x[:, :1] + x[:, 1:2], x[:, :1] + x[:, 2:]
    green = (x[:, :1] - 0.3 * red - 0.11 * blue) / 0.59
    return torch.cat([red, green, blue], 1).clamp(0, 1)
