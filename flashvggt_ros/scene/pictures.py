"""Procedural pictures of surfaces, (256, 256, 3) uint8 each: walls, wood, facades, books, skies."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

SIDE = 256
grid_V, grid_U = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")


def noise(rng: np.random.Generator, cells: int, octaves: int = 4, fall: float = 0.55,
          stretch: int = 1) -> NDArray[np.float64]:
    """Periodic smooth noise (256, 256) in 0..1; ``cells`` in the first octave along v."""
    total = np.zeros((SIDE, SIDE))
    weight = 1.0
    for octave in range(octaves):
        n_v = min(cells * 2**octave, SIDE)
        n_u = max(n_v // stretch, 1)
        grid = torch.from_numpy(rng.random((1, 1, n_v, n_u), np.float32))
        grid = F.pad(grid, (1, 1, 1, 1), mode="circular")
        scale = (SIDE // n_v * (n_v + 2), max(SIDE // n_u, 1) * (n_u + 2))
        wide = F.interpolate(grid, size=scale, mode="bicubic", align_corners=False)
        top, left = SIDE // n_v, max(SIDE // n_u, 1)
        total += weight * wide[0, 0, top : top + SIDE, left : left + SIDE].numpy()
        weight *= fall
    total -= total.min()
    return total / max(total.max(), 1e-9)


def mixed_color(rng: np.random.Generator, low: float = 0.2, high: float = 0.95,
                saturation: float = 0.5) -> NDArray[np.float64]:
    """Return a color (3,) around a gray of ``low`` to ``high``, tinted by ``saturation``."""
    gray = rng.uniform(low, high)
    return np.clip(gray * (1 + saturation * rng.uniform(-0.6, 0.6, 3)), 0.03, 1.0)


def as_picture(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return values in 0..1 as bytes."""
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def blend(mask: NDArray[np.float64], low: NDArray[np.float64],
          high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix colors (3,) or pictures (256, 256, 3) by a mask (256, 256): 0 low, 1 high."""
    return low + mask[..., None] * (high - low)


def noise_picture(rng: np.random.Generator, plain: bool = False) -> NDArray[np.uint8]:
    """Marble-like noise between two colors, or gray noise where ``plain``."""
    if plain:
        return as_picture(np.repeat(noise(rng, 4, 5)[..., None], 3, -1))
    mask = noise(rng, int(rng.choice([2, 4, 8, 16])), 5, rng.uniform(0.5, 0.85))
    if rng.random() < 0.4:
        mask = np.abs(2 * mask - 1) ** 0.6
    return as_picture(blend(mask, mixed_color(rng), mixed_color(rng)))


def brick_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bricks, tiles or planks: cells with their own brightness, and joints between them."""
    across, down = int(rng.integers(2, 7)), int(rng.integers(2, 11))
    shift = rng.choice([0.0, 0.5, 0.33])
    row = np.floor(grid_V * down).astype(int)
    u = grid_U * across + shift * (row % (2 if shift == 0.5 else 1))
    cell = (row * across + np.floor(u).astype(int) % across).astype(int)
    tone = rng.uniform(1 - rng.uniform(0.05, 0.5), 1, down * across)[cell]
    joint = rng.uniform(0.02, 0.1)
    fu, fv = np.mod(u, 1), np.mod(grid_V * down, 1)
    edge = np.minimum(np.minimum(fu, 1 - fu), np.minimum(fv, 1 - fv) * across / down)
    mask = np.clip((edge - joint / 2) / 0.02, 0, 1)
    grain = 0.75 + 0.25 * noise(rng, 16, 4, 0.8)
    base = mixed_color(rng) * (tone * grain)[..., None]
    return as_picture(blend(mask, np.broadcast_to(mixed_color(rng, 0.1, 0.8), base.shape), base))


def wood_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Wood grain along u."""
    warp = noise(rng, 4, 3, 0.6, stretch=1)
    grain = noise(rng, 64, 3, 0.7, stretch=16)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (grid_V * rng.integers(4, 16) + 1.5 * warp))
    pale = rng.uniform(0, 0.35)  # from oak and walnut to beech and gray, worn boards
    dark = (np.array([0.35, 0.2, 0.1]) + 0.8 * pale) * rng.uniform(0.6, 1.6)
    light = (np.array([0.85, 0.65, 0.42]) + 0.6 * pale) * rng.uniform(0.6, 1.15)
    return as_picture(blend(np.clip(0.6 * grain + 0.4 * rings * grain + 0.1, 0, 1), dark, light))


def fabric_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Woven cloth of two colors, often striped."""
    n = int(rng.choice([16, 32, 64]))
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * grid_U * n) + 0.25 * np.sin(2 * np.pi * grid_V * n)
    mask = 0.5 * weave * noise(rng, 32, 3, 0.8) + 0.5 * noise(rng, 4, 3)
    if rng.random() < 0.5:
        stripes = int(rng.integers(2, 9))
        bands = rng.random(stripes)[np.floor(grid_U * stripes).astype(int)]
        if rng.random() < 0.5:
            bands = 0.5 * bands + 0.5 * rng.random(stripes)[np.floor(grid_V * stripes).astype(int)]
        mask = 0.5 * mask + 0.5 * bands
    colors = [mixed_color(rng, saturation=1.0) for _ in range(2)]
    return as_picture(blend(mask, *colors))


def poster_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Flat shapes and lines of text on a background: edges and corners at all scales."""
    picture = np.broadcast_to(mixed_color(rng, 0.3, 1.0, 1.0), (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.5:
        colors = [mixed_color(rng, 0.1, 1, 1.2) for _ in range(2)]
        picture = blend(noise(rng, 2, 5, 0.6), *colors)
    for _ in range(int(rng.integers(3, 14))):
        u0, v0 = rng.uniform(0, 0.9, 2)
        w, h = rng.uniform(0.05, 0.5, 2)
        color = mixed_color(rng, 0.05, 1.0, 1.2)
        if rng.random() < 0.5:
            inside = (abs(grid_U - u0 - w / 2) < w / 2) & (abs(grid_V - v0 - h / 2) < h / 2)
        else:
            inside = ((grid_U - u0) / w) ** 2 + ((grid_V - v0) / h) ** 2 < 0.25
        picture[inside] = color
    write_lines(rng, picture, int(rng.integers(2, 12)))
    return as_picture(picture)


def paper_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A page of text."""
    picture = np.broadcast_to(mixed_color(rng, 0.7, 1.0, 0.3), (SIDE, SIDE, 3)).copy()
    write_lines(rng, picture, int(rng.integers(10, 26)))
    return as_picture(picture)


def write_lines(rng: np.random.Generator, picture: NDArray[np.float64], lines: int) -> None:
    """Draw lines of letter-like marks into a picture (256, 256, 3)."""
    color = mixed_color(rng, 0.02, 0.4, 1.0)
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


def leaf_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Leaves: fine green noise."""
    mask = noise(rng, 16, 4, 0.9)
    dark = np.array([0.1, 0.18, 0.07]) * rng.uniform(0.6, 1.8)
    light = np.array([0.5, 0.6, 0.3]) * rng.uniform(0.6, 1.3)
    return as_picture(blend(mask**1.5, dark, light))


def metal_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brushed metal, often with rust."""
    brushed = noise(rng, 128, 2, 0.7, stretch=32)
    rust = np.clip(4 * (noise(rng, 4, 5, 0.7) - rng.uniform(0.5, 1.0)), 0, 1)
    base = mixed_color(rng, 0.3, 0.9, 0.3) * (0.85 + 0.15 * brushed)[..., None]
    return as_picture(blend(rust, base, np.array([0.35, 0.18, 0.08]) + 0 * base))




def wall_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Plaster or paint: fine grain and stains."""
    fine = noise(rng, 32, 3, 0.9)
    stains = noise(rng, 2, 4, 0.6)
    tone = 1 - rng.uniform(0.02, 0.15) * fine - rng.uniform(0.05, 0.3) * stains
    return as_picture(mixed_color(rng, 0.75, 1.0, 0.1) * tone[..., None])


def tile_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Square tiles of one color with thin joints."""
    count = int(rng.integers(2, 7))
    fu, fv = np.mod(grid_U * count, 1), np.mod(grid_V * count, 1)
    edge = np.minimum(np.minimum(fu, 1 - fu), np.minimum(fv, 1 - fv))
    mask = np.clip((edge - rng.uniform(0.01, 0.05)) / 0.02, 0, 1)
    cell = (np.floor(grid_U * count) + count * np.floor(grid_V * count)).astype(int)
    tone = rng.uniform(1 - rng.uniform(0, 0.2), 1, count * count)[cell]
    if rng.random() < 0.2:
        tone = np.where((cell // count + cell) % 2 == 0, tone, 0.4 * tone)
    base = mixed_color(rng, 0.5, 1.0, 0.2) * (tone * (0.9 + 0.1 * noise(rng, 8, 4)))[..., None]
    joint = np.broadcast_to(mixed_color(rng, 0.2, 0.8, 0.1), base.shape)
    return as_picture(blend(mask, joint, base))


def plank_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Floor boards: wood grain, each board of its own tone and place in the grain."""
    boards, ends = int(rng.integers(3, 9)), int(rng.integers(1, 3))
    grain = wood_picture(rng).astype(np.float64) / 255
    row = np.floor(grid_V * boards).astype(int)
    shift = rng.random(boards)
    along = np.mod(grid_U + shift[row], 1)
    tone = rng.uniform(1 - rng.uniform(0.05, 0.4), 1.1, (boards, ends))
    tone = tone[row, np.floor(along * ends).astype(int)]
    moved = grain[(np.arange(SIDE)[:, None] + 37 * row) % SIDE, (along * SIDE).astype(int) % SIDE]
    fv, fu = np.mod(grid_V * boards, 1), np.mod(along * ends, 1)
    joint = (np.minimum(fv, 1 - fv) < 0.03) | (np.minimum(fu, 1 - fu) < 0.006 * ends)
    return as_picture(moved * (tone * np.where(joint, rng.uniform(0.3, 0.8), 1))[..., None])


def concrete_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Concrete or stucco: gray blotches, pores and sometimes seams."""
    tone = 0.75 + 0.2 * noise(rng, 4, 6, 0.7) - 0.12 * (noise(rng, 64, 2, 0.8) > 0.75)
    if rng.random() < 0.4:
        n = int(rng.integers(1, 4))
        tone = tone * np.where(np.mod(grid_U * n, 1) < 0.012 * n, 0.6, 1)
        tone = tone * np.where(np.mod(grid_V * n, 1) < 0.012 * n, 0.6, 1)
    return as_picture(mixed_color(rng, 0.6, 1.0, 0.15) * tone[..., None])


def asphalt_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A road surface: grains, worn bands, darker patches and cracks."""
    grains = noise(rng, 128, 2, 0.9)
    worn = noise(rng, 2, 4, 0.6)
    tone = 0.55 + 0.25 * grains + 0.2 * worn
    if rng.random() < 0.6:
        crack = abs(noise(rng, 4, 5, 0.6) - 0.5) < 0.006
        tone = np.where(crack, 0.4 * tone, tone)
    if rng.random() < 0.4:
        u, v, w, h = rng.uniform(0, 0.6), rng.uniform(0, 0.6), *rng.uniform(0.1, 0.4, 2)
        inside = (grid_U > u) & (grid_U < u + w) & (grid_V > v) & (grid_V < v + h)
        tone = np.where(inside, rng.uniform(0.6, 0.9) * tone, tone)
    return as_picture(mixed_color(rng, 0.6, 0.9, 0.08) * tone[..., None])


def grass_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A lawn: fine blades, dry and bare spots."""
    dark = np.array([0.2, 0.26, 0.12]) * rng.uniform(0.7, 1.5)
    light = np.array([0.5, 0.56, 0.32]) * rng.uniform(0.7, 1.2)
    picture = blend(0.7 * noise(rng, 64, 3, 0.9) + 0.3 * noise(rng, 4, 3), dark, light)
    bare = np.clip(3 * (noise(rng, 4, 5, 0.65) - rng.uniform(0.5, 1.0)), 0, 1)
    return as_picture(blend(bare, picture, np.array([0.6, 0.52, 0.36]) + 0 * picture))


def ground_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Earth, sand or gravel."""
    mask = 0.5 * noise(rng, 64, 3, 0.9) + 0.5 * noise(rng, 4, 4, 0.6)
    brown = np.array([0.55, 0.45, 0.34]) * rng.uniform(0.7, 1.4)
    return as_picture(blend(mask, brown * rng.uniform(0.35, 0.7), brown))


def carpet_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain carpet: speckles, and faint squares where it is laid in tiles."""
    tone = 0.6 + 0.4 * noise(rng, 128, 2, 0.9) - 0.15 * noise(rng, 4, 3)
    if rng.random() < 0.5:
        side = (np.floor(grid_U * 2) + np.floor(grid_V * 2)) % 2
        tone = tone * (1 - rng.uniform(0, 0.15) * side)
    return as_picture(mixed_color(rng, 0.7, 1.0, 0.1) * tone[..., None])
