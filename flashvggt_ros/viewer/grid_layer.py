"""The occupancy grid on the page, as a picture that lies on the floor."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.occupancy_grid import OCCUPIED, UNKNOWN, Grid
from flashvggt_ros.viewer.palette import Color

NAME = "/grid/picture"
FREE_COLOR: Color = (235, 235, 235)
OCCUPIED_COLOR: Color = (20, 20, 20)
OPACITY = 200  # of cells that are known
LARGEST = 2048  # edge of the picture [px]; larger grids are made coarser
DOWN = (0.0, 1.0, 0.0, 0.0)  # wxyz: the picture's first row is at the largest y, its back below


class GridLayer:
    """Shows an occupancy grid just below the points."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self.root = scene.add_frame("/grid", show_axes=False)

    def show(self, grid: Grid, ground_z: float) -> None:
        """Show a grid at height ``ground_z`` [m] in place of the one before."""
        if not (grid.cells != UNKNOWN).any():
            self._scene.remove_by_name(NAME)
            return
        height, width = np.array(grid.cells.shape) * grid.resolution
        x, y = grid.origin_xy + np.array([width, height]) / 2
        self._scene.add_image(
            NAME, grid_picture(grid), float(width), float(height), format="png", wxyz=DOWN,
            position=(float(x), float(y), ground_z), cast_shadow=False, receive_shadow=False,
        )


def grid_picture(grid: Grid) -> NDArray[np.uint8]:
    """Return the grid as RGBA (h, w, 4), the largest y first, what is unknown transparent."""
    share = np.arange(OCCUPIED + 1)[:, None] / OCCUPIED
    color = np.array(FREE_COLOR) + share * (np.array(OCCUPIED_COLOR) - np.array(FREE_COLOR))
    known = np.concatenate([color, np.full((OCCUPIED + 1, 1), OPACITY)], axis=1)
    table = np.concatenate([known, np.zeros((1, 4))]).astype(np.uint8)  # row -1: unknown
    picture = table[np.clip(grid.cells[::-1], UNKNOWN, OCCUPIED)]
    largest = max(picture.shape[:2])
    if largest > LARGEST:
        height, width = (max(1, edge * LARGEST // largest) for edge in picture.shape[:2])
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    return picture
