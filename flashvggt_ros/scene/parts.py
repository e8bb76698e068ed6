"""The parts that things are made of, in a thing's own frame: meters, z up, origin on the floor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene.primitives import BOX, CYLINDER, ELLIPSOID, rotation_z

Array = NDArray[np.float64]
UPRIGHT = np.eye(3)


class Part(NamedTuple):
    """One primitive of a thing: where it is [m], what its surface is, how it is textured."""

    kind: float
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    surface: str
    options: dict[str, Any]
    rotation: Array = UPRIGHT


Thing = list[Part]


def box(x: float, y: float, z: float, hx: float, hy: float, hz: float, surface: str,
        rotation: Array = UPRIGHT, **options: Any) -> Part:
    """Return a box of half sizes (hx, hy, hz)."""
    return Part(BOX, (x, y, z), (hx, hy, hz), surface, options, rotation)


def rod(x: float, y: float, z: float, radius: float, hz: float, surface: str,
        rotation: Array = UPRIGHT, **options: Any) -> Part:
    """Return a cylinder along z of half length hz."""
    return Part(CYLINDER, (x, y, z), (radius, radius, hz), surface, options, rotation)


def ball(x: float, y: float, z: float, rx: float, ry: float, rz: float, surface: str,
         rotation: Array = UPRIGHT, **options: Any) -> Part:
    """Return an ellipsoid of half axes (rx, ry, rz)."""
    return Part(ELLIPSOID, (x, y, z), (rx, ry, rz), surface, options, rotation)


def between(start: Iterable[float], end: Iterable[float], radius: float, surface: str,
            **options: Any) -> Part:
    """Return a cylinder from one point to another [m]: tubes, cables, beams."""
    a, b = np.array(list(start)), np.array(list(end))
    x, y, z = (a + b) / 2
    length = max(float(np.linalg.norm(b - a)), 1e-6)
    return rod(x, y, z, radius, length / 2, surface, axis_rotation((b - a) / length), **options)


def axis_rotation(axis: Array) -> Array:
    """Rotation (3, 3) that takes z to a unit vector ``axis``."""
    side = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.8 else np.array([0, 1.0, 0])
    y = np.cross(axis, side)
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, axis), y, axis], 1)


def tilt(about_x: float, about_y: float = 0.0, yaw: float = 0.0) -> Array:
    """Rotation (3, 3): first about x, then y, then z [rad]."""
    cx, sx, cy, sy = np.cos(about_x), np.sin(about_x), np.cos(about_y), np.sin(about_y)
    about = np.array([[cy, sy * sx, sy * cx], [0, cx, -sx], [-sy, cy * sx, cy * cx]])
    return np.asarray(rotation_z(yaw) @ about)


def moved(thing: Thing, x: float, y: float, z: float, yaw: float = 0.0,
          size: float = 1.0) -> Thing:
    """Return a thing scaled, turned about z, then shifted [m]."""
    R = rotation_z(yaw)
    result = []
    for part in thing:
        center = R @ (np.array(part.center) * size) + (x, y, z)
        half = (part.half[0] * size, part.half[1] * size, part.half[2] * size)
        result.append(part._replace(center=(center[0], center[1], center[2]), half=half,
                                    rotation=R @ part.rotation))
    return result
