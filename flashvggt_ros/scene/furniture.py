"""Furniture and other large things indoors; front towards +y, back at -y, origin on the floor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from flashvggt_ros.scene import clutter, industrial
from flashvggt_ros.scene.parts import Part, Thing, ball, between, box, moved, rod, tilt

Maker = Callable[[np.random.Generator], Thing]


def table(rng: np.random.Generator) -> Thing:
    """A dining or coffee table with things on it."""
    hx, hy, h = rng.uniform(0.4, 1.1), rng.uniform(0.3, 0.5), rng.uniform(0.42, 0.78)
    parts = [box(0, 0, h, hx, hy, rng.uniform(0.012, 0.03), "desk:top"), *_legs(rng, hx, hy, h)]
    return parts + clutter.strewn(rng, clutter.ON_TABLE, int(rng.integers(0, 6)), hx, hy, h + 0.02)


def _legs(rng: np.random.Generator, hx: float, hy: float, h: float) -> Thing:
    leg = rng.uniform(0.012, 0.04)
    make, surface = (rod, "metal") if rng.random() < 0.4 else (_post, "wood")
    return [make(sx * (hx - 1.5 * leg), sy * (hy - 1.5 * leg), h / 2, leg, h / 2 - 0.01, surface)
            for sx in (-1, 1) for sy in (-1, 1)]


def _post(x: float, y: float, z: float, radius: float, hz: float, surface: str) -> Part:
    return box(x, y, z, radius, radius, hz, surface)


def round_table(rng: np.random.Generator) -> Thing:
    """A round table on one foot."""
    r, h = rng.uniform(0.3, 0.65), rng.uniform(0.45, 1.0)
    parts = [rod(0, 0, h, r, 0.015, "desk:top"), rod(0, 0, h / 2, 0.035, h / 2, "metal"),
             rod(0, 0, 0.012, 0.5 * r, 0.012, "metal")]
    return parts + clutter.strewn(rng, clutter.ON_TABLE, int(rng.integers(0, 4)), 0.6 * r, 0.6 * r,
                                  h + 0.016)


def desk(rng: np.random.Generator, things: int | None = None) -> Thing:
    """An office desk: monitors, keyboard, papers, drawers below."""
    hx, hy, h = rng.uniform(0.6, 0.95), rng.uniform(0.35, 0.42), rng.uniform(0.7, 0.76)
    parts = [box(0, 0, h, hx, hy, 0.014, "desk:top"), *_legs(rng, hx, hy, h)]
    top = h + 0.014
    monitors = int(rng.integers(1, 3))
    for number in range(monitors):
        x = (number - (monitors - 1) / 2) * 0.6 + rng.normal(0, 0.05)
        parts += moved(clutter.monitor(rng), x, -0.55 * hy, top, rng.normal(0, 0.2))
    parts += moved(clutter.keyboard(rng), rng.normal(0, 0.1), 0.35 * hy, top, rng.normal(0, 0.1))
    count = int(rng.integers(2, 8)) if things is None else things
    parts += clutter.strewn(rng, clutter.ON_DESK, count, hx, hy, top)
    if rng.random() < 0.5:
        parts += [box(0.7 * hx, 0, 0.3, 0.2, 0.85 * hy, 0.3, "painted:drawers"),
                  *(box(0.7 * hx, 0.86 * hy, z, 0.19, 0.006, 0.09, "painted:drawers")
                    for z in (0.12, 0.32, 0.5))]
    return parts


def chair(rng: np.random.Generator) -> Thing:
    """A chair with four legs, often with a back of bars."""
    h, s = rng.uniform(0.42, 0.48), rng.uniform(0.19, 0.24)
    surface = "fabric" if rng.random() < 0.4 else "wood"
    lean = rng.uniform(0.0, 0.2)
    parts = [box(0, 0, h, s, s, 0.02, surface)]
    for side in (-1, 1):
        parts += [between((side * (s - 0.02), s - 0.02, h), (side * s, s + 0.01, 0), 0.015, "wood"),
                  between((side * (s - 0.02), -s - 0.45 * lean, h + 0.45), (side * s, -s, 0), 0.017,
                          "wood")]
    if rng.random() < 0.5:
        parts.append(box(0, -s - 0.3 * lean, h + 0.3, s, 0.015, 0.15, surface, tilt(lean)))
    else:
        parts += [box(0, -s - lean * z, h + z, s - 0.02, 0.01, 0.03, "wood", tilt(lean))
                  for z in (0.15, 0.28, 0.41)]
    return parts


def tube_chair(rng: np.random.Generator) -> Thing:
    """A cantilever chair: one bent steel tube, seat and back."""
    h, s, r = rng.uniform(0.42, 0.47), rng.uniform(0.2, 0.24), 0.012
    parts = [box(0, 0, h, s, s, 0.018, "fabric"),
             box(0, -s - 0.05, h + 0.32, s, 0.015, 0.13, "fabric", tilt(0.15))]
    for side in (-s, s):
        corners = ((side, -s - 0.08, h + 0.45), (side, -s, h), (side, s, h), (side, s, 0.015),
                   (side, -s, 0.015))
        parts += [between(a, b, r, "metal", gloss=0.6)
                  for a, b in itertools.pairwise(corners)]
    parts.append(between((-s, -s, 0.015), (s, -s, 0.015), r, "metal"))
    return parts


def office_chair(rng: np.random.Generator) -> Thing:
    """A swivel chair on five feet."""
    h, s = rng.uniform(0.42, 0.52), rng.uniform(0.22, 0.27)
    parts = [ball(0, 0, h, s, s, 0.07, "fabric"),
             ball(0, -s, h + 0.38, 0.9 * s, 0.06, 0.3, "fabric", tilt(0.12)),
             rod(0, 0, h / 2, 0.03, h / 2 - 0.04, "metal"),
             between((0, -0.1, h), (0, -s - 0.03, h + 0.25), 0.025, "dark")]
    for number in range(5):
        x, y = 0.3 * np.cos(1.257 * number), 0.3 * np.sin(1.257 * number)
        parts += [between((0, 0, 0.12), (x, y, 0.07), 0.02, "dark"),
                  ball(x, y, 0.03, 0.03, 0.03, 0.03, "dark")]
    if rng.random() < 0.6:
        parts += [box(side * (s + 0.03), 0, h + 0.2, 0.03, 0.13, 0.015, "dark")
                  for side in (-1, 1)]
    return parts


def stool(rng: np.random.Generator) -> Thing:
    """A round stool."""
    h, r = rng.uniform(0.4, 0.75), rng.uniform(0.15, 0.2)
    legs = [between((0.6 * r * a, 0.6 * r * b, h), (r * a, r * b, 0), 0.014, "metal")
            for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    return [rod(0, 0, h, r, 0.02, "wood"), *legs]


def shelf(rng: np.random.Generator) -> Thing:
    """A bookcase: sides, boards, books with single spines and odds and ends."""
    hx, hy, h = rng.uniform(0.35, 0.6), rng.uniform(0.12, 0.18), rng.uniform(0.8, 2.1)
    boards = int(np.clip(h / rng.uniform(0.3, 0.45), 2, 5))
    parts = [box(sx * hx, 0, h / 2, 0.012, hy, h / 2, "wood") for sx in (-1, 1)]
    if rng.random() < 0.7:
        parts.append(box(0, -hy, h / 2, hx, 0.006, h / 2, "wood"))
    gap = h / boards
    for board in range(boards + 1):
        parts.append(box(0, 0, min(board * gap + 0.03, h), hx, hy, 0.011, "wood"))
        if board == boards and rng.random() < 0.5:
            break
        choice, z = rng.random(), board * gap + 0.042
        if choice < 0.55 and board < boards:
            w = rng.uniform(0.7, 1.9) * hx
            row = clutter.book_row(rng, w, 0.8 * gap, 1.6 * hy, int(rng.integers(4, 11)))
            parts += moved(row, rng.uniform(-1, 1) * (hx - w / 2) * 0.9, 0, z)
        elif choice < 0.9:
            parts += clutter.strewn(rng, clutter.ON_COUNTER, int(rng.integers(1, 3)), hx, hy, z)
    return parts


def cabinet(rng: np.random.Generator) -> Thing:
    """A cupboard, chest or locker: fronts, handles, and things on top."""
    hx, hy, h = rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.32), rng.uniform(0.5, 2.0)
    surface = str(rng.choice(["painted", "painted", "wood", "metal"]))
    front = "ribs" if rng.random() < 0.15 else surface
    parts = [box(0, 0, h / 2, hx, hy, h / 2, surface),
             box(0, 0, h, hx + 0.01, hy + 0.01, 0.012, "wood:top")]
    columns = 1 if front == "ribs" else int(rng.integers(1, 4))
    for column in range(columns):
        w = hx / columns
        x = -hx + (2 * column + 1) * w
        parts.append(box(x, hy + 0.006, h / 2, 0.97 * w, 0.008, 0.47 * h, front, scale=-1.0))
        parts.append(rod(x + 0.75 * w, hy + 0.03, h / 2, 0.008, 0.06, "metal", gloss=0.5))
    if h < 1.4:
        parts += clutter.strewn(rng, clutter.ON_COUNTER, int(rng.integers(0, 5)), hx, hy, h + 0.012)
    return parts


def kitchen(rng: np.random.Generator) -> Thing:
    """A kitchen counter with fronts, a worktop full of things, and cabinets on the wall above."""
    units, hy = int(rng.integers(2, 5)), 0.3
    hx = 0.3 * units
    parts = [box(0, 0, 0.44, hx, hy, 0.44, "painted"),
             box(0, 0.01, 0.9, hx + 0.01, hy + 0.02, 0.02, "stone:top"),
             box(0, -hy, 1.2, hx, 0.01, 0.28, "wall:splash"),
             box(0, -0.12, 1.8, hx, 0.18, 0.33, "painted:upper")]
    for unit in range(units):
        x = -hx + 0.3 + 0.6 * unit
        parts += [box(x, hy + 0.008, 0.47, 0.29, 0.01, 0.38, "painted", scale=-1.0),
                  box(x, 0.065, 1.8, 0.29, 0.008, 0.32, "painted:upper", scale=-1.0),
                  between((x - 0.2, hy + 0.03, 0.8), (x + 0.2, hy + 0.03, 0.8), 0.008, "metal")]
    tap = rng.uniform(-0.6, 0.6) * hx
    parts += [between((tap, -0.2, 0.9), (tap, -0.2, 1.2), 0.012, "metal", gloss=0.8),
              between((tap, -0.2, 1.2), (tap, 0, 1.15), 0.01, "metal", gloss=0.8),
              box(tap, 0, 0.921, 0.22, 0.18, 0.002, "metal:sink", gloss=0.6)]
    return parts + clutter.strewn(rng, clutter.ON_COUNTER, int(rng.integers(2, 8)), hx, 0.2, 0.92)


def sofa(rng: np.random.Generator) -> Thing:
    """A sofa or an armchair of rounded forms, with cushions."""
    hx, hy = rng.uniform(0.4, 1.1), rng.uniform(0.35, 0.42)
    seats = max(1, round(hx / 0.38))
    r = rng.uniform(0.09, 0.14)
    parts = [box(0, 0, 0.22, hx, hy, 0.14, "fabric"),
             box(0, -hy, 0.45, hx, 0.09, 0.3, "fabric"),
             between((-hx, -hy, 0.75), (hx, -hy, 0.75), 0.09, "fabric")]
    for side in (-hx, hx):
        parts += [box(side, 0, 0.3, r, hy, 0.22, "fabric"),
                  between((side, -hy, 0.52), (side, hy, 0.52), r, "fabric"),
                  rod(side, hy - 0.05, 0.04, 0.02, 0.04, "wood")]
    for seat in range(seats):
        x = -hx + (2 * seat + 1) * hx / seats
        parts.append(ball(x, 0.03, 0.38, 1.05 * hx / seats, hy, 0.12, "fabric"))
    for _ in range(int(rng.integers(0, 3))):
        parts.append(ball(rng.uniform(-0.7, 0.7) * hx, -0.5 * hy, 0.6, 0.2, 0.09, 0.18,
                          f"fabric:{rng.integers(9)}", tilt(-0.3, rng.normal(0, 0.2))))
    if rng.random() < 0.3:
        parts += moved(clutter.bag(rng), rng.uniform(-0.5, 0.5) * hx, 0.05, 0.46, rng.normal(0, 1))
    return parts


def bed(rng: np.random.Generator) -> Thing:
    """A bed with pillows and a blanket."""
    hx, hy = rng.uniform(0.4, 0.9), 1.0
    pillows = 1 if hx < 0.6 else 2
    parts = [box(0, 0, 0.2, hx, hy, 0.08, "wood"), box(0, -hy, 0.5, hx, 0.03, 0.4, "wood"),
             box(0, 0, 0.38, hx - 0.02, hy - 0.02, 0.1, "fabric:sheet"),
             box(0, 0.3, 0.42, hx + 0.02, 0.68, 0.08, "fabric:blanket"),
             ball(0, 0.3, 0.46, 0.9 * hx, 0.6, 0.1, "fabric:blanket")]
    for number in range(pillows):
        x = (number - (pillows - 1) / 2) * hx
        parts.append(ball(x, -0.75, 0.52, 0.8 * hx / pillows, 0.2, 0.09, "fabric:sheet"))
    parts += [rod(sx * 0.9 * hx, sy * 0.95, 0.06, 0.03, 0.06, "wood") for sx in (-1, 1)
              for sy in (-1, 1)]
    return parts


def lamp(rng: np.random.Generator) -> Thing:
    """A standing lamp, lit or not."""
    h, r = rng.uniform(1.2, 1.8), rng.uniform(0.12, 0.22)
    glow: dict[str, Any] = {"emission": 1.0, "tint": (2.5, 2.2, 1.7)} if rng.random() < 0.5 else {}
    return [rod(0, 0, 0.012, 0.15, 0.012, "metal"), rod(0, 0, h / 2, 0.012, h / 2, "metal"),
            rod(0, 0, h, r, rng.uniform(0.05, 0.16), "lamp", **glow)]


def plant(rng: np.random.Generator) -> Thing:
    """A potted plant with many thin leaves."""
    r, h = rng.uniform(0.1, 0.22), rng.uniform(0.2, 1.1)
    parts = [rod(0, 0, r, r, r, "stone:pot"), rod(0, 0, 2 * r, 0.9 * r, 0.004, "ground")]
    for _ in range(int(rng.integers(7, 18))):
        turn, rise = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 1.3)
        length, wide = rng.uniform(0.1, 0.3), rng.uniform(0.02, 0.06)
        root = 2 * r + h * rng.uniform(0.2, 1.0)
        out = length * np.cos(rise)
        parts.append(ball(out * np.cos(turn), out * np.sin(turn), root + length * np.sin(rise),
                          length, wide, 0.006, "leaf", tilt(rng.normal(0, 0.4), -rise, turn)))
    parts.append(rod(0, 0, 2 * r + h / 2, 0.012, h / 2, "wood:stem"))
    return parts


def person(rng: np.random.Generator) -> Thing:
    """A person who stands or sits still."""
    sits = rng.random() < 0.4
    hip = 0.45 if sits else 0.9
    parts = [ball(0, 0, hip + 0.3, 0.2, 0.13, 0.33, "fabric:shirt"),
             ball(0, 0.02, hip + 0.75, 0.085, 0.1, 0.12, "skin"),
             ball(0, -0.015, hip + 0.8, 0.09, 0.1, 0.1, "dark:hair"),
             rod(0, 0, hip + 0.62, 0.05, 0.05, "skin")]
    for side in (-1, 1):
        elbow, hand = (0.27 * side, 0.02, hip + 0.25), (0.2 * side, 0.25, hip + 0.15)
        knee = (0.12 * side, 0.42, hip + 0.02) if sits else (0.1 * side, 0.03, 0.48)
        foot = (0.12 * side, 0.42 if sits else 0.0, 0.05)
        parts += [between((0.2 * side, 0, hip + 0.52), elbow, 0.05, "fabric:shirt"),
                  between(elbow, hand, 0.04, "skin"),
                  between((0.1 * side, 0, hip), knee, 0.08, "fabric:trousers"),
                  between(knee, foot, 0.06, "fabric:trousers"),
                  ball(foot[0], foot[1] + 0.06, 0.04, 0.05, 0.13, 0.05, "dark")]
    return parts


def bag(rng: np.random.Generator) -> Thing:
    """A bag or rucksack on the floor, with the cable of something."""
    return clutter.bag(rng) + clutter.cable(rng, 0.2, 0, rng.normal(0.6, 0.2), rng.normal(0, 0.4))


INDOOR: tuple[Maker, ...] = (
    table, table, desk, round_table, chair, chair, tube_chair, tube_chair, office_chair, stool,
    shelf, shelf, cabinet, cabinet, sofa, bed, lamp, plant, plant, person,
    industrial.crates, industrial.machine,
)
