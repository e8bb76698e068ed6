"""Procedural pictures of made things: facades, doors, books, screens, window views, skies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene.pictures import (
    SIDE,
    as_picture,
    blend,
    brick_picture,
    grid_U,
    grid_V,
    mixed_color,
    noise,
    wall_picture,
    write_lines,
)

FACADE_CELLS = 3  # windows across and above each other in one facade picture

Array = NDArray[np.float64]


def _inside(u0: float, v0: float, u1: float, v1: float) -> NDArray[np.bool_]:
    return (grid_U >= u0) & (grid_U < u1) & (grid_V >= v0) & (grid_V < v1)


def facade_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """FACADE_CELLS x FACADE_CELLS windows with frames, bars and sills in plaster or brick."""
    n = FACADE_CELLS
    maker = brick_picture if rng.random() < 0.3 else wall_picture
    picture = maker(rng).astype(np.float64) / 255
    if maker is brick_picture:
        picture = np.tile(picture[::2, ::2], (2, 2, 1))
    u, v = np.mod(grid_U * n, 1), np.mod(grid_V * n, 1)
    w, top, bottom = rng.uniform(0.15, 0.42), rng.uniform(0.1, 0.25), rng.uniform(0.6, 0.85)
    if rng.random() < 0.2:
        w = 0.47  # ribbon windows
    x, is_tall = abs(u - 0.5), (v > top) & (v < bottom)
    frame = mixed_color(rng, 0.2, 1.0, 0.2)
    picture[(x < w + 0.03) & (v > top - 0.03) & (v < bottom + 0.03)] = frame
    cell = (np.floor(grid_U * n) + n * np.floor(grid_V * n)).astype(int)
    glass = rng.uniform(0.1, 0.55, n * n)[cell] * (1.2 - 0.8 * (v - top) / (bottom - top))
    glass = np.where(rng.random(n * n)[cell] < 0.25, 0.75 * (v < rng.uniform(top, bottom)) + 0.15,
                     glass)  # a blind or curtain
    tint = np.array([0.85, 0.95, 1.05])
    inner = (x < w) & is_tall
    picture[inner] = (glass[..., None] * tint)[inner]
    bars = int(rng.integers(1, 4))
    bar = (abs(np.mod((u - 0.5 + w) / (2 * w) * bars, 1) - 0.5) > 0.5 - 0.04 * bars) & inner
    if rng.random() < 0.5:
        bar |= (abs(v - top - rng.uniform(0.25, 0.6) * (bottom - top)) < 0.015) & inner
    picture[bar] = frame
    if rng.random() < 0.6:
        picture[(x < w + 0.06) & (v > bottom + 0.02) & (v < bottom + 0.06)] = mixed_color(rng)
    if rng.random() < 0.3:
        picture[v > rng.uniform(0.9, 0.97)] = mixed_color(rng)
    return as_picture(picture)


def ribs_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Upright ribs: radiators, roller shutters, corrugated metal, fences of boards."""
    n = int(rng.choice([8, 16, 24]))
    u = np.mod(grid_U * n, 1)
    tone = np.where(u < rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.7), 1 - 0.15 * u)
    tone = tone * (1 - 0.1 * noise(rng, 4, 4))
    return as_picture(mixed_color(rng, 0.8, 1.0, 0.05) * tone[..., None])


def door_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A door leaf or a front of a cupboard: panels or none."""
    tone = 1 - 0.06 * noise(rng, 64, 2, 0.8, stretch=16)
    if rng.random() < 0.6:
        rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        u, v = np.mod(grid_U * columns, 1), np.mod(grid_V * rows, 1)
        edge = np.minimum(np.minimum(u, 1 - u) / columns, np.minimum(v, 1 - v) / rows)
        line = abs(edge - 0.05) < 0.008
        tone = tone * np.where(line, rng.uniform(0.4, 0.8), 1)
    return as_picture(mixed_color(rng, 0.8, 1.0, 0.1) * tone[..., None])


def book_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A cover, carton or label: one color, bands, a spot like a photo, a few lines of text."""
    picture = np.broadcast_to(mixed_color(rng, 0.1, 1.0, 1.4), (SIDE, SIDE, 3)).copy()
    for _ in range(int(rng.integers(0, 4))):
        low = rng.uniform(0, 0.9)
        picture[_inside(0, low, 1, low + rng.uniform(0.03, 0.3))] = mixed_color(rng, 0.1, 1, 1.4)
    if rng.random() < 0.4:
        u, v = rng.uniform(0.05, 0.3, 2)
        spot = _inside(u, v, u + rng.uniform(0.3, 0.6), v + rng.uniform(0.2, 0.5))
        mask = noise(rng, 4, 5, 0.7)
        picture[spot] = blend(mask, mixed_color(rng, 0, 0.6, 1), mixed_color(rng, 0.4, 1, 1))[spot]
    write_lines(rng, picture, int(rng.integers(2, 7)))
    return as_picture(picture)


def keyboard_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Six rows of keys."""
    is_dark = rng.random() < 0.6
    base, key = (0.12, 0.22) if is_dark else (0.7, 0.92)
    u, v = np.mod(grid_U * 18, 1), np.mod(grid_V * 6, 1)
    is_key = (abs(u - 0.5) < 0.4) & (abs(v - 0.5) < 0.4)
    is_key |= (grid_V > 5 / 6) & (grid_U > 0.25) & (grid_U < 0.6) & (abs(v - 0.5) < 0.4)
    is_key &= ~((grid_U > 0.76) & (grid_U < 0.79))
    mark = (abs(u - 0.4) < 0.12) & (abs(v - 0.4) < 0.12)
    tone = np.where(is_key, key, base)
    tone = np.where(is_key & mark, 0.9 - 0.8 * key, tone)
    return as_picture(np.repeat(tone[..., None], 3, -1))


def screen_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A lit screen: windows with text on a background."""
    picture = np.broadcast_to(mixed_color(rng, 0.02, 0.6, 1.0), (SIDE, SIDE, 3)).copy()
    for _ in range(int(rng.integers(1, 4))):
        u, v = rng.uniform(0, 0.5, 2)
        w, h = rng.uniform(0.3, 0.6, 2)
        pane = np.broadcast_to(0.95 if rng.random() < 0.6 else 0.12, (SIDE, SIDE, 3)).copy()
        write_lines(rng, pane, int(rng.integers(8, 20)))
        inside = _inside(u, v, u + w, v + h)
        picture[inside] = pane[inside]
        picture[_inside(u, v, u + w, v + 0.03)] = mixed_color(rng, 0.2, 0.8, 1.2)
    return as_picture(picture)


def view_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a window shows: sky, a far house, trees; all bright."""
    picture = sky_picture(rng).astype(np.float64) / 255
    if rng.random() < 0.7:
        u, v = rng.uniform(-0.2, 0.7), rng.uniform(0.1, 0.6)
        house = facade_picture(rng).astype(np.float64) / 255
        inside = _inside(u, v, u + rng.uniform(0.3, 0.8), 1)
        picture[inside] = house[inside]
    edge = rng.uniform(0.3, 0.9) + 0.3 * (noise(rng, 8, 4, 0.7)[0] - 0.5)
    green = blend(noise(rng, 16, 4, 0.9), np.array([0.1, 0.2, 0.06]), np.array([0.55, 0.7, 0.35]))
    is_tree = grid_V > edge[None, :]
    picture[is_tree] = green[is_tree]
    return as_picture(0.25 + 0.75 * picture)


def sky_picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A sky: paler towards the horizon (below), with clouds or overcast."""
    fall = grid_V ** rng.uniform(0.5, 2.0)
    blue = np.array([0.42, 0.62, 0.95]) * rng.uniform(0.7, 1.05)
    picture = blend(fall, blue, np.array([0.85, 0.92, 1.0]))
    clouds = np.clip(rng.uniform(1, 3) * (noise(rng, 4, 5, 0.6) - rng.uniform(0.1, 0.9)), 0, 1)
    picture = blend(clouds, picture, np.ones(3) * rng.uniform(0.75, 1.0))
    if rng.random() < 0.35:
        gray = 0.85 + 0.15 * noise(rng, 2, 4, 0.6)
        picture = blend(np.full((SIDE, SIDE), rng.uniform(0.6, 1.0)), picture, gray[..., None])
    return as_picture(picture)
