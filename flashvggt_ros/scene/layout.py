"""Random scenes: rooms, corridors and streets, composed of things and surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene import furniture
from flashvggt_ros.scene.primitives import BOX, CYLINDER, LIGHTS, primitive, rotation_z
from flashvggt_ros.scene.textures import Textures

MOST_PRIMITIVES = 56
PLACES = ("room", "corridor", "street")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A composed scene.

    ``rows`` (P, 32): primitives, the enclosing one first. ``groups`` (P,): which thing each belongs
    to; 0 is the building itself. ``lights`` (20,). ``walk`` (2, 3): lowest and highest corner of
    the space that a camera may move in [m]. ``pace``: typical step of a camera here [m].
    """

    rows: NDArray[np.float32]
    groups: NDArray[np.int64]
    lights: NDArray[np.float32]
    walk: Array
    pace: float


class Composer:
    """Collects primitives while a scene is made."""

    def __init__(self, textures: Textures, rng: np.random.Generator) -> None:
        self.textures, self.rng = textures, rng
        self.rows: list[NDArray[np.float32]] = []
        self.groups: list[int] = []
        self.group = 0

    def add(self, kind: float, center: Array, half: Array, rotation: Array, surface: str,
            **options: Any) -> None:
        """Add a primitive with random textures of a surface kind."""
        rng = self.rng
        options.setdefault("scale", float(np.exp(rng.uniform(np.log(0.3), np.log(1.5)))))
        if "tint" not in options:
            tint = rng.uniform(0.45, 1.0) * (1 + rng.uniform(-0.2, 0.2, 3))
            options["tint"] = tuple(np.clip(tint, 0.05, 1.0))
        options.setdefault("contrast", float(rng.uniform(0.3, 1.0)))
        options.setdefault("macro", float(rng.uniform(0.1, 0.7)))
        options.setdefault("offset", tuple(rng.random(2)))
        if "textures" not in options:
            options["textures"] = (self.textures.pick(surface, rng),)
        self.rows.append(primitive(kind, center, np.maximum(half, 1e-3), rotation, **options))
        self.groups.append(self.group)

    def box(self, center: tuple[float, float, float], half: tuple[float, float, float],
            surface: str, **options: Any) -> None:
        """Add an axis-aligned box."""
        self.add(BOX, np.array(center), np.array(half), np.eye(3), surface, **options)

    def place(self, thing: furniture.Thing, x: float, y: float, yaw: float,
              size: float = 1.0) -> None:
        """Add a thing on the floor as a group of its own, if there is room in the table."""
        if len(self.rows) + len(thing) > MOST_PRIMITIVES:
            return
        self.group += 1
        rotation = rotation_z(yaw)
        tints: dict[str, tuple[float, ...]] = {}
        pictures: dict[str, tuple[int, ...]] = {}
        for part in thing:
            tint = self.rng.uniform(0.4, 1.0) * (1 + self.rng.uniform(-0.25, 0.25, 3))
            options = {"tint": tints.setdefault(part.surface, tuple(np.clip(tint, 0.03, 1)))}
            if part.surface not in ("poster", "paper"):
                picture = (self.textures.pick(part.surface, self.rng),)
                options["textures"] = pictures.setdefault(part.surface, picture)
            center = rotation @ (np.array(part.center) * size) + [x, y, 0]
            self.add(part.kind, center, np.array(part.half) * size, rotation, part.surface,
                     **(options | part.options))


def compose(place: str, textures: Textures, rng: np.random.Generator) -> Layout:
    """Compose a random room, corridor or street."""
    makers: dict[str, Callable[[Composer, np.random.Generator], Layout]] = {
        "room": _room, "corridor": _corridor, "street": _street,
    }
    if place not in makers:
        raise ValueError(f"place is {place!r}: it must be one of {PLACES}")
    return makers[place](Composer(textures, rng), rng)


def _shell(composer: Composer, half: Array, height: float, rng: np.random.Generator) -> None:
    """The inside of a room: floor at z = 0, ceiling at ``height``."""
    wall, floor, ceiling = (composer.textures.pick(kind, rng) for kind in ("wall", "floor", "wall"))
    other = composer.textures.pick("wall", rng) if rng.random() < 0.4 else wall
    composer.box((0, 0, height / 2), (half[0], half[1], height / 2), "wall",
                 textures=(wall, other, wall, wall, floor, ceiling),
                 tint=tuple(rng.uniform(0.6, 1.0) * (1 + rng.uniform(-0.1, 0.1, 3))),
                 contrast=float(rng.uniform(0.15, 1.0)))
    if rng.random() < 0.6:  # a floor of its own look, just above the shell's
        composer.box((0, 0, 0.0), (half[0], half[1], 0.004), "floor")


def _on_wall(composer: Composer, half: Array, height: float, count: int,
             rng: np.random.Generator) -> None:
    """Posters, windows, doors, boards, skirting and pipes on the four walls."""
    for _ in range(count):
        axis, sign = int(rng.integers(2)), int(rng.choice([-1, 1]))
        along = rng.uniform(-0.85, 0.85) * half[1 - axis]
        kind = rng.random()
        if kind < 0.45:
            w, h = rng.uniform(0.15, 0.7, 2)
            z, options = rng.uniform(1.0, height - 0.7), {"scale": -1.0}
            surface, depth = ("poster" if rng.random() < 0.6 else "paper"), 0.01
        elif kind < 0.65:
            w, h, z = rng.uniform(0.4, 0.5), 1.0, 1.0
            surface, depth, options = "wood", 0.03, {}
        elif kind < 0.85:
            w, h = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.7)
            z, surface, depth = height * 0.55, "sky", 0.02
            options = {"scale": -1.0, "emission": float(rng.uniform(0.3, 1.0))}
        else:
            w, h, z = rng.uniform(0.3, 0.8), rng.uniform(0.02, 0.2), rng.uniform(0.1, height - 0.2)
            surface, depth, options = "metal", rng.uniform(0.03, 0.2), {}
        center, size = np.zeros(3), np.array([0.0, 0.0, h])
        center[axis], center[1 - axis], center[2] = sign * half[axis], along, z
        size[axis], size[1 - axis] = depth, w
        if surface == "sky":
            frame = size + 0.06
            frame[axis] = 0.6 * depth
            composer.add(BOX, center, frame, np.eye(3), "wood", contrast=0.4)
        composer.add(BOX, center, size, np.eye(3), surface, **options)


def _lights(rng: np.random.Generator, half: Array, height: float) -> NDArray[np.float32]:
    """Two lamps below the ceiling, or light from outside, and what the walls give back."""
    lights = np.zeros(LIGHTS, np.float32)
    for number in range(2):
        warm = 1 + rng.uniform(-0.2, 0.2) * np.array([1.0, 0.1, -1.0])
        at = [rng.uniform(-0.8, 0.8) * half[0], rng.uniform(-0.8, 0.8) * half[1],
              height - rng.uniform(0.1, 0.5)]
        lights[7 * number : 7 * number + 3] = at
        lights[7 * number + 3 : 7 * number + 6] = rng.uniform(0.2, 1.3) * warm
        lights[7 * number + 6] = rng.uniform(0.02, 0.25)
    lights[14:17] = rng.uniform(0.15, 0.6) * (1 + rng.uniform(-0.1, 0.1, 3))
    lights[17] = rng.uniform(0.3, 0.9)
    return lights


def _finish(composer: Composer, lights: NDArray[np.float32], walk: Array, pace: float) -> Layout:
    rows = np.stack(composer.rows[:MOST_PRIMITIVES])
    groups = np.array(composer.groups[:MOST_PRIMITIVES])
    return Layout(rows, groups, lights, walk, pace)


def _room(composer: Composer, rng: np.random.Generator) -> Layout:
    half = np.array([rng.uniform(1.6, 4.5), rng.uniform(1.6, 4.5)])
    height = rng.uniform(2.3, 3.6)
    _shell(composer, half, height, rng)
    _on_wall(composer, half, height, int(rng.integers(3, 10)), rng)
    if rng.random() < 0.4 and half.min() > 2.2:
        _partition(composer, half, height, rng)
    if rng.random() < 0.5:
        composer.box((rng.uniform(-0.4, 0.4) * half[0], 0, height),
                     (rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6), 0.05), "paper", emission=0.9)
    for _ in range(int(rng.integers(4, 16))):
        make = furniture.INDOOR[int(rng.integers(len(furniture.INDOOR)))]
        x, y = rng.uniform(-0.85, 0.85, 2) * half
        if rng.random() < 0.6:  # most things stand along a wall
            axis = int(rng.integers(2))
            place = np.array([x, y])
            place[axis] = rng.choice([-1, 1]) * (half[axis] - rng.uniform(0.2, 0.5))
            x, y = place
        yaw = rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.1)
        composer.place(make(rng), x, y, yaw, float(rng.uniform(0.85, 1.2)))
    walk = np.array([[-half[0] + 0.3, -half[1] + 0.3, rng.uniform(0.2, 0.9)],
                     [half[0] - 0.3, half[1] - 0.3, rng.uniform(1.2, height - 0.3)]])
    return _finish(composer, _lights(rng, half, height), walk, 0.1)


def _partition(composer: Composer, half: Array, height: float, rng: np.random.Generator) -> None:
    """A wall across the room with a doorway."""
    x, gap = rng.uniform(-0.3, 0.3) * half[0], rng.uniform(-0.4, 0.4) * half[1]
    wide = rng.uniform(0.4, 0.8)
    look = {"tint": tuple(rng.uniform(0.5, 1.0, 3)), "scale": float(rng.uniform(0.3, 1.0)),
            "textures": (composer.textures.pick("wall", rng),)}
    for low, high in ((-half[1], gap - wide), (gap + wide, half[1])):
        composer.box((x, (low + high) / 2, height / 2), (0.07, (high - low) / 2, height / 2),
                     "wall", **look)
    composer.box((x, gap, (height + 2.05) / 2), (0.07, wide, (height - 2.05) / 2), "wall", **look)


def _corridor(composer: Composer, rng: np.random.Generator) -> Layout:
    half = np.array([rng.uniform(5.0, 14.0), rng.uniform(0.8, 1.8)])
    height = rng.uniform(2.2, 3.5)
    _shell(composer, half, height, rng)
    _on_wall(composer, np.array([half[0], half[1]]), height, int(rng.integers(8, 18)), rng)
    for x in np.arange(-half[0] + 1.5, half[0], rng.uniform(2.0, 5.0))[:6]:
        composer.box((x, 0, height), (0.3, 0.12, 0.04), "paper", emission=0.9)
    if rng.random() < 0.5:
        composer.add(CYLINDER, np.array([0, 0.7 * half[1], height - 0.2]),
                     np.array([0.06, 0.06, half[0]]),
                     np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]), "metal")
    for _ in range(int(rng.integers(2, 9))):
        make = furniture.INDOOR[int(rng.integers(len(furniture.INDOOR)))]
        side = rng.choice([-1, 1])
        composer.place(make(rng), rng.uniform(-0.95, 0.95) * half[0],
                       side * (half[1] - rng.uniform(0.1, 0.4)),
                       (0 if side < 0 else np.pi) + rng.normal(0, 0.1),
                       float(rng.uniform(0.6, 1.0)))
    walk = np.array([[-half[0] + 0.5, -half[1] + 0.35, rng.uniform(0.2, 1.0)],
                     [half[0] - 0.5, half[1] - 0.35, rng.uniform(1.1, height - 0.3)]])
    return _finish(composer, _lights(rng, half * [0.5, 1.0], height), walk, 0.15)


def _street(composer: Composer, rng: np.random.Generator) -> Layout:
    half = np.array([rng.uniform(25, 60), rng.uniform(25, 60)])
    sky, ground = composer.textures.pick("sky", rng), composer.textures.pick("floor", rng)
    composer.box((0, 0, 20), (half[0] + 30, half[1] + 30, 40), "sky",
                 textures=(sky, sky, sky, sky, ground, sky), scale=0.02, emission=0.9, macro=0.0,
                 tint=tuple(np.array([0.9, 0.95, 1.0]) * rng.uniform(0.6, 1.2)))
    composer.box((0, 0, -0.5), (half[0] + 30, half[1] + 30, 0.5), "floor", macro=0.9,
                 scale=float(rng.uniform(0.1, 0.5)))
    road = rng.uniform(2.5, 5.0)
    composer.box((0, 0, 0), (half[0], road, 0.01), "stone", scale=float(rng.uniform(0.15, 0.5)))
    for side in (-1, 1):
        x = -half[0]
        while x < half[0] and len(composer.rows) < 26:
            w, d, h = rng.uniform(2.5, 9), rng.uniform(2, 6), rng.uniform(1.0, 9)
            y = side * (road + rng.uniform(1.0, 4.0) + d)
            composer.box((x + w, y, h), (w, d, h), "wall", scale=float(rng.uniform(0.1, 0.5)))
            if rng.random() < 0.8:
                front = y - side * d
                composer.box((x + w * rng.uniform(0.6, 1.4), front, rng.uniform(1.0, h)),
                             (rng.uniform(0.5, 2.0), 0.15, rng.uniform(0.5, 1.5)), "poster",
                             scale=-float(rng.integers(1, 4)))
            x += 2 * w + (rng.uniform(0, 6) if rng.random() < 0.5 else 0)
    for _ in range(int(rng.integers(6, 16))):
        make = furniture.OUTDOOR[int(rng.integers(len(furniture.OUTDOOR)))]
        y = rng.choice([-1, 1]) * (road + rng.uniform(-1.2, 1.5))
        composer.place(make(rng), rng.uniform(-0.6, 0.6) * half[0], y,
                       rng.normal(0, 0.1) + np.pi * rng.integers(2))
    lights = np.zeros(LIGHTS, np.float32)
    sun = np.array([*rng.normal(0, 1, 2), rng.uniform(0.4, 1.5)])
    lights[0:3] = 500 * sun / np.linalg.norm(sun)
    lights[3:6] = rng.uniform(0.3, 1.4) * np.array([1.0, 0.95, 0.85])
    lights[7:10] = [0, 0, 500.0]
    lights[10:13] = rng.uniform(0.1, 0.3)
    lights[14:17] = rng.uniform(0.25, 0.6) * np.array([0.9, 0.95, 1.1])
    lights[17] = rng.uniform(0.5, 0.95)
    low = rng.uniform(0.4, 1.4)
    walk = np.array([[-0.5 * half[0], -road + 0.8, low],
                     [0.5 * half[0], road - 0.8, low + rng.uniform(0.3, 0.8)]])
    return _finish(composer, lights, walk, 0.5)
