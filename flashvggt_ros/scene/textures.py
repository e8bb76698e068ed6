"""Textures: procedural pictures of surfaces, and the packed atlas that the ray caster reads.

The atlas is one int32 tensor: for each texture its mip levels from 256 pixels down to 1, texels as
R + 256 G + 65536 B. Texture 0 is always smooth noise; it varies large surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SIDE = 256
LEVELS = 9
TEXELS = 4 * (SIDE * SIDE - 1) // 3 + 1  # of all levels of one texture
MACRO_SCALE = 0.17  # repetitions per meter of texture 0 on every surface

KINDS = ("wall", "floor", "wood", "fabric", "stone", "poster", "paper", "leaf", "metal", "sky")
_GRID_V, _GRID_U = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """A packed atlas and which of its textures serve for what: kind to texture numbers."""

    atlas: Tensor
    kinds: dict[str, tuple[int, ...]]

    def pick(self, kind: str, rng: np.random.Generator) -> int:
        """Return a random texture number of a kind (KINDS)."""
        choices = self.kinds[kind]
        return choices[int(rng.integers(len(choices)))]

    @property
    def count(self) -> int:
        """Number of textures."""
        return len(self.atlas) // TEXELS

    @classmethod
    def procedural(cls, rng: np.random.Generator, each: int = 6) -> Textures:
        """Make ``each`` textures of every kind."""
        return cls.with_photographs(rng, np.zeros((0, SIDE, SIDE, 3), np.uint8), each)

    @classmethod
    def with_photographs(
        cls, rng: np.random.Generator, photographs: NDArray[np.uint8], each: int = 6
    ) -> Textures:
        """Add photographs (M, 256, 256, 3) uint8, which then serve as any kind but sky."""
        pictures = [noise_picture(rng, plain=True)]
        kinds: dict[str, tuple[int, ...]] = {}
        for kind in KINDS:
            first = len(pictures)
            pictures += [_MAKERS[kind](rng) for _ in range(each)]
            kinds[kind] = tuple(range(first, len(pictures)))
        photo_numbers = tuple(range(len(pictures), len(pictures) + len(photographs)))
        for kind in KINDS:
            if kind != "sky":
                kinds[kind] += photo_numbers
        images = np.concatenate([np.stack(pictures), photographs]) if len(photographs) else (
            np.stack(pictures)
        )
        return cls(pack(torch.from_numpy(images)), kinds)

    def to(self, device: torch.device | str) -> Textures:
        """Return the same textures on another device."""
        return Textures(self.atlas.to(device), self.kinds)


def pack(images: Tensor) -> Tensor:
    """Pack pictures (T, 256, 256, 3) uint8 with their mip levels into one int32 tensor."""
    level = images.permute(0, 3, 1, 2).float()
    parts = []
    for _ in range(LEVELS):
        texels = level.round().to(torch.int32)
        packed = texels[:, 0] + (texels[:, 1] << 8) + (texels[:, 2] << 16)
        parts.append(packed.flatten(1))
        if level.shape[-1] > 1:
            level = F.avg_pool2d(level, 2)
    return torch.cat(parts, 1).flatten().contiguous()


def noise(rng: np.random.Generator, cells: int, octaves: int = 4, fall: float = 0.55,
          stretch: int = 1) -> NDArray[np.float64]:
    """Periodic smooth noise (256, 256) in 0..1; ``cells`` in the first octave along v."""
    total = np.zeros((SIDE, SIDE))
    weight = 1.0
    for octave in range(octaves):
        n_v = min(cells * 2**octave, SIDE)
        n_u = max(n_v // stretch, 1)
        grid = torch.from_numpy(rng.random((1, 1, n_v, n_u)))
        grid = F.pad(grid, (1, 1, 1, 1), mode="circular")
        scale = (SIDE // n_v * (n_v + 2), max(SIDE // n_u, 1) * (n_u + 2))
        wide = F.interpolate(grid, size=scale, mode="bicubic", align_corners=False)
        top, left = SIDE // n_v, max(SIDE // n_u, 1)
        total += weight * wide[0, 0, top : top + SIDE, left : left + SIDE].numpy()
        weight *= fall
    total -= total.min()
    return total / max(total.max(), 1e-9)


def _color(rng: np.random.Generator, low: float = 0.2, high: float = 0.95,
           saturation: float = 0.5) -> NDArray[np.float64]:
    gray = rng.uniform(low, high)
    return np.clip(gray * (1 + saturation * rng.uniform(-0.6, 0.6, 3)), 0.03, 1.0)


def _picture(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def _blend(mask: NDArray[np.float64], low: NDArray[np.float64],
           high: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + mask[..., None] * (high - low)


def noise_picture(rng: np.random.Generator, plain: bool = False) -> NDArray[np.uint8]:
    """Marble-like noise between two colors, or gray noise where ``plain``."""
    if plain:
        return _picture(np.repeat(noise(rng, 4, 5)[..., None], 3, -1))
    mask = noise(rng, int(rng.choice([2, 4, 8, 16])), 5, rng.uniform(0.5, 0.85))
    if rng.random() < 0.4:
        mask = np.abs(2 * mask - 1) ** 0.6
    return _picture(_blend(mask, _color(rng), _color(rng)))


def _brick_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bricks, tiles or planks: cells with their own brightness, and joints between them."""
    across, down = int(rng.integers(2, 7)), int(rng.integers(2, 11))
    shift = rng.choice([0.0, 0.5, 0.33])
    row = np.floor(_GRID_V * down).astype(int)
    u = _GRID_U * across + shift * (row % (2 if shift == 0.5 else 1))
    cell = (row * across + np.floor(u).astype(int) % across).astype(int)
    tone = rng.uniform(1 - rng.uniform(0.05, 0.5), 1, down * across)[cell]
    joint = rng.uniform(0.02, 0.1)
    fu, fv = np.mod(u, 1), np.mod(_GRID_V * down, 1)
    edge = np.minimum(np.minimum(fu, 1 - fu), np.minimum(fv, 1 - fv) * across / down)
    mask = np.clip((edge - joint / 2) / 0.02, 0, 1)
    grain = 0.75 + 0.25 * noise(rng, 16, 4, 0.8)
    base = _color(rng) * (tone * grain)[..., None]
    return _picture(_blend(mask, np.broadcast_to(_color(rng, 0.1, 0.8), base.shape), base))


def _wood_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    warp = noise(rng, 4, 3, 0.6, stretch=1)
    grain = noise(rng, 64, 3, 0.7, stretch=16)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (_GRID_V * rng.integers(4, 16) + 1.5 * warp))
    dark = np.array([0.35, 0.2, 0.1]) * rng.uniform(0.6, 1.6)
    light = np.array([0.85, 0.65, 0.42]) * rng.uniform(0.6, 1.15)
    return _picture(_blend(np.clip(0.6 * grain + 0.4 * rings * grain + 0.1, 0, 1), dark, light))


def _fabric_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    n = int(rng.choice([16, 32, 64]))
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * _GRID_U * n) + 0.25 * np.sin(2 * np.pi * _GRID_V * n)
    mask = 0.5 * weave * noise(rng, 32, 3, 0.8) + 0.5 * noise(rng, 4, 3)
    if rng.random() < 0.5:
        stripes = int(rng.integers(2, 9))
        bands = rng.random(stripes)[np.floor(_GRID_U * stripes).astype(int)]
        if rng.random() < 0.5:
            bands = 0.5 * bands + 0.5 * rng.random(stripes)[np.floor(_GRID_V * stripes).astype(int)]
        mask = 0.5 * mask + 0.5 * bands
    return _picture(_blend(mask, _color(rng, saturation=1.0), _color(rng, saturation=1.0)))


def _poster_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Flat shapes and lines of text on a background: edges and corners at all scales."""
    picture = np.broadcast_to(_color(rng, 0.3, 1.0, 1.0), (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.5:
        picture = _blend(noise(rng, 2, 5, 0.6), _color(rng, 0.1, 1, 1.2), _color(rng, 0.1, 1, 1.2))
    for _ in range(int(rng.integers(3, 14))):
        u0, v0 = rng.uniform(0, 0.9, 2)
        w, h = rng.uniform(0.05, 0.5, 2)
        color = _color(rng, 0.05, 1.0, 1.2)
        if rng.random() < 0.5:
            inside = (abs(_GRID_U - u0 - w / 2) < w / 2) & (abs(_GRID_V - v0 - h / 2) < h / 2)
        else:
            inside = ((_GRID_U - u0) / w) ** 2 + ((_GRID_V - v0) / h) ** 2 < 0.25
        picture[inside] = color
    _write_lines(rng, picture, int(rng.integers(2, 12)))
    return _picture(picture)


def _paper_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    picture = np.broadcast_to(_color(rng, 0.7, 1.0, 0.3), (SIDE, SIDE, 3)).copy()
    _write_lines(rng, picture, int(rng.integers(10, 26)))
    return _picture(picture)


def _write_lines(rng: np.random.Generator, picture: NDArray[np.float64], lines: int) -> None:
    """Draw lines of letter-like marks into a picture (256, 256, 3)."""
    color = _color(rng, 0.02, 0.4, 1.0)
    for line in range(lines):
        height = int(rng.integers(4, max(5, min(28, 200 // lines))))
        top = int((line + rng.uniform(0.1, 0.5)) * SIDE / lines)
        column, end = int(rng.integers(8, 40)), int(rng.integers(120, 250))
        while column < end:
            width = max(2, int(height * rng.uniform(0.3, 0.8)))
            if rng.random() < 0.83:
                letter = rng.random((3, 2)) < 0.62
                block = np.kron(letter, np.ones((height // 3 + 1, width // 2 + 1)))[:height, :width]
                target = picture[top : top + height, column : column + width]
                target[block[: target.shape[0], : target.shape[1]] > 0] = color
            column += width + max(1, width // 3)


def _leaf_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    mask = noise(rng, 16, 4, 0.9)
    dark = np.array([0.08, 0.2, 0.05]) * rng.uniform(0.6, 1.8)
    light = np.array([0.5, 0.7, 0.25]) * rng.uniform(0.6, 1.3)
    return _picture(_blend(mask**1.5, dark, light))


def _metal_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    brushed = noise(rng, 128, 2, 0.7, stretch=32)
    rust = np.clip(4 * (noise(rng, 4, 5, 0.7) - rng.uniform(0.5, 1.0)), 0, 1)
    base = _color(rng, 0.3, 0.9, 0.3) * (0.85 + 0.15 * brushed)[..., None]
    return _picture(_blend(rust, base, np.array([0.35, 0.18, 0.08]) + 0 * base))


def _sky_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    clouds = np.clip(1.8 * (noise(rng, 4, 5, 0.55) - rng.uniform(0.2, 0.8)), 0, 1)
    blue = np.array([0.5, 0.7, 1.0]) * rng.uniform(0.5, 1.0)
    return _picture(_blend(clouds, blue, np.ones(3) * rng.uniform(0.8, 1.0)))


def _wall_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    choice = rng.random()
    if choice < 0.35:
        return _brick_picture(rng)
    if choice < 0.5:
        return _fabric_picture(rng)
    fine = noise(rng, 32, 3, 0.9)
    stains = noise(rng, 2, 4, 0.6)
    tone = 1 - 0.12 * fine - 0.25 * stains
    return _picture(_color(rng, 0.6, 1.0, 0.3) * tone[..., None])


def _floor_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    choice = rng.random()
    if choice < 0.45:
        return _brick_picture(rng)
    return _wood_picture(rng) if choice < 0.75 else _fabric_picture(rng)


_MAKERS = {
    "wall": _wall_picture, "floor": _floor_picture, "wood": _wood_picture,
    "fabric": _fabric_picture, "stone": noise_picture, "poster": _poster_picture,
    "paper": _paper_picture, "leaf": _leaf_picture, "metal": _metal_picture, "sky": _sky_picture,
}
