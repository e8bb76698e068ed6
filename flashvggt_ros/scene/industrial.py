"""Things of halls and yards: stairs, machines, tanks, lockers, racks, crates."""

from __future__ import annotations

import numpy as np

from flashvggt_ros.scene.parts import Thing, ball, between, box, rod, tilt


def crates(rng: np.random.Generator) -> Thing:
    """A pile of boxes, barrels and bins."""
    parts: Thing = []
    z = 0.0
    for _ in range(int(rng.integers(1, 5))):
        hx, hy, hz = rng.uniform(0.1, 0.35, 3)
        x, y = rng.normal(0, 0.08, 2)
        if rng.random() < 0.7:
            surface = str(rng.choice(["book", "wood", "plastic", "metal"]))
            parts.append(box(x, y, z + hz, hx, hy, hz, surface, tilt(0, 0, rng.normal(0, 0.3)),
                             scale=-1.0))
        else:
            parts.append(rod(x, y, z + hz, hx, hz, "metal", gloss=0.3))
        z += 2 * hz
    return parts


def machine(rng: np.random.Generator) -> Thing:
    """An odd cluster of shapes, so that no shape is ever certain."""
    surfaces = ["wall", "stone", "metal", "poster", "fabric", "wood", "paper", "plastic"]
    parts: Thing = []
    for number in range(int(rng.integers(2, 9))):
        hx, hy, hz = rng.uniform(0.04, 0.35, 3)
        x, y = rng.normal(0, 0.25, 2)
        make = (box, ball)[int(rng.integers(2))]
        parts.append(make(x, y, rng.uniform(hz, 1.5), hx, hy, hz,
                          f"{rng.choice(surfaces)}:{number}", tilt(*rng.normal(0, 0.4, 3))))
    return parts


def stairs(rng: np.random.Generator) -> Thing:
    """A flight of stairs with a rail."""
    steps, w = int(rng.integers(5, 12)), rng.uniform(0.4, 0.8)
    parts = [box(0, 0.28 * n, 0.18 * (n + 0.5), w, 0.15, 0.09, "concrete") for n in range(steps)]
    end, rise = 0.28 * (steps - 1), 0.18 * (steps - 1)
    parts += [between((side * w, 0, 1.0), (side * w, end, rise + 1.0), 0.02, "metal")
              for side in (-1, 1)]
    parts += [rod for n in (0, steps - 1) for rod in (
        between((w, 0.28 * n, 0.18 * n), (w, 0.28 * n, 0.18 * n + 1), 0.015, "metal"),
        between((-w, 0.28 * n, 0.18 * n), (-w, 0.28 * n, 0.18 * n + 1), 0.015, "metal"))]
    return parts


def engine(rng: np.random.Generator) -> Thing:
    """A machine: blocks, drums, pipes between them, a control box."""
    hx, hy, h = rng.uniform(0.5, 1.8), rng.uniform(0.4, 1.0), rng.uniform(0.5, 1.3)
    parts = [box(0, 0, 0.1, 1.1 * hx, 1.1 * hy, 0.1, "concrete"),
             box(0, 0, h / 2 + 0.2, hx, hy, h / 2, "metal")]
    top = h + 0.2
    for number in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(-0.8, 0.8) * hx, rng.uniform(-0.6, 0.6) * hy
        r, tall = rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.6)
        look = f"metal:{number % 3}"
        if rng.random() < 0.5:
            parts.append(between((x - tall, y, top + r), (x + tall, y, top + r), r, look))
        else:
            parts.append(box(x, y, top + tall, r, r, tall, look))
        parts.append(between((x, y, top + r), (x, y, top + rng.uniform(1, 2.5)), 0.04, "metal:9"))
    parts.append(box(hx + 0.1, hy, 1.2, 0.2, 0.12, 0.3, "painted:box"))
    parts.append(box(hx + 0.1, hy + 0.122, 1.3, 0.15, 0.004, 0.1, "screen", scale=-1.0))
    return parts


def lockers(rng: np.random.Generator) -> Thing:
    """A row of control cabinets or lockers, with lamps, signs and a duct on top."""
    count, h = int(rng.integers(2, 7)), rng.uniform(0.7, 1.3)
    w = rng.uniform(0.2, 0.45)
    hx = count * w
    parts = [box((2 * n - count + 1) * w, 0, h, 0.97 * w, 0.3, h, "door:locker", scale=-1.0)
             for n in range(count)]
    for _ in range(int(rng.integers(1, 4))):
        surface = str(rng.choice(["screen", "poster", "paper"]))
        parts.append(box(rng.uniform(-0.8, 0.8) * hx, 0.302, rng.uniform(1.0, 1.8) * h, 0.12,
                         0.004, 0.1, surface, scale=-1.0))
    parts.append(box(0, 0, 2 * h + 0.2, hx, 0.12, 0.08, "metal:duct"))
    return parts


def rack(rng: np.random.Generator) -> Thing:
    """A storage rack with cartons."""
    hx, hy, levels = rng.uniform(0.8, 1.6), rng.uniform(0.3, 0.5), int(rng.integers(2, 5))
    gap = rng.uniform(0.6, 0.9)
    parts = [box(sx * hx, sy * hy, levels * gap / 2, 0.03, 0.03, levels * gap / 2, "metal")
             for sx in (-1, 1) for sy in (-1, 1)]
    for level in range(levels):
        z = level * gap + 0.1
        parts.append(box(0, 0, z, hx, hy, 0.02, "wood"))
        x = -0.95 * hx
        while x < 0.7 * hx and rng.random() < 0.85:
            w, tall = rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.42 * gap)
            surface = "book" if rng.random() < 0.6 else "plastic"
            parts.append(box(x + w, 0, z + 0.02 + tall, w, 0.8 * hy, tall, surface, scale=-1.0))
            x += 2 * w + rng.uniform(0.02, 0.3)
    return parts


def tank(rng: np.random.Generator) -> Thing:
    """A tank or boiler, standing or lying, with pipes."""
    r, long = rng.uniform(0.4, 1.0), rng.uniform(0.8, 2.0)
    if rng.random() < 0.5:
        parts = [between((0, 0, 0.1), (0, 0, 2 * long), r, "metal"),
                 between((r, 0, long), (r + 1.0, 0, long), 0.08, "metal:pipe")]
    else:
        parts = [between((-long, 0, r + 0.3), (long, 0, r + 0.3), r, "metal"),
                 *(box(s * 0.7 * long, 0, 0.25, 0.1, 0.7 * r, 0.25, "concrete") for s in (-1, 1))]
    parts.append(between((0.5 * r, 0, r), (0.5 * r, 0, 4.0), 0.06, "metal:pipe"))
    return parts
