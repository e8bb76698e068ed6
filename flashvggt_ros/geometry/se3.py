"""Rigid transforms as 4x4 matrices: ``T_a_b`` maps points from frame b to frame a.

Every function takes arrays with any leading axes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def pose(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return T (..., 4, 4) from a rotation (..., 3, 3) and a translation (..., 3)."""
    rotation, translation = np.asarray(rotation), np.asarray(translation)
    leading = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    T = np.zeros((*leading, 4, 4))
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def inverse(T_a_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return T_b_a (..., 4, 4), using that the rotation is orthonormal."""
    R_b_a = np.swapaxes(T_a_b[..., :3, :3], -1, -2)
    return pose(R_b_a, -(R_b_a @ T_a_b[..., :3, 3, None])[..., 0])


def orthonormal(T_a_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return poses (..., 4, 4) with rotations that rounding has not made anything else of."""
    quaternions = quaternion_from_matrix(T_a_b[..., :3, :3])
    return pose(matrix_from_quaternion(quaternions), T_a_b[..., :3, 3])


def transform_points(T_a_b: NDArray[np.float64], points_b: NDArray[Any]) -> NDArray[Any]:
    """Return points (..., 3) of frame b in frame a, in the points' own float type.

    T_a_b is one transform (4, 4), or a stack (..., 4, 4) with one per set of points (..., M, 3).
    """
    if T_a_b.ndim == 2 and points_b.size and points_b.dtype in (np.float32, np.float64):
        # ten times as fast as a product with a matrix of three columns, and rounds as finely
        moved = np.asarray(cv2.transform(points_b.reshape(1, -1, 3), T_a_b[:3]))
        return moved.reshape(points_b.shape)
    R_a_b = T_a_b[..., :3, :3].astype(points_b.dtype)
    t_a_b = T_a_b[..., :3, 3].astype(points_b.dtype)
    if T_a_b.ndim > 2:
        t_a_b = t_a_b[..., None, :]
    points_a: NDArray[Any] = points_b @ np.swapaxes(R_a_b, -1, -2) + t_a_b
    return points_a


def matrix_from_quaternion(xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rotations (..., 3, 3) of quaternions (..., 4), scalar last, of any norm but zero."""
    xyzw = np.asarray(xyzw, np.float64)
    rotation: NDArray[np.float64] = Rotation.from_quat(xyzw.reshape(-1, 4)).as_matrix()
    return rotation.reshape(*xyzw.shape[:-1], 3, 3)


def quaternion_from_matrix(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit quaternions (..., 4), scalar last and not negative, of rotations (..., 3, 3)."""
    rotation = np.asarray(rotation, np.float64)
    xyzw: NDArray[np.float64] = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat()
    xyzw = np.where(xyzw[:, 3:] < 0, -xyzw, xyzw)
    return xyzw.reshape(*rotation.shape[:-2], 4)


def rotation_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return axes times angles (N, 3) [rad], 0 to pi, of rotations (N, 3, 3).

    As scipy's, which makes matrices orthonormal first, and for few of them takes three times as
    long. It has the last word beyond 120 degrees, where sines say too little.
    """
    R = np.asarray(rotation, np.float64)
    turned = R[:, [2, 0, 1], [1, 2, 0]] - R[:, [1, 2, 0], [2, 0, 1]]  # axes times 2 sin(angle)
    sines, cosines = np.linalg.norm(turned, axis=1), np.trace(R, axis1=1, axis2=2) - 1  # twice
    factors = np.arctan2(sines, cosines) / np.where(sines > 0, sines, 1)
    vectors: NDArray[np.float64] = turned * factors[:, None]
    is_far = cosines < -1
    if is_far.any():
        vectors[is_far] = Rotation.from_matrix(R[is_far]).as_rotvec()
    return vectors


def rotation_angle(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much rotations (..., 3, 3) turn [rad], 0 to pi, exact near both ends."""
    xyzw = quaternion_from_matrix(rotation)
    half: NDArray[np.float64] = np.arctan2(np.linalg.norm(xyzw[..., :3], axis=-1), xyzw[..., 3])
    return 2 * half


def interpolate(
    T_a_b0: NDArray[np.float64], T_a_b1: NDArray[np.float64], fraction: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Return poses (..., 4, 4) between two: translation linear, rotation at a constant rate.

    ``fraction`` (...): 0 gives ``T_a_b0``, 1 gives ``T_a_b1`` (spherical linear interpolation).
    """
    R0, R1 = T_a_b0[..., :3, :3], T_a_b1[..., :3, :3]
    turn = Rotation.from_matrix((np.swapaxes(R0, -1, -2) @ R1).reshape(-1, 3, 3)).as_rotvec()
    share = np.asarray(fraction, np.float64)[..., None]
    part = Rotation.from_rotvec(share.reshape(-1, 1) * turn).as_matrix().reshape(R0.shape)
    return pose(R0 @ part, (1 - share) * T_a_b0[..., :3, 3] + share * T_a_b1[..., :3, 3])
