"""Poses that glide to where a corrected map has them, instead of jumping there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3


class CorrectionLimiter:
    """Keeps D = ``T_shown_map`` (4, 4): poses are shown at D @ T where the map has them at T.

    When a correction moves the pose shown last, D takes up the move: what is shown stays. Then D
    goes back to the identity, the robot shown at most ``rate`` [m/s] and [rad/s] faster than it
    moves. Time is that of the images; it does not run backwards: an older stamp counts as the
    newest so far.
    """

    def __init__(self) -> None:
        self.T_shown_map = np.eye(4)
        self._stamp_ns = 0

    def absorb(self, T_before: NDArray[np.float64], T_after: NDArray[np.float64]) -> None:
        """Take up that the map has moved a pose (4, 4) that is shown: it stays where it is."""
        self.T_shown_map = self.T_shown_map @ T_before @ se3.inverse(T_after)

    def correction(
        self, T_map_robot: NDArray[np.float64], stamp_ns: int, rate: float
    ) -> NDArray[np.float64]:
        """Return T_shown_map (4, 4) for a robot that the map has at ``T_map_robot`` at a stamp."""
        most = max(0, stamp_ns - self._stamp_ns) * 1e-9 * rate
        self._stamp_ns = max(stamp_ns, self._stamp_ns)
        self.T_shown_map = _shrunk(self.T_shown_map, T_map_robot, most)
        return self.T_shown_map


def _shrunk(
    T_shown_map: NDArray[np.float64], T_map_robot: NDArray[np.float64], most: float
) -> NDArray[np.float64]:
    """Bring what a robot is shown nearer to its place, by up to ``most`` [m] and [rad]."""
    place = T_map_robot[:3, 3]
    offset = T_shown_map[:3, :3] @ place + T_shown_map[:3, 3] - place
    turn = Rotation.from_matrix(T_shown_map[:3, :3]).as_rotvec()
    offset, turn = _shortened(offset, most), _shortened(turn, most)
    rotation = Rotation.from_rotvec(turn).as_matrix()
    return se3.pose(rotation, place + offset - rotation @ place)


def _shortened(vector: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return np.zeros(3) if length <= by else vector * (1 - by / length)
