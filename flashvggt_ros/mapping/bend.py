"""How a submap is bent: drift within it, spread over its keyframes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3

TINY = 1e-12  # of a number in a bend: nothing is bent


@dataclass(frozen=True, eq=False)  # no slots: it keeps what it has worked out
class Bend:
    """Where the frame of a submap lies at its first and at its last keyframe, seen from its middle.

    Between these three it turns, moves and grows evenly, keyframe by keyframe: S_middle_at is the
    identity at ``share`` 0.5 of a submap's life, ``S_middle_first`` at 0, ``S_middle_last`` at 1.
    """

    S_middle_first: Sim3
    S_middle_last: Sim3

    @classmethod
    def none(cls) -> Bend:
        """Return that of a submap that is rigid."""
        return cls(Sim3.identity(), Sim3.identity())

    @cached_property
    def is_none(self) -> bool:
        """Whether nothing is bent."""
        return bool((np.abs(self._ends) < TINY).all())

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        """Rotation vector, translation, logarithm of the scale (7,) of first and last."""
        return np.stack([_numbers(self.S_middle_first), _numbers(self.S_middle_last)])

    def scales(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much what is seen at each share (K,) of a submap's life is larger."""
        grown: NDArray[np.float64] = np.exp(self._at(share)[:, 6])
        return grown

    def poses(
        self, T_submap_camera: NDArray[np.float64], share: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the poses (K, 4, 4) of keyframes that are each at a share (K,)."""
        if self.is_none:
            return T_submap_camera
        at = self._at(share)
        turns = Rotation.from_rotvec(at[:, :3]).as_matrix()
        places = np.exp(at[:, 6:]) * np.einsum("kij,kj->ki", turns, T_submap_camera[:, :3, 3])
        return se3.pose(turns @ T_submap_camera[:, :3, :3], places + at[:, 3:6])

    def points(
        self, points_submap: NDArray[np.float32], share: NDArray[np.float64],
        keyframe: NDArray[np.uint16],
    ) -> NDArray[np.float32]:
        """Return points (M, 3); ``keyframe`` (M,): which one sees each, at a ``share`` (K,)."""
        if self.is_none:
            return points_submap
        at = self._at(share)
        turns = np.exp(at[:, 6])[:, None, None] * Rotation.from_rotvec(at[:, :3]).as_matrix()
        turns, shifts = turns.astype(np.float32), at[:, 3:6].astype(np.float32)
        bent = np.einsum("mij,mj->mi", turns[keyframe], points_submap) + shifts[keyframe]
        return np.asarray(bent, np.float32)

    def _at(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """As ``_ends``, of S_middle_at (K, 7)."""
        along = 2 * np.asarray(share)[:, None] - 1
        first, last = self._ends
        return np.where(along < 0, -along * first, along * last)


def _numbers(S: Sim3) -> NDArray[np.float64]:
    rotvec = Rotation.from_matrix(S.rotation).as_rotvec()
    return np.concatenate([rotvec, S.translation, [np.log(S.scale)]])
