"""Distances between the cameras of a rig, as a submap sees them and as the rig is built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.rig_ties import RigTies

MIN_BASELINE = 0.01  # [m]


def baselines(
    T_submap_camera: NDArray[np.float64], ties: RigTies
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return of each tie: offset along the baseline [units], baseline [m], whether it counts (E,).

    The way of the baseline is what both cameras' orientations say; noise of places then does not
    make baselines longer. Shorter ones than 1 cm do not count, nor those of cameras whose
    orientations contradict each other entirely.
    """
    T_first, T_other = ties.first_poses(T_submap_camera), T_submap_camera[ties.other]
    baseline = ties.T_first_other[:, :3, 3]
    meters = np.linalg.norm(baseline, axis=1)
    turned = T_other[:, :3, :3] @ np.swapaxes(ties.T_first_other[:, :3, :3], 1, 2)
    way = ((T_first[:, :3, :3] + turned) @ baseline[:, :, None])[:, :, 0]
    length = np.linalg.norm(way, axis=1)
    is_clear = (meters >= MIN_BASELINE) & (length > 1e-6 * meters)
    offset = ((T_other - T_first)[:, :3, 3] * way).sum(axis=1) / np.where(is_clear, length, 1.0)
    return offset, meters, is_clear
