"""Which keyframes of a rig's cameras show one moment, and how the rig says they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

Array = NDArray[np.float64]
Index = NDArray[np.int64]
SAME_MOMENT_NS = 5_000_000
LARGEST_SLACK = 0.02  # [s^2]: what lies 0.2 s from both of two keyframes
DIGITS = 4  # of T_base_camera, to which keyframes are of one camera: 0.1 mm, 0.1 mrad


@dataclass(frozen=True, slots=True, eq=False)
class RigTies:
    """E pairs of views of two cameras at one moment, and their known relative pose.

    The second camera's view is keyframe ``other`` (E,); the first camera's lies at ``share`` (E,)
    of the way from keyframe ``before`` to ``after`` (E,), which are equal where it is a keyframe
    itself. ``T_first_other`` (E, 4, 4) [m]. ``slack`` (E,) [s^2]: half the product of the times
    from the moment to both keyframes: a constant acceleration times that is by how much even
    motion is wrong there. ``moment_ns`` (E,): when. Numbers count all keyframes, whatever order
    they are in.
    """

    before: Index
    after: Index
    share: Array
    other: Index
    T_first_other: Array
    slack: Array
    moment_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.other)

    def chosen(self, which: NDArray[np.bool_]) -> RigTies:
        """Return those where ``which`` (E,) is True."""
        return RigTies(
            self.before[which], self.after[which], self.share[which], self.other[which],
            self.T_first_other[which], self.slack[which], self.moment_ns[which],
        )

    def first_poses(self, T_submap_camera: Array) -> Array:
        """Poses (E, 4, 4) of the first camera at each moment, given those of all keyframes."""
        return se3.interpolate(
            T_submap_camera[self.before], T_submap_camera[self.after], self.share
        )


def find_ties(T_base_camera: Array, stamps_ns: NDArray[np.int64]) -> RigTies:
    """Find the moments that two cameras of a rig show, in keyframes of any order.

    ``T_base_camera`` (K, 4, 4): where each keyframe's camera sits [m], NaN where that is unknown;
    it tells who is who. ``stamps_ns`` (K,). Up to 5 ms apart count as one moment, whichever
    cameras they are. Else, as where cameras take turns or their clocks drift apart, the first
    camera's pose is interpolated between its keyframe before and the one after, where these are
    near enough (0.2 s each, or 0.04 s and 1 s); never is it continued beyond its last keyframe.
    """
    known = np.flatnonzero(np.isfinite(T_base_camera).all(axis=(1, 2)))
    order = known[np.argsort(stamps_ns[known], kind="stable")]
    stamps, camera = stamps_ns[order], _camera_numbers(T_base_camera[order])
    rows = [np.zeros((0, 5)), *_same_moments(stamps, camera)]
    tracks = [np.flatnonzero(camera == number) for number in np.unique(camera)]
    for first, second in combinations([track for track in tracks if len(track) > 1], 2):
        rows.append(_between(stamps, first, second))
    for first in [track for track in tracks if len(track) > 1]:
        for second in [track for track in tracks if len(track) == 1]:
            rows.append(_between(stamps, first, second))
    table = np.concatenate(rows)
    before, after, other = order[table[:, :3].astype(np.int64)].T
    T_first_other = se3.inverse(T_base_camera[before]) @ T_base_camera[other]
    is_same = table[:, 3] == 0
    moment_ns = np.where(is_same, stamps_ns[before], stamps_ns[other])
    return RigTies(before, after, table[:, 3], other, T_first_other, table[:, 4], moment_ns)


def _camera_numbers(T_base_camera: Array) -> Index:
    """Number the places on the rig (K,); equal ones have one number."""
    rounded = np.round(T_base_camera.reshape(-1, 16), DIGITS)
    numbers: Index = np.unique(rounded, axis=0, return_inverse=True)[1].ravel()
    return numbers


def _same_moments(stamps: NDArray[np.int64], camera: Index) -> Iterator[Array]:
    """Rows (n, 5) of before, after, other, share, slack: views of other cameras within 5 ms."""
    ends = np.searchsorted(stamps, stamps + SAME_MOMENT_NS, "right")
    for first, end in enumerate(ends.tolist()):
        others = first + 1 + np.flatnonzero(camera[first + 1 : end] != camera[first])
        is_lower = camera[others] < camera[first]  # the first of two cameras is always the same
        rows = np.zeros((len(others), 5))
        rows[:, 0] = rows[:, 1] = np.where(is_lower, others, first)
        rows[:, 2] = np.where(is_lower, first, others)
        yield rows


def _between(stamps: NDArray[np.int64], first: Sequence[int] | Index, second: Index) -> Array:
    """Rows, as above, of the second camera's keyframes that lie between two of the first's."""
    first = np.asarray(first)
    after = np.searchsorted(stamps[first], stamps[second], "right")
    is_inside = (after > 0) & (after < len(first))
    before, after, other = first[after[is_inside] - 1], first[after[is_inside]], second[is_inside]
    since, until = stamps[other] - stamps[before], stamps[after] - stamps[other]
    slack = 0.5e-18 * since * until
    is_used = (since > SAME_MOMENT_NS) & (until > SAME_MOMENT_NS) & (slack <= LARGEST_SLACK)
    share = since / np.maximum(since + until, 1)
    return np.stack([before, after, other, share, slack], axis=1)[is_used]
