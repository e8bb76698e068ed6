"""Where keyframes were taken, and which submaps of the map they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp


@dataclass(frozen=True, slots=True, eq=False)
class CameraPath:
    """Poses ``T_map_camera`` (K, 4, 4) of the keyframes ``frames`` (K), in order of arrival.

    ``submaps`` (K,): the number of each one's submap, -1 where it is not known. ``loops`` (L, 2):
    numbers of submaps that show the same place and do not follow each other.
    """

    frames: tuple[FrameStamp, ...]
    T_map_camera: NDArray[np.float64]
    submaps: NDArray[np.int64]
    loops: NDArray[np.int64]

    @property
    def positions(self) -> NDArray[np.float64]:
        """Places (K, 3) of the cameras in the map."""
        return self.T_map_camera[:, :3, 3]

    def steps(self) -> NDArray[np.int64]:
        """Return rows (S, 2) of keyframes of the same camera that follow each other."""
        rows: dict[str, list[int]] = {}
        for row, frame in enumerate(self.frames):
            rows.setdefault(frame.camera, []).append(row)
        pairs = [np.stack([own[:-1], own[1:]], axis=1) for own in rows.values() if len(own) > 1]
        return np.concatenate([np.zeros((0, 2), np.int64), *pairs])

    def loop_ends(self) -> NDArray[np.float64]:
        """Return the ends (L, 2, 3) of lines between the middle keyframes of the loops' submaps.

        Of loops between submaps whose keyframes are not in the path there are none.
        """
        middles = {}
        for submap in np.unique(self.submaps).tolist():
            own = np.flatnonzero(self.submaps == submap)
            middles[submap] = self.positions[own[len(own) // 2]]
        ends = [
            (middles[first], middles[second])
            for first, second in self.loops.tolist()
            if first in middles and second in middles
        ]
        return np.array(ends, np.float64).reshape(-1, 2, 3)
