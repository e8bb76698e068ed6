"""Paths that robots drive: poses of a base on the floor, x forward, z up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.worlds.cameras import look

CORNER_CUTS = 3
ROUNDING = 1.4  # how far before and after a corner its curve reaches, at most [m]

Mounts = Mapping[str, NDArray[np.float64]]


def drive(
    waypoints: Sequence[tuple[float, float]], step: float, is_closed: bool = False
) -> NDArray[np.float64]:
    """T_world_base (M, 4, 4) every ``step`` [m] along waypoints, corners rounded (Chaikin, 1974).

    The robot looks where it goes. On a closed path the step is fitted to its length, and the pose
    after the last one would be the first.
    """
    points = np.asarray(waypoints, np.float64)
    points = _beside_corners(points, is_closed)
    for _ in range(CORNER_CUTS):
        points = _cut_corners(points, is_closed)
    lengths = np.append(0.0, np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum())
    length = lengths[-1]
    if is_closed:
        at = length * np.arange(round(length / step)) / round(length / step)
        ahead, behind = (at + step) % length, (at - step) % length
    else:
        at = np.arange(0.0, length + 1e-9, step)
        ahead, behind = np.minimum(at + step, length), np.maximum(at - step, 0.0)
    heading = _interpolate(points, lengths, ahead) - _interpolate(points, lengths, behind)
    return base_poses(
        _interpolate(points, lengths, at), np.arctan2(heading[:, 1], heading[:, 0])
    )


def base_poses(places: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """T_world_base (M, 4, 4) on the floor at places (M, 2) [m], looking along yaw (M,) [rad]."""
    quaternions = np.zeros((len(yaw), 4))
    quaternions[:, 2], quaternions[:, 3] = np.sin(yaw / 2), np.cos(yaw / 2)
    translation = np.hstack([places, np.zeros((len(places), 1))])
    return se3.pose(se3.matrix_from_quaternion(quaternions), translation)


def mount(
    height: float = 1.2, pitch: float = 0.0, yaw: float = 0.0, side: float = 0.0
) -> NDArray[np.float64]:
    """T_base_camera (4, 4): a camera above the base, ``side`` to its left; pitch looks down."""
    return look((0.0, side, height), yaw, pitch)


def _beside_corners(points: NDArray[np.float64], is_closed: bool) -> NDArray[np.float64]:
    """Add a point before and one after each corner, so that only there the path is cut."""
    rows = []
    first, last = (0, len(points)) if is_closed else (1, len(points) - 1)
    for number in range(first, last):
        corner, others = points[number], (points[number - 1], points[(number + 1) % len(points)])
        before, after = (
            corner + (other - corner) * min(0.5, ROUNDING / np.linalg.norm(other - corner))
            for other in others
        )
        rows += [before, corner, after]
    if is_closed:
        return np.array([*rows, rows[0]])
    return np.array([points[0], *rows, points[-1]])


def _cut_corners(points: NDArray[np.float64], is_closed: bool) -> NDArray[np.float64]:
    first = 0.75 * points[:-1] + 0.25 * points[1:]
    second = 0.25 * points[:-1] + 0.75 * points[1:]
    inner = np.stack([first, second], axis=1).reshape(-1, 2)
    if is_closed:
        return np.concatenate([inner, inner[:1]])
    return np.concatenate([points[:1], inner, points[-1:]])


def _interpolate(
    points: NDArray[np.float64], lengths: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.stack([np.interp(at, lengths, points[:, axis]) for axis in range(2)], axis=1)
