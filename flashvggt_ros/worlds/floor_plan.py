"""Buildings of boxes: walls with openings, furniture, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.worlds.scenery import Box

HEIGHT = 2.6  # of rooms [m]
DOOR = 2.05  # height of an opening in a wall [m]
WALL = 0.12  # thickness [m]
PICTURE = 0.015  # how far it stands out [m]

Corner = tuple[float, float, float]


def random_color(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a color (3,) that is neither black nor white [gray levels]."""
    return rng.uniform(50, 205, 3)


class FloorPlan:
    """Collects the boxes of a building; colors and textures are drawn from ``rng``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.boxes: list[Box] = []

    def add(
        self, low: Corner, high: Corner, color: NDArray[np.float64] | None = None,
        contrast: float = 0.3,
    ) -> Box:
        """Add a box between two corners [m], in a random color unless one is given."""
        color = random_color(self.rng) if color is None else color
        corners = np.array([low, high], np.float64)
        box = Box(corners[0], corners[1], color, contrast, self.rng.uniform(-50, 50, 3))
        self.boxes.append(box)
        return box

    def floor_and_ceiling(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Add floor and ceiling over a rectangle (x, y)."""
        self.add((*low, -0.1), (*high, 0.0))
        self.add((*low, HEIGHT), (*high, HEIGHT + 0.1), contrast=0.15)

    def wall(
        self, axis: int, at: float, start: float, end: float,
        openings: Sequence[tuple[float, float]] = (), thickness: float = WALL,
    ) -> None:
        """Add a wall along x (axis 0) or y (axis 1), centered on ``at``, from start to end.

        ``openings``: middle and width of each door opening, in order along the wall.
        """
        color = random_color(self.rng)
        edges = [start]
        for middle, width in openings:
            edges += [middle - width / 2, middle + width / 2]
        edges.append(end)
        for number, (a, b) in enumerate(pairwise(edges)):
            is_opening = number % 2 == 1
            low, high = [a, a, DOOR if is_opening else 0.0], [b, b, HEIGHT]
            low[1 - axis], high[1 - axis] = at - thickness / 2, at + thickness / 2
            self.add((low[0], low[1], low[2]), (high[0], high[1], high[2]), color)

    def picture(
        self, axis: int, face: float, side: int, middle: float, width: float, z: float,
        height: float, color: NDArray[np.float64] | None = None,
    ) -> None:
        """Hang a picture, or a door leaf, on a wall along x (axis 0) or y (axis 1).

        ``face``: where the wall's surface is; ``side`` 1 or -1: to which side it faces.
        """
        low = [middle - width / 2, middle - width / 2, z]
        high = [middle + width / 2, middle + width / 2, z + height]
        low[1 - axis], high[1 - axis] = sorted((face - side * PICTURE, face + side * PICTURE))
        self.add((low[0], low[1], low[2]), (high[0], high[1], high[2]), color, contrast=0.6)

    def furniture(self, x: float, y: float, size: Corner) -> None:
        """Stand a box of a size on the floor, around a point."""
        dx, dy, height = size
        self.add((x - dx / 2, y - dy / 2, 0.0), (x + dx / 2, y + dy / 2, height))
