"""Cameras of the worlds, and where they look. The world frame is z up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole

PINHOLE = Pinhole(100.0, 100.0, 79.5, 59.5, 160, 120)
R_WORLD_FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical axes, looking along +x


def look(position: Sequence[float], yaw: float, pitch: float = 0.0) -> NDArray[np.float64]:
    """T_world_camera (4, 4) at a position [m] looking along yaw, and down by pitch [rad]."""
    (cy, sy), (cp, sp) = (np.cos(yaw), np.sin(yaw)), (np.cos(pitch), np.sin(pitch))
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    nod = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    return se3.pose(turn @ nod @ R_WORLD_FORWARD, np.asarray(position, np.float64))
