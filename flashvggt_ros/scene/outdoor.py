"""Streets and parks, and the things that stand there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene import furniture, industrial
from flashvggt_ros.scene.composer import Composer, Layout
from flashvggt_ros.scene.parts import Thing, ball, between, box, rod, tilt
from flashvggt_ros.scene.primitives import LIGHTS

Maker = Callable[[np.random.Generator], Thing]


def car(rng: np.random.Generator) -> Thing:
    """A parked car or van along x: body, hood, windows, wheels, lamps."""
    hx, wide = rng.uniform(1.8, 2.4), rng.uniform(0.78, 0.92)
    is_van = rng.random() < 0.2
    belt, top = rng.uniform(0.8, 0.95), rng.uniform(1.85, 2.3) if is_van else rng.uniform(1.4, 1.6)
    cabin, back = (0.9 * hx, 0.0) if is_van else (rng.uniform(0.5, 0.62) * hx, -0.15 * hx)
    parts = [box(0, 0, (belt + 0.25) / 2, hx, wide, (belt - 0.25) / 2, "car"),
             ball(0, 0, belt - 0.08, 0.99 * hx, 0.97 * wide, 0.16, "car"),
             box(back, 0, (belt + top) / 2, cabin, 0.88 * wide, (top - belt) / 2, "glass"),
             box(back, 0, top, 0.9 * cabin, 0.86 * wide, 0.03, "car")]
    if rng.random() < 0.4:
        return [*parts, *(rod(side * 0.62 * hx, 0, 0.31, 0.31, wide + 0.01, "dark",
                              tilt(np.pi / 2)) for side in (-1, 1))]
    for side in (-1, 1):
        parts.append(rod(side * 0.62 * hx, 0, 0.31, 0.31, wide + 0.01, "dark", tilt(np.pi / 2)))
        pillar = (back + side * 0.86 * cabin, 0, (belt + top) / 2)
        parts.append(box(*pillar, 0.05, 0.89 * wide, (top - belt) / 2, "car",
                         tilt(0, -0.35 * side)))
        parts.append(box(side * hx, 0, 0.62, 0.012, 0.9 * wide, 0.07, "lamp" if side > 0 else
                         "plastic"))
    return parts


def tree(rng: np.random.Generator) -> Thing:
    """A tree: trunk, branches and clumps of leaves, or a bare or conical one."""
    h = rng.uniform(1.8, 4.0)
    r = rng.uniform(0.06, 0.22)
    parts = [rod(0, 0, h / 2, r, h / 2, "wood")]
    if rng.random() < 0.2:
        return [*parts, *(ball(0, 0, h * (0.5 + 0.35 * n), 1.3 - 0.35 * n, 1.3 - 0.35 * n, 0.9,
                               "leaf") for n in range(4))]
    crown = rng.uniform(0.8, 2.2)
    for _ in range(int(rng.integers(2, 6))):
        x, y, z = rng.normal(0, 0.5 * crown), rng.normal(0, 0.5 * crown), h + rng.uniform(0, crown)
        s = crown * rng.uniform(0.35, 0.8)
        parts.append(ball(x, y, z, s, s * rng.uniform(0.7, 1.2), s * rng.uniform(0.5, 0.9), "leaf",
                          tilt(*rng.normal(0, 0.5, 3))))
    if rng.random() < 0.5:
        x, y = rng.normal(0, 0.6 * crown, 2)
        parts.append(between((0, 0, 0.7 * h), (x, y, h + 0.5 * crown), 0.4 * r, "wood"))
    return parts


def pole(rng: np.random.Generator) -> Thing:
    """A street lamp, a traffic light, a sign or a bollard."""
    choice = rng.random()
    if choice < 0.35:
        h, reach = rng.uniform(4, 8), rng.uniform(0.5, 2.0)
        return [rod(0, 0, h / 2, 0.07, h / 2, "metal"),
                between((0, 0, h), (0, reach, h + 0.2), 0.04, "metal"),
                box(0, reach, h + 0.15, 0.12, 0.3, 0.06, "painted")]
    h, s = rng.uniform(2.0, 3.2), rng.uniform(0.2, 0.45)
    parts = [rod(0, 0, h / 2, rng.uniform(0.03, 0.06), h / 2, "metal")]
    if choice < 0.6:
        parts.append(box(0.05, 0, h, 0.01, s, s * rng.uniform(0.6, 1.3), "poster", scale=-1.0))
    elif choice < 0.75:
        parts.append(rod(0.05, 0, h, s, 0.01, "plastic", tilt(0, np.pi / 2)))
        parts.append(rod(0.052, 0, h, 0.75 * s, 0.011, "book", tilt(0, np.pi / 2), scale=-1.0))
    elif choice < 0.9:
        parts.append(box(0, 0, h, 0.12, 0.14, 0.4, "dark"))
        parts += [ball(0.1, 0, h + 0.25 * n, 0.06, 0.09, 0.09, "plastic") for n in (-1, 0, 1)]
    return parts


def bench(rng: np.random.Generator) -> Thing:
    """A bench of slats."""
    hx = rng.uniform(0.6, 1.0)
    slats = [box(0, -0.15 + 0.15 * n, 0.45, hx, 0.06, 0.02, "wood") for n in range(3)]
    back = [box(0, -0.26 - 0.03 * n, 0.6 + 0.15 * n, hx, 0.015, 0.05, "wood", tilt(0.2))
            for n in range(2)]
    feet = [box(side * 0.8 * hx, -0.05, 0.22, 0.03, 0.2, 0.22, "metal") for side in (-1, 1)]
    return slats + back + feet


def bin_(rng: np.random.Generator) -> Thing:
    """A bin, a cabinet, a hydrant or a mail box at the road."""
    s, h = rng.uniform(0.15, 0.35), rng.uniform(0.4, 0.7)
    if rng.random() < 0.5:
        return [rod(0, 0, h, s, h, "painted"), rod(0, 0, 2 * h, 1.1 * s, 0.03, "metal")]
    return [box(0, 0, h, s, 0.8 * s, h, "plastic"), box(0, 0, 2 * h, 1.1 * s, 0.9 * s, 0.03,
                                                        "dark")]


def bush(rng: np.random.Generator) -> Thing:
    """A bush or a flower bed."""
    parts: Thing = []
    for _ in range(int(rng.integers(2, 6))):
        (x, y), (rx, ry, rz) = rng.normal(0, 0.3, 2), rng.uniform(0.25, 0.7, 3)
        parts.append(ball(x, y, 0.4, rx, ry, rz, "leaf", tilt(*rng.normal(0, 0.5, 3))))
    return parts


def house(rng: np.random.Generator, w: float, d: float, h: float, is_low: bool) -> Thing:
    """A house with its front at y = 0, its body towards -y, ``w`` and ``d`` half sizes [m]."""
    scale = float(rng.uniform(0.095, 0.13))
    ground = (float(rng.random()), 1.0 - (h * scale) % 1.0)  # one floor begins at the ground
    surface = "facade" if rng.random() < 0.85 else "house"
    look: dict[str, Any] = {"scale": scale, "offset": ground} if surface == "facade" else {}
    parts = [box(0, -d, h, w, d, h, surface, **look)]
    if is_low:  # a gable roof: a bar on its edge
        s = (d + 0.3) / np.sqrt(2)
        parts.append(box(0, -d, 2 * h, w + 0.3, s, s, "roof", tilt(np.pi / 4)))
    elif rng.random() < 0.5:
        parts.append(box(0, 0, 2 * h, w, 0.3, 0.2, "painted"))
    choice = rng.random()
    if choice < 0.35 and not is_low:  # a shop
        x = rng.uniform(-0.4, 0.4) * w
        parts += [box(x, 0, 1.3, 0.5 * w, 0.05, 1.1, "glass"),
                  box(x, 0.1, 2.8, 0.52 * w, 0.15, 0.3, "poster", scale=-2.0)]
    elif choice < 0.65:
        parts.append(box(rng.uniform(-0.6, 0.6) * w, 0, 1.05, 0.5, 0.06, 1.05, "door", scale=-1.0))
    return parts


def _sky(composer: Composer, half: tuple[float, float], ground: str) -> None:
    power = float(composer.rng.uniform(0.7, 2.5))
    composer.box((0, 0, 30), (half[0], half[1], 50), "sky", scale=-1.0, emission=1.0, macro=0.0,
                 gloss=0.0, tint=(power, power, power))
    composer.box((0, 0, -0.5), (half[0], half[1], 0.48), ground)


def _sun(rng: np.random.Generator) -> NDArray[np.float32]:
    """Sun (or its place behind clouds) and sky."""
    lights = np.zeros(LIGHTS, np.float32)
    sun = np.array([*rng.normal(0, 1, 2), rng.uniform(0.4, 1.5)])
    lights[0:3] = 500 * sun / np.linalg.norm(sun)
    overcast = rng.random() < 0.35
    lights[3:6] = rng.uniform(0.3, 1.4) * np.array([1.0, 0.95, 0.85]) * (0.3 if overcast else 1)
    lights[7:10] = [0, 0, 500.0]
    lights[10:13] = rng.uniform(0.1, 0.3)
    lights[14:17] = rng.uniform(0.25, 0.6) * np.array([0.9, 0.95, 1.1])
    lights[17] = rng.uniform(0.5, 0.95)
    return lights


def street(composer: Composer, rng: np.random.Generator) -> Layout:
    """A street along x, of a town or a suburb, that a car can drive through for 140 m and more."""
    long, road = rng.uniform(85, 110), rng.uniform(3.2, 6.5)
    walk_way = rng.uniform(1.2, 3.5)
    is_town = rng.random() < 0.55
    _sky(composer, (long + 40, 90), "ground" if not is_town else "pavement")
    composer.box((0, 0, -0.02), (long + 30, road, 0.03), "asphalt")
    kerb = float(rng.uniform(0.05, 0.09))
    for side in (-1, 1):
        composer.box((0, side * (road + walk_way / 2), kerb / 2),
                     (long + 30, walk_way / 2, kerb), "pavement:walk")
    _markings(composer, long, road, rng)
    front = road + walk_way + (0.0 if is_town else rng.uniform(1.0, 6.0))
    for side in (-1, 1):
        _row_of_houses(composer, long, side, front, is_town, rng)
        if not is_town and rng.random() < 0.7:
            _hedges(composer, long, side * (road + walk_way + 0.3), rng)
    for side in (-1, 1):  # what closes the view between the houses
        x = rng.uniform(-60, 60)
        surface = "leaf" if rng.random() < 0.6 else "facade"
        size = (rng.uniform(30, 90), 3.0, rng.uniform(3, 8))
        composer.box((x, side * rng.uniform(45, 75), 3), size, surface, scale=0.12)
    if rng.random() < 0.5:
        composer.build(house(rng, 20, 6, 6, False), long + 20, 0, 0, np.pi / 2)
        composer.build(house(rng, 20, 6, 6, False), -long - 20, 0, 0, -np.pi / 2)
    _along(composer, long, road, walk_way, rng)
    low = rng.uniform(1.2, 1.9)
    lane = max(road - 2.6, 0.3)
    walk = np.array([[8 - long, -lane, low], [long - 8, lane, low + rng.uniform(0.02, 0.15)]])
    return composer.finish(_sun(rng), walk, 0.8)


def _markings(composer: Composer, long: float, road: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.75:
        first = rng.uniform(-6, 6)
        for x in np.arange(-60, 61, 120 / rng.integers(7, 11)):
            composer.box((first + x, 0, 0.0), (1.5, 0.07, 0.014), "mark")
    if rng.random() < 0.5:
        for side in (-1, 1):
            composer.box((0, side * (road - rng.uniform(0.3, 0.5)), 0.0), (long, 0.06, 0.014),
                         "mark")
    if rng.random() < 0.2:
        x = rng.uniform(-40, 40)
        for y in np.arange(-road + 0.5, road - 0.3, 1.3)[:8]:
            composer.box((x, y, 0.0), (1.6, 0.28, 0.015), "mark")


def _row_of_houses(composer: Composer, long: float, side: int, front: float, is_town: bool,
                   rng: np.random.Generator) -> None:
    x = -long
    while x < long and composer.free > (80 if side < 0 else 58):
        w, d = rng.uniform(7, 18) if is_town else rng.uniform(5, 10), rng.uniform(3.5, 6)
        h = rng.uniform(3, 10) if is_town else rng.uniform(1.4, 3.2)
        set_back = rng.uniform(0, 0.6) if is_town else rng.uniform(0, 5)
        thing = house(rng, w, d, h, not is_town)
        composer.build(thing, x + w, side * (front + set_back), 0, np.pi if side > 0 else 0.0)
        gap = 0.0 if is_town and rng.random() < 0.8 else rng.uniform(2, 9)
        x += 2 * w + gap


def _hedges(composer: Composer, long: float, y: float, rng: np.random.Generator) -> None:
    """Hedges, fences or low walls before the gardens."""
    for x in np.linspace(-0.8, 0.8, 4) * long:
        h, w = rng.uniform(0.3, 0.9), rng.uniform(5, 15)
        surface = str(rng.choice(["leaf", "leaf", "ribs", "wall:garden"]))
        thick = 0.35 if surface == "leaf" else 0.06
        composer.box((float(x), y, h), (w, thick, h), surface)


def _along(composer: Composer, long: float, road: float, walk_way: float,
           rng: np.random.Generator) -> None:
    """Cars at the kerb, trees, poles and people on the sidewalks."""
    makers: tuple[Maker, ...] = (car, car, car, car, tree, tree, tree, pole, pole, pole, bin_, bush,
                                 furniture.person, bench)
    places = rng.permutation(np.linspace(-1, 1, 24)) * (long - 10)
    for x in places:
        if composer.free < 5:
            break
        make = makers[int(rng.integers(len(makers)))]
        side = float(rng.choice([-1, 1]))
        y = side * (road - 1.0) if make is car else side * (road + rng.uniform(0.4, walk_way))
        yaw = rng.normal(0, 0.04) + (0 if side < 0 else np.pi)
        composer.place(make(rng), x + rng.normal(0, 1.5), y, yaw)


def park(composer: Composer, rng: np.random.Generator) -> Layout:
    """Open ground: lawn or yard, paths, trees, hedges, benches, people, houses far off."""
    half = rng.uniform(12, 32, 2)
    _sky(composer, (half[0] + 30, half[1] + 30), "grass" if rng.random() < 0.6 else "ground")
    for _ in range(int(rng.integers(1, 3))):
        parts = [box(0, 0, -0.01, half[0] + 20, rng.uniform(0.8, 2.5), 0.012, "pavement:path")]
        composer.build(parts, rng.normal(0, 4), rng.normal(0, 4), 0, rng.uniform(0, np.pi))
    for side in range(4):
        yaw = side * np.pi / 2
        x, y = half[0] * np.sin(yaw), -half[1] * np.cos(yaw)
        for along in (-0.7, 0.0, 0.7):
            dx, dy = along * half[0] * np.cos(yaw), along * half[1] * np.sin(yaw)
            if rng.random() < 0.5:
                thing = house(rng, rng.uniform(4, 10), 4.0, rng.uniform(1.5, 5),
                              rng.random() < 0.6)
            else:
                thing = [ball(n, 0, 2, 3.5, 2, rng.uniform(2, 6), "leaf") for n in (-5, 0, 5)]
            composer.build(thing, x + dx, y + dy, 0, yaw)
    makers: tuple[Maker, ...] = (tree, tree, tree, bush, bush, bench, pole, furniture.person, bin_,
                                 industrial.crates, car, industrial.machine)
    for _ in range(int(rng.integers(12, 32))):
        make = makers[int(rng.integers(len(makers)))]
        x, y = rng.uniform(-0.8, 0.8, 2) * half * rng.uniform(0.15, 0.9)
        composer.place(make(rng), x, y, rng.uniform(0, 6.3))
    low = rng.uniform(0.4, 1.5)
    walk = np.array([[-0.5 * half[0], -0.5 * half[1], low],
                     [0.5 * half[0], 0.5 * half[1], low + rng.uniform(0.2, 3.0)]])
    return composer.finish(_sun(rng), walk, 0.3)
