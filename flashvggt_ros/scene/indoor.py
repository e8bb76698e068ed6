"""Rooms, desks, corridors and halls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene import clutter, fixtures, furniture, industrial
from flashvggt_ros.scene.composer import Composer, Layout
from flashvggt_ros.scene.parts import Array, Thing, between, box
from flashvggt_ros.scene.primitives import LIGHTS, rotation_z


class _Floor:
    """Keeps things on the floor from standing in each other."""

    def __init__(self, half: Array) -> None:
        self.half = half
        self.taken: list[tuple[Array, Array]] = []

    def fits(self, thing: Thing, x: float, y: float, yaw: float) -> bool:
        """Note the thing's footprint, if it is free and inside the walls."""
        R = abs(rotation_z(yaw)[:2, :2])
        reach = R @ np.max([np.abs(part.center[:2]) + min(part.half[:2])
                            for part in thing], axis=0)
        middle = np.array([x, y])
        if (abs(middle) + 0.7 * reach > self.half + 0.1).any():
            return False
        for other, size in self.taken:
            if (abs(middle - other) < 0.85 * (reach + size)).all():
                return False
        self.taken.append((middle, reach))
        return True


def lamps(rng: np.random.Generator, half: Array, height: float) -> NDArray[np.float32]:
    """Two lamps below the ceiling, or light from outside, and what the walls give back."""
    lights = np.zeros(LIGHTS, np.float32)
    for number in range(2):
        warm = 1 + rng.uniform(-0.2, 0.2) * np.array([1.0, 0.1, -1.0])
        at = [rng.uniform(-0.8, 0.8) * half[0], rng.uniform(-0.8, 0.8) * half[1],
              height - rng.uniform(0.1, 0.5)]
        lights[7 * number : 7 * number + 3] = at
        lights[7 * number + 3 : 7 * number + 6] = rng.uniform(0.2, 1.3) * warm
        lights[7 * number + 6] = rng.uniform(0.02, 0.25) * min(1.0, 9 / half.max() ** 2)
    lights[14:17] = rng.uniform(0.15, 0.6) * (1 + rng.uniform(-0.1, 0.1, 3))
    lights[17] = rng.uniform(0.3, 0.9)
    return lights


def _shell(composer: Composer, half: Array, height: float, rng: np.random.Generator) -> None:
    """The inside of a room: walls, often one in another color, floor at z = 0, ceiling."""
    wall = composer.palette.material("wall")
    composer.box((0, 0, height / 2), (half[0], half[1], height / 2), "wall", **wall)
    composer.box((0, 0, 0), (half[0], half[1], 0.004), "floor")
    composer.box((0, 0, height), (half[0], half[1], 0.004), "ceiling")
    if rng.random() < 0.4:
        axis, side = int(rng.integers(2)), float(rng.choice([-1, 1]))
        center, size = [0.0, 0.0, height / 2], [half[0], half[1], height / 2]
        center[axis], size[axis] = side * half[axis], 0.006
        composer.box((center[0], center[1], center[2]), (size[0], size[1], size[2]), "wall")
    if rng.random() < 0.7:
        z = float(rng.uniform(0.03, 0.06))
        composer.build([box(sx * half[0], sy * half[1], z, 0.012 if sx else half[0],
                            0.012 if sy else half[1], z, "painted:skirting")
                        for sx, sy in ((-1, 0), (1, 0), (0, -1), (0, 1))])


def _at_wall(half: Array, rng: np.random.Generator, ends: bool = True) -> tuple[float, ...]:
    """Return (x, y, yaw) of a random place at a wall; the room is towards +y of what stands there.

    ``ends``: also the walls across x.
    """
    along = float(rng.uniform(-0.85, 0.85))
    side = int(rng.integers(4 if ends else 2))
    return ((along * half[0], -half[1], 0.0), (along * half[0], half[1], np.pi),
            (-half[0], along * half[1], -np.pi / 2), (half[0], along * half[1], np.pi / 2))[side]


def _furnish(composer: Composer, half: Array, count: int, rng: np.random.Generator,
             makers: tuple[furniture.Maker, ...] = furniture.INDOOR, at_wall: float = 0.6,
             size: tuple[float, float] = (0.9, 1.15)) -> None:
    floor = _Floor(half)
    for _ in range(count):
        thing = makers[int(rng.integers(len(makers)))](rng)
        scale = float(rng.uniform(*size))
        back = -min(part.center[1] - part.half[1] for part in thing)
        for _attempt in range(4):
            if rng.random() < at_wall:  # its back to the wall
                x, y, yaw = _at_wall(half, rng)
                inward = rotation_z(yaw) @ [0, back * scale + 0.02, 0]
                x, y = x + inward[0], y + inward[1]
            else:
                x, y = rng.uniform(-0.8, 0.8, 2) * half
                yaw = float(rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.3))
            if floor.fits(thing, x, y, yaw):
                composer.place(thing, x, y, yaw, scale)
                break


def _decorate(composer: Composer, half: Array, height: float, count: int,
              rng: np.random.Generator, makers: tuple[fixtures.Maker, ...] = fixtures.ON_WALL,
              ends: bool = True) -> None:
    taken: list[tuple[float, float]] = []
    for _ in range(2 * count):
        x, y, yaw = _at_wall(half, rng, ends)
        if len(taken) == count or any(np.hypot(x - u, y - v) < 0.9 for u, v in taken):
            continue
        taken.append((x, y))
        composer.build(makers[int(rng.integers(len(makers)))](rng, height), x, y, 0.0, yaw)


_OFFICE = (furniture.desk, furniture.desk, furniture.office_chair, furniture.office_chair,
           furniture.shelf, furniture.cabinet, furniture.plant, furniture.person, industrial.crates,
           furniture.bag, furniture.table, furniture.tube_chair)
_HOME = (furniture.table, furniture.round_table, furniture.chair, furniture.tube_chair,
         furniture.tube_chair, furniture.stool, furniture.shelf, furniture.cabinet, furniture.sofa,
         furniture.bed, furniture.lamp, furniture.plant, furniture.bag, furniture.person)
_STYLES = (_OFFICE, _HOME, furniture.INDOOR)


def room(composer: Composer, rng: np.random.Generator) -> Layout:
    """A room of a house or an office: walls, windows, doors, furniture full of things."""
    half = rng.uniform(1.4, rng.uniform(2.0, 5.0), 2)
    height = float(rng.uniform(2.3, 3.4))
    _shell(composer, half, height, rng)
    if rng.random() < 0.6:
        composer.build(fixtures.ceiling_lamps(rng, half[0], half[1], height))
    _decorate(composer, half, height, int(rng.integers(3, 11)), rng)
    if rng.random() < 0.25 and half.min() > 2.2:
        _partition(composer, half, height, rng)
    if rng.random() < 0.2:
        x, y, yaw = _at_wall(half - 0.32, rng)
        composer.place(furniture.kitchen(rng), x, y, yaw)
    makers = _STYLES[int(rng.integers(3))]
    _furnish(composer, half, int(rng.integers(5, 20)), rng, makers, 0.7)
    walk = np.array([[-half[0] + 0.3, -half[1] + 0.3, rng.uniform(0.4, 1.1)],
                     [half[0] - 0.3, half[1] - 0.3, rng.uniform(1.3, height - 0.3)]])
    return composer.finish(lamps(rng, half, height), walk, 0.1)


def _partition(composer: Composer, half: Array, height: float, rng: np.random.Generator) -> None:
    """A wall across the room with a doorway."""
    x, gap = rng.uniform(-0.3, 0.3) * half[0], rng.uniform(-0.4, 0.4) * half[1]
    wide = rng.uniform(0.4, 0.8)
    parts = [box(x, (low + high) / 2, height / 2, 0.07, (high - low) / 2, height / 2, "wall")
             for low, high in ((-half[1], gap - wide), (gap + wide, half[1]))]
    parts.append(box(x, gap, (height + 2.05) / 2, 0.07, wide, (height - 2.05) / 2, "wall"))
    composer.build(parts)


def desk(composer: Composer, rng: np.random.Generator) -> Layout:
    """A cluttered desk seen from near by, from above and its front, in a room."""
    half = rng.uniform(1.5, 3.5, 2)
    height = float(rng.uniform(2.3, 3.2))
    _shell(composer, half, height, rng)
    hx, hy, top = rng.uniform(0.6, 1.2), rng.uniform(0.38, 0.6), rng.uniform(0.68, 0.78)
    y0 = float(-half[1] + hy + 0.05) if rng.random() < 0.6 else 0.0
    composer.build([box(0, y0, top - 0.015, hx, hy, 0.015, "desk"),
                    *(box(side * (hx - 0.04), y0, top / 2, 0.03, 0.9 * hy, top / 2 - 0.02, "wood")
                      for side in (-1, 1))])
    monitors = int(rng.integers(0, 3))
    for number in range(monitors):
        x = (number - (monitors - 1) / 2) * 0.62 + rng.normal(0, 0.05)
        composer.place(clutter.monitor(rng), x, y0 - 0.55 * hy, rng.normal(0, 0.25), z=top)
    if monitors or rng.random() < 0.4:
        composer.place(clutter.keyboard(rng), rng.normal(0, 0.15), y0 + 0.4 * hy,
                       rng.normal(0, 0.15), z=top)
    for x, y in clutter.spots(rng, int(rng.integers(6, 20)), hx, hy):
        if composer.free < 30:
            break
        make = clutter.ON_DESK[int(rng.integers(len(clutter.ON_DESK)))]
        composer.place(make(rng), x, y0 + y, rng.normal(0, 0.8), z=top)
    _decorate(composer, half, height, int(rng.integers(1, 4)), rng)
    _furnish(composer, half, int(rng.integers(2, 6)), rng)
    wide, deep = rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.5)
    middle = np.array([rng.uniform(-0.3, 0.3) * hx, y0 + rng.uniform(0.1, hy + 0.4)])
    low = top + rng.uniform(0.4, 0.7)
    walk = np.array([[middle[0] - wide, middle[1] - deep, low],
                     [middle[0] + wide, middle[1] + deep, low + rng.uniform(0.1, 0.5)]])
    return composer.finish(lamps(rng, half, height), walk, 0.06)


def corridor(composer: Composer, rng: np.random.Generator) -> Layout:
    """A corridor with doors, lamps and little else."""
    half = np.array([rng.uniform(5.0, 14.0), rng.uniform(0.8, 1.8)])
    height = float(rng.uniform(2.2, 3.5))
    _shell(composer, half, height, rng)
    power = float(rng.uniform(1.5, 8.0))
    for x in np.arange(-half[0] + 1.5, half[0], rng.uniform(2.0, 5.0))[:7]:
        composer.box((x, 0, height), (0.3, 0.12, 0.03), "lamp", emission=1.0,
                     tint=(power, power, power))
    leaf = fixtures.door(rng, height)
    for x in np.arange(-half[0] + 1.2, half[0] - 0.5, rng.uniform(2.5, 5.0))[:6]:
        side = float(rng.choice([-1, 1]))
        composer.build(leaf, float(x), side * half[1], 0.0, 0.0 if side < 0 else np.pi)
    _decorate(composer, half, height, int(rng.integers(3, 9)), rng, ends=rng.random() < 0.3)
    if rng.random() < 0.5:
        composer.build([between((-half[0], y, height - 0.2), (half[0], y, height - 0.2), 0.05,
                                "metal") for y in (0.7 * half[1], 0.8 * half[1])])
    _furnish(composer, half, int(rng.integers(2, 8)), rng, at_wall=1.0, size=(0.7, 1.0))
    walk = np.array([[-half[0] + 0.5, -half[1] + 0.35, rng.uniform(0.2, 1.0)],
                     [half[0] - 0.5, half[1] - 0.35, rng.uniform(1.1, height - 0.3)]])
    return composer.finish(lamps(rng, half * [0.5, 1.0], height), walk, 0.15)


def hall(composer: Composer, rng: np.random.Generator) -> Layout:
    """A machine hall or warehouse: beams, pipes, columns, racks, stairs, machines."""
    half = rng.uniform(4.0, rng.uniform(6.0, 15.0), 2)
    height = float(rng.uniform(3.5, 9.0))
    _shell(composer, half, height, rng)
    for x in np.linspace(-0.8, 0.8, int(rng.integers(2, 5))) * half[0]:
        composer.box((x, 0, height - 0.25), (0.1, half[1], 0.2), "metal")
        for side in (-0.97, 0.97):
            composer.box((x, side * half[1], height / 2), (0.15, 0.15, height / 2), "concrete")
    if rng.random() < 0.6:
        composer.build(fixtures.ceiling_lamps(rng, half[0], half[1], height - 0.5))
    _decorate(composer, half, height, int(rng.integers(4, 9)), rng, fixtures.ON_HALL_WALL)
    if rng.random() < 0.5:
        x, y = rng.uniform(-0.6, 0.6, 2) * half
        composer.place(industrial.stairs(rng), x, y, rng.uniform(0, 6.3))
    makers = (*3 * (industrial.engine,), *2 * (industrial.lockers,), *2 * (industrial.tank,),
              industrial.rack, industrial.crates, industrial.machine, furniture.cabinet,
              furniture.person, furniture.table)
    _furnish(composer, half, int(rng.integers(10, 26)), rng, makers, 0.55, (0.9, 1.6))
    walk = np.array([[-0.8 * half[0], -0.8 * half[1], rng.uniform(0.6, 1.5)],
                     [0.8 * half[0], 0.8 * half[1], rng.uniform(1.6, 0.7 * height)]])
    return composer.finish(lamps(rng, half, height), walk, 0.25)
