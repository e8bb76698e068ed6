"""Where the images lie that the keyframe gate left out, because they showed nothing new."""

from __future__ import annotations

from array import array
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.trails import Trajectory

NO_FRAMES = Trajectory((), np.empty((0, 4, 4)))


class GatedFrames:
    """Remembers the stamps of keyframes and gated frames, eight bytes each, and places the latter.

    A gated frame shows what the keyframe before it shows, up to ``keyframe.min_motion``. Its pose
    is interpolated by stamp towards the next keyframe of the same camera; after the last keyframe,
    or where the next one has no place in the map (its chunk was lost), it is that of the keyframe
    before. Where that keyframe itself has no place, the gated frame has none either.
    """

    def __init__(self) -> None:
        self._keyframes: defaultdict[str, array[int]] = defaultdict(_stamps)
        self._gated: defaultdict[str, array[int]] = defaultdict(_stamps)

    def add(self, frame: FrameStamp, *, is_keyframe: bool) -> None:
        """Remember what the gate said of an image."""
        kept = self._keyframes if is_keyframe else self._gated
        kept[frame.camera].append(frame.stamp_ns)

    def placed(self, keyframes: Trajectory) -> Trajectory:
        """Return the gated frames that have a pose, camera by camera in order of their stamps.

        ``keyframes``: the map's trajectory, as it stands now.
        """
        parts = [self._of_camera(camera, keyframes) for camera in sorted(self._gated)]
        return joined(NO_FRAMES, *parts)

    def _of_camera(self, camera: str, trajectory: Trajectory) -> Trajectory:
        rows = [row for row, frame in enumerate(trajectory.frames) if frame.camera == camera]
        row_of = {trajectory.frames[row].stamp_ns: row for row in rows}
        keyframes = np.sort(np.array(self._keyframes[camera], np.int64))
        row = np.array([row_of.get(stamp, -1) for stamp in keyframes.tolist()] + [-1], np.intp)
        gated = np.sort(np.array(self._gated[camera], np.int64))
        before = np.searchsorted(keyframes, gated, side="right") - 1
        has_pose = (before >= 0) & (row[before] >= 0)
        gated, before = gated[has_pose], before[has_pose]
        start, end = row[before], row[before + 1]
        is_between = end >= 0
        fraction = np.zeros(len(gated))
        begin_ns, end_ns = keyframes[before[is_between]], keyframes[before[is_between] + 1]
        fraction[is_between] = (gated[is_between] - begin_ns) / (end_ns - begin_ns)
        T_map_camera = se3.interpolate(
            trajectory.T_map_camera[start],
            trajectory.T_map_camera[np.where(is_between, end, start)],
            fraction,
        )
        return Trajectory(tuple(FrameStamp(stamp, camera) for stamp in gated.tolist()),
                          T_map_camera)


def joined(*trajectories: Trajectory) -> Trajectory:
    """Return the frames of several trajectories in one, in the order given."""
    frames = tuple(frame for trajectory in trajectories for frame in trajectory.frames)
    poses: list[NDArray[np.float64]] = [trajectory.T_map_camera for trajectory in trajectories]
    return Trajectory(frames, np.concatenate(poses))


def _stamps() -> array[int]:
    return array("q")
