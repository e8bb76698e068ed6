"""Which true poses are those of a run, by their stamps; and whether a truth can score a bag."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.evo_command import DEGENERATE, MAX_TIME_DIFFERENCE_S
from flashvggt_ros.tools.ground_truth import NANOSECONDS, GroundTruth

LEAST_POSES = 3  # what an alignment needs


def match_truth(stamps: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows of the truth nearest to each of ``stamps`` [ns], where they are close enough for evo."""
    if not len(stamps):
        return np.empty(0, np.intp)
    right = np.searchsorted(truth, stamps).clip(1, max(len(truth) - 1, 1))
    left = right - 1
    right = right.clip(max=len(truth) - 1)
    nearest = np.where(stamps - truth[left] <= truth[right] - stamps, left, right)
    near = np.abs(truth[nearest] - stamps) <= MAX_TIME_DIFFERENCE_S * NANOSECONDS
    return np.unique(nearest[near])


def mismatch(owner: str, things: str, stamps: Sequence[int], truth: GroundTruth, found: int) -> str:
    """Say that too few of the ``things`` (poses, images) of a run or bag have a true pose."""
    def span(times: Sequence[int], name: str) -> str:
        if not len(times):
            return f"no {name} at all"
        return f"{len(times)} {name} from {min(times) / 1e9:.3f} s to {max(times) / 1e9:.3f} s"

    return (
        f"only {found} {things} have a true pose within {MAX_TIME_DIFFERENCE_S} s; "
        f"at least {LEAST_POSES} are needed. The {owner} has {span(stamps, things)}, "
        f"the truth has {span(truth.stamps_ns, 'poses')}: it must be of the same recording, and "
        "have the times of the images' headers"
    )


def check_truth(truth: GroundTruth, bag: Bag, topics: Sequence[str], max_frames: int) -> None:
    """Raise ValueError where a truth cannot score a map of these image topics of a bag.

    Of a truth that can, only the first images are read; else all, or the first ``max_frames``.
    """
    positions = truth.T_world_camera[:, :3, 3]
    if len(positions) < LEAST_POSES:
        raise ValueError(f"the ground truth {truth.source} has only {len(positions)} poses; "
                         f"at least {LEAST_POSES} are needed")
    spread = positions - positions.mean(axis=0)
    if np.linalg.matrix_rank(spread, tol=float(np.finfo(np.float64).eps)) < 2:
        raise ValueError(f"the ground truth {truth.source} cannot be aligned{DEGENERATE}")
    true_stamps = np.array(truth.stamps_ns, np.int64)
    stamps: list[int] = []
    matched: set[int] = set()
    for message in islice(bag.messages(topics), max_frames or None):
        try:
            stamp = bag.decode(message).header.stamp
        except ValueError:
            continue
        stamps.append(stamp.sec * NANOSECONDS + stamp.nanosec)
        matched.update(match_truth(np.array(stamps[-1:], np.int64), true_stamps).tolist())
        if len(matched) >= LEAST_POSES:
            return
    raise ValueError(mismatch("bag", "images", stamps, truth, len(matched)))
