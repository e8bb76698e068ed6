"""Things that stand in a scene, each a group of primitives in meters, z up, origin on the floor.

Every function returns parts ``(kind, center, half, texture kind, options)`` in the thing's own
frame; ``layout`` places them in the world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flashvggt_ros.scene.primitives import BOX, CYLINDER, ELLIPSOID


class Part(NamedTuple):
    """One primitive of a thing: where it is [m], what its surface is, how it is textured."""

    kind: float
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    surface: str
    options: dict[str, Any]


Thing = list[Part]


def _box(x: float, y: float, z: float, hx: float, hy: float, hz: float, surface: str,
         **options: Any) -> Part:
    return Part(BOX, (x, y, z), (hx, hy, hz), surface, options)


def _rod(x: float, y: float, z: float, radius: float, hz: float, surface: str,
         **options: Any) -> Part:
    return Part(CYLINDER, (x, y, z), (radius, radius, hz), surface, options)


def _ball(x: float, y: float, z: float, rx: float, ry: float, rz: float, surface: str,
          **options: Any) -> Part:
    return Part(ELLIPSOID, (x, y, z), (rx, ry, rz), surface, options)


def table(rng: np.random.Generator) -> Thing:
    """A table or desk with four legs, and often something on it."""
    hx, hy, h = rng.uniform(0.4, 0.95), rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.8)
    leg = rng.uniform(0.02, 0.045)
    parts = [_box(0, 0, h, hx, hy, 0.02, "wood", gloss=0.1)]
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(_box(sx * (hx - leg), sy * (hy - leg), h / 2, leg, leg, h / 2 - 0.02,
                              "wood", contrast=0.6))
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(-0.7, 0.7) * hx, rng.uniform(-0.6, 0.6) * hy
        parts.append(_small_thing(rng, x, y, h + 0.02))
    return parts


def _small_thing(rng: np.random.Generator, x: float, y: float, z: float) -> Part:
    choice = rng.random()
    if choice < 0.3:
        r = rng.uniform(0.03, 0.08)
        h = rng.uniform(0.04, 0.15)
        return _rod(x, y, z + h, r, h, "poster", scale=-1.0, gloss=0.2)
    if choice < 0.45:
        r = rng.uniform(0.04, 0.12)
        return _ball(x, y, z + r, r, r, r, "fabric", scale=3.0)
    if choice < 0.7:
        h = rng.uniform(0.01, 0.05)
        return _box(x, y, z + h, rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.2), h, "paper",
                    scale=-1.0)
    if choice < 0.85:
        return _box(x, y, z + 0.2, 0.25, 0.02, 0.17, "poster", scale=-1.0, emission=0.2)
    h = rng.uniform(0.05, 0.2)
    return _box(x, y, z + h, rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2), h, "poster",
                scale=-1.0)


def chair(rng: np.random.Generator) -> Thing:
    """A chair: seat, back, four legs or one pole."""
    h, s = rng.uniform(0.4, 0.5), rng.uniform(0.2, 0.27)
    surface = "fabric" if rng.random() < 0.6 else "wood"
    parts = [_box(0, 0, h, s, s, 0.03, surface, scale=1.5),
             _box(0, -s, h + 0.28, s, 0.025, 0.25, surface, scale=1.5)]
    if rng.random() < 0.4:
        return [*parts, _rod(0, 0, h / 2, 0.03, h / 2, "metal"), _rod(0, 0, 0.02, 0.25, 0.02,
                                                                     "metal")]
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(_rod(sx * (s - 0.02), sy * (s - 0.02), h / 2, 0.018, h / 2, "metal"))
    return parts


def shelf(rng: np.random.Generator) -> Thing:
    """A bookcase: sides, boards and rows of books."""
    hx, hy, h = rng.uniform(0.35, 0.7), rng.uniform(0.12, 0.2), rng.uniform(0.9, 2.1)
    boards = int(rng.integers(2, 5))
    parts = [_box(sx * hx, 0, h / 2, 0.015, hy, h / 2, "wood") for sx in (-1, 1)]
    parts.append(_box(0, -hy, h / 2, hx, 0.01, h / 2, "wood"))
    gap = h / boards
    for board in range(boards):
        z = board * gap
        parts.append(_box(0, 0, z + 0.02, hx, hy, 0.012, "wood"))
        if rng.random() < 0.8:
            w, b = rng.uniform(0.3, 0.95) * hx, gap * rng.uniform(0.25, 0.42)
            x = rng.uniform(-1, 1) * (hx - w)
            parts.append(_box(x, -0.1 * hy, z + 0.03 + b, w, 0.7 * hy, b, "paper",
                              scale=rng.uniform(1.0, 3.0)))
    return parts


def cabinet(rng: np.random.Generator) -> Thing:
    """A cupboard, counter or machine: a body with fronts and knobs."""
    hx, hy, h = rng.uniform(0.3, 1.0), rng.uniform(0.2, 0.35), rng.uniform(0.5, 1.9)
    surface = str(rng.choice(["wood", "metal", "wall"]))
    plain = rng.uniform(0.1, 1.0)
    parts = [_box(0, 0, h / 2, hx, hy, h / 2, surface, contrast=plain, gloss=0.1)]
    doors = int(rng.integers(1, 4))
    for door in range(doors):
        w = hx / doors
        x = -hx + (2 * door + 1) * w
        parts.append(_box(x, hy + 0.01, h / 2, 0.93 * w, 0.012, 0.46 * h, surface, contrast=plain,
                          gloss=0.15))
        parts.append(_rod(x + 0.7 * w, hy + 0.03, h / 2, 0.02, 0.05, "metal", gloss=0.5))
    if rng.random() < 0.5:
        parts.append(_small_thing(rng, rng.uniform(-0.6, 0.6) * hx, 0.0, h))
    return parts


def sofa(rng: np.random.Generator) -> Thing:
    """A sofa or an armchair with cushions."""
    hx, hy = rng.uniform(0.4, 1.1), rng.uniform(0.35, 0.45)
    look = {"scale": float(rng.uniform(0.5, 2.0)), "contrast": float(rng.uniform(0.3, 1.0))}
    parts = [_box(0, 0, 0.2, hx, hy, 0.2, "fabric", **look),
             _box(0, -hy, 0.4, hx, 0.1, 0.4, "fabric", **look)]
    parts += [_box(sx * hx, 0, 0.3, 0.1, hy, 0.3, "fabric", **look) for sx in (-1, 1)]
    for _ in range(int(rng.integers(0, 3))):
        parts.append(_ball(rng.uniform(-0.7, 0.7) * hx, -0.5 * hy, 0.52, 0.2, 0.1, 0.17, "fabric",
                           scale=2.0))
    return parts


def bed(rng: np.random.Generator) -> Thing:
    """A bed with pillow and blanket."""
    hx, hy = rng.uniform(0.4, 0.9), 1.0
    return [_box(0, 0, 0.15, hx, hy, 0.15, "wood"),
            _box(0, 0, 0.37, hx - 0.02, hy - 0.02, 0.08, "fabric", contrast=0.3),
            _box(0, 0.25, 0.42, hx + 0.01, 0.7, 0.06, "fabric", scale=0.8),
            _ball(0, -0.75, 0.5, 0.8 * hx, 0.2, 0.1, "fabric", contrast=0.3)]


def lamp(rng: np.random.Generator) -> Thing:
    """A standing lamp."""
    h = rng.uniform(1.2, 1.8)
    return [_rod(0, 0, 0.02, 0.15, 0.02, "metal"), _rod(0, 0, h / 2, 0.015, h / 2, "metal"),
            _rod(0, 0, h, rng.uniform(0.12, 0.25), 0.15, "paper", emission=0.8, contrast=0.2)]


def plant(rng: np.random.Generator) -> Thing:
    """A potted plant."""
    r, h = rng.uniform(0.1, 0.25), rng.uniform(0.3, 1.2)
    parts = [_rod(0, 0, r, r, r, "stone"), _rod(0, 0, h / 2 + r, 0.02, h / 2, "wood")]
    for _ in range(int(rng.integers(1, 5))):
        s = rng.uniform(0.1, 0.3)
        parts.append(_ball(rng.normal(0, 0.15), rng.normal(0, 0.15), h + 2 * r
                           + rng.uniform(-0.2, 0.2), s, s, s * rng.uniform(0.6, 1.2), "leaf",
                           scale=2.0))
    return parts


def crates(rng: np.random.Generator) -> Thing:
    """A pile of boxes, barrels and balls."""
    parts: Thing = []
    z = 0.0
    for _ in range(int(rng.integers(1, 5))):
        hx, hy, hz = rng.uniform(0.1, 0.45, 3)
        x, y = rng.normal(0, 0.1, 2)
        if rng.random() < 0.7:
            parts.append(_box(x, y, z + hz, hx, hy, hz, "poster", scale=-1.0))
        else:
            parts.append(_rod(x, y, z + hz, hx, hz, "metal", scale=1.0, gloss=0.3))
        z += 2 * hz
    return parts


def column(rng: np.random.Generator) -> Thing:
    """A pillar from floor to ceiling."""
    r = rng.uniform(0.1, 0.35)
    round_ = rng.random() < 0.5
    return [(_rod if round_ else _make_square)(0, 0, 1.6, r, 1.6, "stone", scale=0.8),
            _box(0, 0, 0.1, 1.25 * r, 1.25 * r, 0.1, "stone")]


def _make_square(x: float, y: float, z: float, radius: float, hz: float, surface: str,
                 **options: Any) -> Part:
    return _box(x, y, z, radius, radius, hz, surface, **options)


def machine(rng: np.random.Generator) -> Thing:
    """An odd cluster of shapes, so that no shape is ever certain."""
    kinds: tuple[Callable[..., Part], ...] = (_box, _ball)
    surfaces = ["wall", "stone", "metal", "poster", "fabric", "wood", "paper"]
    parts: Thing = []
    for _ in range(int(rng.integers(2, 7))):
        hx, hy, hz = rng.uniform(0.05, 0.4, 3)
        x, y = rng.normal(0, 0.25, 2)
        make = kinds[int(rng.integers(2))]
        parts.append(make(x, y, rng.uniform(hz, 1.5), hx, hy, hz, str(rng.choice(surfaces)),
                          scale=float(rng.uniform(0.4, 3.0))))
    return parts


def car(rng: np.random.Generator) -> Thing:
    """A parked car or van."""
    hx, hz = rng.uniform(1.8, 2.6), rng.uniform(0.35, 0.6)
    look = {"contrast": float(rng.uniform(0.05, 0.4)), "gloss": 0.6}
    cabin = rng.uniform(0.45, 0.95)
    parts = [_box(0, 0, 0.35 + hz, hx, 0.85, hz, "metal", **look),
             _box(-0.1 * hx, 0, 0.35 + 2 * hz + 0.28, cabin * hx, 0.75, 0.28, "metal", gloss=0.9,
                  contrast=0.2)]
    for sx in (-1, 1):
        parts.append(_box(0.6 * sx * hx, 0, 0.33, 0.33, 0.9, 0.33, "metal", contrast=0.1))
    return parts


def tree(rng: np.random.Generator) -> Thing:
    """A tree with a few crowns."""
    h = rng.uniform(1.5, 4.0)
    parts = [_rod(0, 0, h / 2, rng.uniform(0.08, 0.3), h / 2, "wood")]
    for _ in range(int(rng.integers(2, 5))):
        s = rng.uniform(0.6, 1.8)
        parts.append(_ball(rng.normal(0, 0.7), rng.normal(0, 0.7), h + rng.uniform(0, 1.5), s, s,
                           s * rng.uniform(0.6, 1.1), "leaf", scale=0.6))
    return parts


def pole(rng: np.random.Generator) -> Thing:
    """A street lamp, a sign or a bollard."""
    h = rng.uniform(0.8, 5.0)
    parts = [_rod(0, 0, h / 2, rng.uniform(0.04, 0.12), h / 2, "metal")]
    if rng.random() < 0.7:
        s = rng.uniform(0.2, 0.6)
        parts.append(_box(0, 0.1, h, s, 0.03, s, "poster", scale=-1.0))
    return parts


def bench(rng: np.random.Generator) -> Thing:
    """A bench or low wall."""
    hx = rng.uniform(0.6, 1.5)
    return [_box(0, 0, 0.45, hx, 0.22, 0.03, "wood"), _box(0, -0.22, 0.75, hx, 0.02, 0.2, "wood"),
            _box(-0.8 * hx, 0, 0.21, 0.05, 0.2, 0.21, "stone"),
            _box(0.8 * hx, 0, 0.21, 0.05, 0.2, 0.21, "stone")]


INDOOR: tuple[Callable[[np.random.Generator], Thing], ...] = (
    table, table, chair, chair, shelf, cabinet, cabinet, sofa, bed, lamp, plant, crates, column,
    machine,
)
OUTDOOR: tuple[Callable[[np.random.Generator], Thing], ...] = (
    car, car, tree, tree, pole, pole, bench, crates, machine, plant,
)
