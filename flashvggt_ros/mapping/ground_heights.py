"""How high the ground is below each submap: what the occupancy grid measures heights from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.ground_plane import GroundPlane
from flashvggt_ros.mapping.submap import Submap

NEIGHBORS = 2  # submaps before and after whose ground is asked too: one wrong plane is outvoted


class GroundHeights:
    """The ground of each submap: the robot's base stands on it, or a plane was found.

    The base counts where it is known, since it is never a table. Both are kept relative to the
    keyframes, so that the ground moves with its submap.
    """

    def __init__(self) -> None:
        self._bases_camera: dict[int, NDArray[np.float64]] = {}
        self._feet_submap: dict[int, NDArray[np.float64]] = {}

    def measure(self, submap: Submap, ground: GroundPlane | None) -> None:
        """Take over what robot and plane say of the live submap; anew as it grows."""
        known = [
            (number, se3.inverse(state.T_base_camera)[:3, 3])
            for number, state in enumerate(submap.states) if state.T_base_camera is not None
        ]
        if known:
            bases = np.full((submap.frames, 3), np.nan)
            bases[[number for number, _ in known]] = [place for _, place in known]
            self._bases_camera[submap.index] = bases
        if ground is not None:
            center = np.median(submap.T_submap_camera[:, :3, 3], axis=0)
            foot = center - (ground.normal @ center - ground.offset) * ground.normal
            self._feet_submap[submap.index] = foot

    def copy(self, end: int) -> GroundHeights:
        """Return what is known of the submaps before number ``end``."""
        copy = GroundHeights()
        for index in sorted(self._bases_camera.keys() | self._feet_submap.keys()):
            if index < end:
                copy.restore(index, *self.kept(index))
        return copy

    def forget(self, index: int) -> None:
        """Forget a submap."""
        self._bases_camera.pop(index, None)
        self._feet_submap.pop(index, None)

    def kept(
        self, index: int
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Return what is known of a submap: bases in their cameras (K, 3), and its foot (3,).

        A base is NaN at keyframes where it is not known.
        """
        return self._bases_camera.get(index), self._feet_submap.get(index)

    def restore(
        self, index: int, bases_camera: NDArray[np.float64] | None,
        foot_submap: NDArray[np.float64] | None,
    ) -> None:
        """Take over what ``kept`` returned of a submap."""
        if bases_camera is not None:
            self._bases_camera[index] = bases_camera
        if foot_submap is not None:
            self._feet_submap[index] = foot_submap

    def heights(self, submaps: Sequence[Submap]) -> dict[int, float] | None:
        """Return z of the ground in the map [m] by number of submap; None: it was seen nowhere.

        It is the median over a submap and its neighbors; where they saw no ground, the nearest's.
        """
        measured = {submap.index: self._height(submap) for submap in submaps}
        known = {index: z for index, z in measured.items() if z is not None}
        if not known:
            return None
        numbers, heights = np.array(sorted(known)), np.array([known[i] for i in sorted(known)])
        found = {}
        for submap in submaps:
            away = np.abs(numbers - submap.index)
            near = heights[away <= max(NEIGHBORS, int(away.min()))]
            found[submap.index] = float(np.median(near))
        return found

    def _height(self, submap: Submap) -> float | None:
        bases_camera = self._bases_camera.get(submap.index)
        if bases_camera is not None:
            T_map_camera = submap.T_map_camera[: len(bases_camera)]
            below = np.einsum("kj,kj->k", T_map_camera[:, 2, :3], bases_camera)
            return float(np.nanmedian(T_map_camera[:, 2, 3] + below))
        foot_submap = self._feet_submap.get(submap.index)
        if foot_submap is not None:
            return float(submap.S_map_submap.transform_points(foot_submap)[2])
        return None
