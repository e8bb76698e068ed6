"""Stand-in for tf_transformations: rotations as 4x4 matrices and quaternions x y z w."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flashvggt_ros.geometry import se3


def quaternion_matrix(quaternion: ArrayLike) -> NDArray[np.float64]:
    """Return the rotation as (4, 4) without translation; the quaternion's norm does not matter."""
    rotation = se3.matrix_from_quaternion(np.asarray(quaternion, np.float64))
    return se3.pose(rotation, np.zeros(3))


def quaternion_from_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the unit quaternion (4,), w not negative, of the rotation in a (4, 4) matrix."""
    return se3.quaternion_from_matrix(np.asarray(matrix, np.float64)[:3, :3])
