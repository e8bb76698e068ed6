"""Small things that lie and stand on tables, shelves and floors; origin where they stand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from flashvggt_ros.scene.parts import Thing, ball, between, box, moved, rod, tilt

Maker = Callable[[np.random.Generator], Thing]


def books(rng: np.random.Generator) -> Thing:
    """A pile of a few books or magazines, each turned a little."""
    parts: Thing = []
    z = 0.0
    for _ in range(int(rng.integers(1, 5))):
        h = rng.uniform(0.004, 0.02)
        yaw = rng.normal(0, 0.25)
        parts.append(box(rng.normal(0, 0.01), rng.normal(0, 0.01), z + h, rng.uniform(0.07, 0.12),
                         rng.uniform(0.1, 0.16), h, "book", tilt(0, 0, yaw), scale=-1.0))
        z += 2 * h
    return parts


def book_row(rng: np.random.Generator, width: float, height: float, depth: float,
             most: int) -> Thing:
    """Books upright side by side along x, ``width`` [m] at most, one or two leaning."""
    parts: Thing = []
    x = 0.0
    thick = max(0.012, width / max(most, 1) / 2 * 0.7)
    for _ in range(most):
        w = rng.uniform(0.5, 1.5) * thick
        if x + 2 * w > width:
            break
        h, d = rng.uniform(0.65, 1.0) * height / 2, rng.uniform(0.7, 1.0) * depth / 2
        lean = rng.uniform(0.05, 0.2) if rng.random() < 0.1 else 0.0
        parts.append(box(x + w - width / 2, 0, h, w, d, h, "book", tilt(0, lean),
                         scale=-1.0 if w > 0.02 else 4.0))
        x += 2 * w + (0.1 * h if lean else 0.001)
    return parts


def bottle(rng: np.random.Generator) -> Thing:
    """A bottle or a spray: body, neck, cap."""
    r, h = rng.uniform(0.025, 0.045), rng.uniform(0.06, 0.12)
    return [rod(0, 0, h, r, h, "plastic", gloss=0.4), ball(0, 0, 2 * h, r, r, r, "plastic"),
            rod(0, 0, 2 * h + r + 0.02, 0.4 * r, 0.03, "plastic"),
            rod(0, 0, h, 1.01 * r, 0.5 * h, "book", scale=-1.0)]


def cup(rng: np.random.Generator) -> Thing:
    """A cup with a handle, or a can."""
    r, h = rng.uniform(0.03, 0.045), rng.uniform(0.04, 0.07)
    parts = [rod(0, 0, h, r, h, "plastic", gloss=0.3)]
    if rng.random() < 0.6:
        parts.append(rod(r, 0, h, 0.6 * h, 0.006, "plastic:0", tilt(np.pi / 2)))
        parts.append(rod(0, 0, 2 * h, 0.85 * r, 0.001, "dark"))
    else:
        parts.append(rod(0, 0, h, 1.005 * r, 0.7 * h, "book", scale=-1.0))
    return parts


def carton(rng: np.random.Generator) -> Thing:
    """A carton, a tin or a small device."""
    hx, hy, hz = rng.uniform(0.03, 0.14, 3)
    surface = str(rng.choice(["book", "book", "plastic", "paper", "metal", "dark"]))
    return [box(0, 0, hz, hx, hy, hz, surface, scale=-1.0)]


def papers(rng: np.random.Generator) -> Thing:
    """Sheets of paper, one over the other."""
    parts: Thing = []
    for number in range(int(rng.integers(1, 4))):
        parts.append(box(rng.normal(0, 0.06), rng.normal(0, 0.06), 0.001 * (number + 1), 0.105,
                         0.148, 0.001, "paper", tilt(0, 0, rng.normal(0, 0.4)), scale=-1.0))
    return parts


def keyboard(rng: np.random.Generator) -> Thing:
    """A keyboard, and a mouse at its side with a cable."""
    w = rng.uniform(0.16, 0.23)
    side = w + rng.uniform(0.08, 0.15)
    parts = [box(0, 0, 0.012, w, 0.4 * w, 0.01, "keyboard", tilt(0.05), scale=-1.0),
             ball(side, 0, 0.012, 0.03, 0.055, 0.02, "plastic")]
    if rng.random() < 0.6:
        parts += cable(rng, side, 0.06, rng.normal(0.1, 0.1), 0.35)
    return parts


def cable(rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float,
          radius: float = 0.003) -> Thing:
    """A cable on the surface from one point to another, in four bends."""
    points = np.linspace([x0, y0, radius], [x1, y1, radius], 5)
    points[1:4, :2] += rng.normal(0, 0.05, (3, 2))
    return [between(a, b, radius, "dark") for a, b in itertools.pairwise(points)]


def monitor(rng: np.random.Generator) -> Thing:
    """A screen on a foot, facing +y; mostly black, sometimes lit."""
    w, lift = rng.uniform(0.2, 0.32), rng.uniform(0.08, 0.2)
    h = w * rng.uniform(0.56, 0.75)
    z = lift + h
    is_lit = rng.random() < 0.35
    face = (box(0, 0.021, z, w - 0.015, 0.002, h - 0.015, "screen", scale=-1.0, emission=0.9)
            if is_lit else
            box(0, 0.021, z, w - 0.015, 0.002, h - 0.015, "dark:glass", gloss=0.5))
    body = "dark" if rng.random() < 0.7 else "metal"
    return [box(0, 0, z, w, 0.02, h, body), face,
            box(0, -0.03, 0.5 * z, 0.03, 0.015, 0.5 * z, body),
            rod(0, -0.02, 0.008, 0.11, 0.008, body, gloss=0.4)]


def laptop(rng: np.random.Generator) -> Thing:
    """An open laptop, facing +y."""
    w = rng.uniform(0.14, 0.18)
    lean = rng.uniform(0.1, 0.5)
    body = "metal" if rng.random() < 0.5 else "dark"
    up = tilt(lean)
    middle = np.array([0, -0.7 * w, 0.02]) + up @ [0, 0, 0.66 * w]
    front = middle + up @ [0, 0.006, 0]
    return [box(0, 0, 0.01, w, 0.7 * w, 0.01, body),
            box(0, -0.1 * w, 0.021, 0.9 * w, 0.35 * w, 0.001, "keyboard", scale=-1.0),
            box(middle[0], middle[1], middle[2], w, 0.005, 0.66 * w, body, up),
            box(front[0], front[1], front[2], 0.93 * w, 0.001, 0.6 * w, "screen", up, scale=-1.0,
                emission=0.8)]


def bag(rng: np.random.Generator) -> Thing:
    """A soft bag or a rucksack, of a few rounded lumps."""
    s = rng.uniform(0.1, 0.17)
    parts = [ball(0, 0, 0.9 * s, s, 0.7 * s, 1.1 * s, "fabric"),
             ball(0, 0.45 * s, 0.6 * s, 0.7 * s, 0.4 * s, 0.6 * s, "fabric:pocket")]
    for side in (-0.5, 0.5):
        parts.append(between((side * s, 0.2 * s, 1.7 * s), (side * s, 0.65 * s, 0.5 * s), 0.012,
                             "dark"))
    return parts


def bowl(rng: np.random.Generator) -> Thing:
    """A bowl or basket with fruit."""
    r = rng.uniform(0.1, 0.16)
    parts = [rod(0, 0, 0.035, r, 0.035, "wood" if rng.random() < 0.5 else "plastic")]
    for number in range(int(rng.integers(3, 7))):
        angle = number * 2.1
        s = rng.uniform(0.03, 0.045)
        parts.append(ball(0.55 * r * np.cos(angle), 0.55 * r * np.sin(angle), 0.07 + 0.5 * s, s, s,
                          s, "plastic:own" if number % 2 else "plastic"))
    return parts


def pens(rng: np.random.Generator) -> Thing:
    """A beaker with pens."""
    parts = [rod(0, 0, 0.05, 0.04, 0.05, "plastic")]
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.normal(0, 0.02, 2)
        parts.append(between((0.5 * x, 0.5 * y, 0.02), (2 * x, 2 * y, rng.uniform(0.13, 0.19)),
                             0.005, "plastic"))
    return parts


def desk_lamp(rng: np.random.Generator) -> Thing:
    """A lamp with two arms and a shade."""
    elbow = (rng.normal(0, 0.05), -0.1, rng.uniform(0.25, 0.35))
    head = (rng.normal(0, 0.1), 0.12, rng.uniform(0.35, 0.5))
    return [rod(0, 0, 0.01, 0.08, 0.01, "metal"), between((0, 0, 0.02), elbow, 0.008, "metal"),
            between(elbow, head, 0.008, "metal"),
            rod(head[0], head[1], head[2], 0.06, 0.04, "metal", tilt(rng.normal(0, 0.4)))]


def toy(rng: np.random.Generator) -> Thing:
    """A stuffed animal, a gamepad, a globe: a few balls."""
    s = rng.uniform(0.04, 0.09)
    parts = [ball(0, 0, s, s, 0.8 * s, s, "fabric")]
    if rng.random() < 0.6:
        parts.append(ball(0, 0, 2.3 * s, 0.6 * s, 0.6 * s, 0.6 * s, "fabric"))
        parts += [ball(side * s, 0.5 * s, 0.4 * s, 0.35 * s, 0.7 * s, 0.35 * s, "fabric")
                  for side in (-0.8, 0.8)]
    return parts


def phone(rng: np.random.Generator) -> Thing:
    """A telephone, a box of plugs or a game pad, with a cable."""
    parts = [box(0, 0, 0.025, 0.08, 0.1, 0.02, "dark", tilt(0.15)),
             between((-0.07, -0.08, 0.06), (-0.07, 0.09, 0.06), 0.02, "dark")]
    return parts + cable(rng, 0, 0.1, rng.normal(0, 0.2), 0.35)


ON_DESK: tuple[Maker, ...] = (books, books, carton, carton, cup, bottle, papers, papers, papers,
                              pens, toy, phone, keyboard, laptop, desk_lamp)
ON_TABLE: tuple[Maker, ...] = (books, bottle, cup, cup, carton, papers, bowl, laptop, bag, toy)
ON_COUNTER: tuple[Maker, ...] = (bottle, bottle, cup, carton, carton, bowl, books)


def strewn(rng: np.random.Generator, makers: tuple[Maker, ...], count: int, hx: float, hy: float,
           z: float) -> Thing:
    """Things side by side on a board of half sizes (hx, hy) at height z [m], seldom overlapping."""
    parts: Thing = []
    for x, y in spots(rng, count, hx, hy):
        thing = makers[int(rng.integers(len(makers)))](rng)
        named = rng.integers(1000)
        thing = [part._replace(surface=f"{part.surface}:{named}") for part in thing]
        parts += moved(thing, x, y, z, rng.normal(0, 0.6))
    return parts


def spots(rng: np.random.Generator, count: int, hx: float, hy: float) -> list[tuple[float, float]]:
    """Return up to ``count`` places on a board, a hand's width from each other."""
    found: list[tuple[float, float]] = []
    for _ in range(3 * count):
        x, y = float(rng.uniform(-0.88, 0.88) * hx), float(rng.uniform(-0.8, 0.8) * hy)
        if all((x - u) ** 2 + (y - v) ** 2 > 0.03 for u, v in found):
            found.append((x, y))
        if len(found) == count:
            break
    return found
