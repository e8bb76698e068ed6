"""What hangs on or stands at walls and ceilings; origin on the floor at the wall, room at +y."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flashvggt_ros.scene import clutter
from flashvggt_ros.scene.parts import Thing, between, box, moved, rod

Maker = Callable[[np.random.Generator, float], Thing]  # of the ceiling's height [m]


def poster(rng: np.random.Generator, height: float) -> Thing:
    """A picture, sheet, board or map, often framed."""
    w, h = rng.uniform(0.1, 0.5), rng.uniform(0.12, 0.45)
    z = min(rng.uniform(1.3, 1.7), height - h - 0.1)
    surface = "poster" if rng.random() < 0.6 else "paper"
    parts = [box(0, 0, z, w, 0.008, h, surface, scale=-1.0)]
    if rng.random() < 0.5:
        parts.append(box(0, 0, z, w + 0.02, 0.006, h + 0.02, "wood:frame"))
    return parts


def papers(rng: np.random.Generator, height: float) -> Thing:
    """Several sheets pinned up, or a white board with a few."""
    parts: Thing = []
    for _ in range(int(rng.integers(2, 6))):
        parts.append(box(rng.uniform(-0.5, 0.5), 0.004, rng.uniform(1.2, 1.8), 0.1, 0.004, 0.14,
                         "paper", scale=-1.0))
    if rng.random() < 0.4:
        parts.append(box(0, 0, 1.5, 0.7, 0.004, 0.5, "lamp"))
    return parts


def window(rng: np.random.Generator, height: float) -> Thing:
    """A window: bright pane or a view, frame, bars, sill, maybe radiator and curtains."""
    w, h = rng.uniform(0.35, 1.0), rng.uniform(0.4, 0.75)
    z = min(rng.uniform(1.4, 1.7), height - h - 0.1)
    parts: Thing = [_pane(rng, z, w, h)]
    for side in (-1, 1):
        parts += [box(side * w, 0.02, z, 0.03, 0.03, h + 0.03, "painted:frame"),
                  box(0, 0.02, z + side * h, w, 0.03, 0.03, "painted:frame")]
    bars = int(rng.integers(1, 4))
    parts += [box(-w + 2 * w * (bar + 1) / (bars + 1), 0.02, z, 0.018, 0.025, h, "painted:frame")
              for bar in range(bars)]
    if rng.random() < 0.4:
        parts.append(box(0, 0.02, z + 0.3 * h, w, 0.025, 0.015, "painted:frame"))
    parts.append(box(0, 0.08, z - h - 0.04, w + 0.06, 0.1, 0.015, "painted:sill"))
    if rng.random() < 0.5:
        parts += radiator(rng, height)
    if rng.random() < 0.4:
        parts += _curtains(rng, w, min(z + h + 0.15, height - 0.02))
    if rng.random() < 0.4:
        parts += clutter.strewn(rng, clutter.ON_COUNTER, 2, w, 0.08, z - h - 0.02)
    return parts


def _pane(rng: np.random.Generator, z: float, w: float, h: float) -> Any:
    power = float(rng.uniform(0.8, 5.0))
    color = (power, power, power * float(rng.uniform(0.95, 1.1)))
    surface = "view" if rng.random() < 0.6 else "lamp"
    return box(0, 0, z, w, 0.012, h, surface, scale=-1.0, emission=1.0, tint=color, macro=0.0,
               gloss=0.0)


def _curtains(rng: np.random.Generator, w: float, top: float) -> Thing:
    """A rod and two curtains in folds."""
    parts: Thing = [between((-w - 0.3, 0.12, top), (w + 0.3, 0.12, top), 0.012, "metal:rail")]
    low = rng.uniform(0.05, 0.8)
    for side in (-1, 1):
        for fold in range(3):
            x = side * (w + 0.22 - 0.11 * fold)
            parts.append(rod(x, 0.12 + 0.02 * (fold % 2), (top + low) / 2, 0.06, (top - low) / 2,
                             "fabric:curtain"))
    return parts


def radiator(rng: np.random.Generator, height: float) -> Thing:
    """A ribbed radiator with its pipes."""
    w, h = rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.35)
    z = 0.12 + h
    return [box(0, 0.08, z, w, 0.04, h, "ribs", contrast=0.9, tint=(1.3, 1.3, 1.25)),
            box(0, 0.08, z + h, w, 0.045, 0.012, "painted:radiator"),
            rod(w + 0.06, 0.06, z / 2, 0.012, z / 2, "painted:radiator")]


def door(rng: np.random.Generator, height: float) -> Thing:
    """A closed door with frame and handle."""
    w, h = rng.uniform(0.38, 0.5), min(rng.uniform(1.95, 2.15), height - 0.1) / 2
    side = float(rng.choice([-1, 1]))
    parts = [box(0, 0.01, h, w, 0.015, h, "door:leaf", scale=-1.0),
             box(0, 0.01, 2 * h + 0.03, w + 0.07, 0.03, 0.035, "painted:frame"),
             between((side * 0.8 * w, 0.06, 1.03), (side * 0.55 * w, 0.06, 1.03), 0.01, "metal",
                     gloss=0.6),
             rod(side * 0.8 * w, 0.03, 1.0, 0.02, 0.08, "metal", gloss=0.5)]
    parts += [box(s * (w + 0.035), 0.01, h, 0.035, 0.03, h, "painted:frame") for s in (-1, 1)]
    if rng.random() < 0.3:
        parts.append(box(0, 0.028, 1.5, 0.1, 0.002, 0.14, "paper", scale=-1.0))
    return parts


def board(rng: np.random.Generator, height: float) -> Thing:
    """A shelf on the wall with books and things."""
    w, z = rng.uniform(0.3, 0.7), rng.uniform(1.2, 1.8)
    parts = [box(0, 0.12, z, w, 0.12, 0.012, "wood")]
    row = clutter.book_row(rng, rng.uniform(0.5, 1.2) * w, 0.26, 0.2, int(rng.integers(4, 10)))
    parts += moved(row, -0.3 * w, 0.12, z + 0.012)
    return parts + clutter.strewn(rng, clutter.ON_COUNTER, 1, 0.5 * w, 0.1, z + 0.012)


def switches(rng: np.random.Generator, height: float) -> Thing:
    """Light switch, socket, cable duct: small plain boxes."""
    parts = [box(0, 0.01, 1.1, 0.04, 0.012, 0.04, "painted:switch"),
             box(rng.normal(0, 0.5), 0.01, 0.3, 0.08, 0.012, 0.04, "painted:switch")]
    if rng.random() < 0.5:
        parts.append(box(0, 0.02, rng.uniform(0.8, 1.0), rng.uniform(0.5, 1.5), 0.025, 0.04,
                         "painted:switch"))
    return parts


def pipes(rng: np.random.Generator, height: float) -> Thing:
    """Pipes along the wall and up."""
    parts: Thing = []
    for number in range(int(rng.integers(1, 4))):
        z, w = rng.uniform(0.1, height - 0.1), rng.uniform(0.4, 2.0)
        parts.append(between((-w, 0.06, z), (w, 0.06, z), rng.uniform(0.015, 0.06),
                             f"metal:{number}"))
        parts.append(between((w, 0.06, z), (w, 0.06, 0 if number % 2 else height), 0.02,
                             f"metal:{number}"))
    return parts


def ceiling_lamps(rng: np.random.Generator, hx: float, hy: float, height: float) -> Thing:
    """Lit panels, tubes or hanging globes below the ceiling."""
    kind = rng.random()
    power = float(rng.uniform(1.5, 8.0))
    glow: dict[str, Any] = {"emission": 1.0, "tint": (power, power, 0.92 * power), "macro": 0.0}
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    parts: Thing = []
    for x in np.linspace(-0.6, 0.6, rows) * hx * (rows > 1):
        for y in np.linspace(-0.5, 0.5, columns) * hy * (columns > 1):
            if kind < 0.4:
                parts.append(box(x, y, height, 0.3, 0.3, 0.02, "lamp", **glow))
            elif kind < 0.7:
                parts += [box(x, y, height - 0.03, 0.6, 0.06, 0.03, "painted:lamp"),
                          between((x - 0.58, y, height - 0.07), (x + 0.58, y, height - 0.07), 0.02,
                                  "lamp", **glow)]
            else:
                drop = rng.uniform(0.1, 0.7)
                parts += [rod(x, y, height - drop / 2, 0.006, drop / 2, "dark"),
                          rod(x, y, height - drop - 0.05, 0.15, 0.06, "lamp", **glow)]
    return parts


ON_WALL: tuple[Maker, ...] = (poster, poster, poster, papers, window, window, door, board, switches,
                              radiator)
ON_HALL_WALL: tuple[Maker, ...] = (pipes, pipes, poster, switches, window, door)
