"""Collects the primitives of a scene while it is composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene.materials import STYLE_SHARES, Palette
from flashvggt_ros.scene.parts import Array, Thing, box, moved
from flashvggt_ros.scene.primitives import STYLE, primitive
from flashvggt_ros.scene.textures import Textures

MOST_PRIMITIVES = 128
_EACH_OWN = ("poster", "paper", "book", "plastic", "view", "screen")  # surfaces never shared


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
    """Collects primitives while a scene is made, each with a material in the scene's style."""

    def __init__(self, textures: Textures, rng: np.random.Generator,
                 style: int | None = None) -> None:
        self.style = int(rng.choice(len(STYLE_SHARES), p=STYLE_SHARES)) if style is None else style
        self.textures, self.rng = textures, rng
        self.palette = Palette(textures, self.style, rng)
        self.rows: list[NDArray[np.float32]] = []
        self.groups: list[int] = []
        self._group = 0

    @property
    def free(self) -> int:
        """Number of primitives that still fit."""
        return MOST_PRIMITIVES - len(self.rows)

    def box(self, center: tuple[float, float, float], half: tuple[float, float, float],
            surface: str, **options: Any) -> None:
        """Add an axis-aligned box to the building; no room in the table: leave it out."""
        self.build([box(*center, *half, surface, **options)])

    def build(self, thing: Thing, x: float = 0.0, y: float = 0.0, z: float = 0.0,
              yaw: float = 0.0, size: float = 1.0) -> None:
        """Add a thing as part of the building, which stays however near a camera comes."""
        self._add(moved(thing, x, y, z, yaw, size), 0)

    def place(self, thing: Thing, x: float, y: float, yaw: float, size: float = 1.0,
              z: float = 0.0) -> None:
        """Add a thing as a group of its own, which gives way to a camera's path."""
        if thing and len(thing) <= self.free:
            self._group += 1
            self._add(moved(thing, x, y, z, yaw, size), self._group)

    def _add(self, thing: Thing, group: int) -> None:
        if len(thing) > self.free:
            return
        shared: dict[str, dict[str, Any]] = {}
        for part in thing:
            if part.surface not in shared or part.surface.split(":")[0] in _EACH_OWN:
                shared[part.surface] = self.palette.material(part.surface)
            options = shared[part.surface] | part.options
            center, half = np.array(part.center), np.maximum(part.half, 1e-3)
            self.rows.append(primitive(part.kind, center, half, part.rotation, **options))
            self.groups.append(group)

    def finish(self, lights: NDArray[np.float32], walk: Array, pace: float) -> Layout:
        """Return the layout, the style noted among its lights."""
        lights[STYLE] = self.style
        return Layout(np.stack(self.rows), np.array(self.groups), lights, walk, pace)
