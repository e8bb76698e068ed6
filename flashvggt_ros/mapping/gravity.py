"""Which way is up in a submap: from the robot's frames, an IMU or the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.ground_plane import GroundPlane

CAMERA_UP = np.array([0.0, -1.0, 0.0])  # of a level camera (optical axes)
BASE_UP = np.array([0.0, 0.0, 1.0])
TF_SIGMA = 0.015  # how level robots stand and cameras are mounted [rad]
IMU_SIGMA = 0.015  # what filters leave of accelerations, and of mounting [rad]
ASSUMED_SIGMA = 0.35  # how level a camera of which nothing is known is held [rad]
MIN_SPREAD = 0.003  # of directions that agree [rad]
CORRELATED = 4  # keyframes that a robot's tilt, or an acceleration, lasts
MIN_SHARE = 0.5  # of the directions that must agree
AGREEMENT = 0.1  # of directions with their mean [rad]


@dataclass(frozen=True, slots=True, eq=False)
class UpDirection:
    """Unit vector (3,) against gravity in the submap's frame, and who says so.

    ``sigma_rad`` is its standard deviation about each level axis; ``source`` is tf, imu, ground or
    assumed.
    """

    up_submap: NDArray[np.float64]
    sigma_rad: float
    source: str


def estimate_up(
    T_submap_camera: NDArray[np.float64],
    T_base_camera: Sequence[NDArray[np.float64] | None],
    up_camera: Sequence[NDArray[np.float64] | None],
    ground: GroundPlane | None,
    source: str = "auto",
) -> UpDirection:
    """Say which way is up, from the first source that knows: tf, imu, ground.

    ``T_submap_camera`` (K, 4, 4), at least one of them finite, and for each keyframe the camera's
    place on the robot (4, 4), whose z is up, and the unit vector (3,) up in the camera's frame by
    an IMU; None where unknown. A robot tilts on ramps and bumps: the direction that most keyframes
    agree on counts, and those that differ make it less sure, as does an IMU that contradicts TF.
    With none of the sources the first camera is taken as level ("assumed"). ``source`` (parameter
    gravity.source) other than auto asks that one only; none assumes.
    """
    asked = ("tf", "imu", "ground") if source == "auto" else (source,)
    tf = _mean_up(_ups_by_tf(T_submap_camera, T_base_camera), TF_SIGMA, "tf")
    imu = _mean_up(_ups_by_imu(T_submap_camera, up_camera), IMU_SIGMA, "imu")
    if "tf" in asked and tf is not None:
        return _doubted(tf, imu) if imu is not None and "imu" in asked else tf
    if "imu" in asked and imu is not None:
        return imu
    if "ground" in asked and ground is not None:
        return UpDirection(ground.normal, ground.sigma_rad, "ground")
    return UpDirection(assumed_up(T_submap_camera), ASSUMED_SIGMA, "assumed")


def assumed_up(T_submap_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up (3,) if the first camera of (K, 4, 4) whose pose is finite is level."""
    for T in T_submap_camera:
        if np.isfinite(T).all():
            up: NDArray[np.float64] = T[:3, :3] @ CAMERA_UP
            return up
    raise ValueError(f"none of {len(T_submap_camera)} camera poses is finite")


def _ups_by_tf(
    T_submap_camera: NDArray[np.float64], T_base_camera: Sequence[NDArray[np.float64] | None]
) -> list[NDArray[np.float64]]:
    return [
        T[:3, :3] @ T_base[:3, :3].T @ BASE_UP
        for T, T_base in zip(T_submap_camera, T_base_camera, strict=True)
        if T_base is not None
    ]


def _ups_by_imu(
    T_submap_camera: NDArray[np.float64], up_camera: Sequence[NDArray[np.float64] | None]
) -> list[NDArray[np.float64]]:
    return [
        T[:3, :3] @ up
        for T, up in zip(T_submap_camera, up_camera, strict=True)
        if up is not None
    ]


def _mean_up(
    directions: Sequence[NDArray[np.float64]], floor: float, source: str
) -> UpDirection | None:
    """Direction that most agree on (Tukey's biweight, from the most central one); None of none."""
    ups = np.array(directions, np.float64).reshape(-1, 3)
    lengths = np.linalg.norm(ups, axis=1)
    is_valid = np.isfinite(lengths) & (lengths > 1e-6)
    ups = ups[is_valid] / lengths[is_valid, None]
    if not len(ups):
        return None
    up = ups[np.argmin(np.median(_angles(ups, ups), axis=1))]
    for _ in range(20):
        angles = _angles(ups, up)
        width = 4 * max(float(np.median(angles)), MIN_SPREAD)
        weights = np.clip(1 - (angles / width) ** 2, 0, None) ** 2
        up = weights @ ups
        up = up / np.linalg.norm(up)
    angles = _angles(ups, up)
    blocks = max(1.0, len(ups) / CORRELATED)
    typical = float(np.median(angles)) / math.sqrt(blocks)
    doubt = float(np.clip(angles, 0, ASSUMED_SIGMA)[weights == 0].sum()) / len(ups)
    return UpDirection(up, math.hypot(floor, typical, doubt), source)


def _doubted(first: UpDirection, second: UpDirection) -> UpDirection:
    """Make ``first`` as unsure as ``second`` contradicts it."""
    angle = float(_angles(first.up_submap[None], second.up_submap)[0])
    sigma = max(first.sigma_rad, angle) if angle > 2 * first.sigma_rad else first.sigma_rad
    return UpDirection(first.up_submap, sigma, first.source)


def _angles(ups: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between unit vectors (n, 3) and (3,) or each of (m, 3) [rad]: (n,) or (n, m)."""
    angles: NDArray[np.float64] = np.arccos(np.clip(ups @ others.T, -1, 1))
    return angles
