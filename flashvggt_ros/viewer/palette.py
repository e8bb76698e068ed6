"""Okabe and Ito's palette: told apart under all common kinds of color blindness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

BLUE: Color = (0, 114, 178)
VERMILION: Color = (213, 94, 0)
GRAY: Color = (140, 140, 140)
SUBMAPS: tuple[Color, ...] = (
    BLUE,
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
)  # vermilion is the loops'


def submap_colors(submaps: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the color (K, 3) of each submap's number (K,); gray where it was merged (-1)."""
    colors = np.array(SUBMAPS, np.uint8)[submaps % len(SUBMAPS)]
    colors[submaps < 0] = GRAY
    return colors
