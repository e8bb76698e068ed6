"""Whether what images say of a rig's cameras agrees with where TF says that they sit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.mapping.consensus import MAD
from flashvggt_ros.mapping.rig_baselines import baselines
from flashvggt_ros.mapping.rig_ties import RigTies

Array = NDArray[np.float64]
LEAST_TIES = 4  # of two cameras, before anything is said of them
SIGNIFICANCE = 4.0  # standard errors by which a disagreement must stand out of its scatter
MAX_SHIFT_DEPTH = 0.03  # relative to the median depth: models know places no better
MAX_SHIFT_BASELINE = 0.5  # relative to the baseline


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """By how much the images' view of ties differs from the rig's, in the other camera's axes.

    ``turns`` (E, 3) rotation vectors [rad], ``shifts`` (E, 3) [submap units].
    """

    turns: Array
    shifts: Array


def disagreement(T_submap_camera: Array, ties: RigTies, units_per_meter: float) -> Disagreement:
    """Compare poses (K, 4, 4) with what the rig says of them."""
    T_first, T_other = ties.first_poses(T_submap_camera), T_submap_camera[ties.other]
    R_expected = T_first[:, :3, :3] @ ties.T_first_other[:, :3, :3]
    turns = Rotation.from_matrix(np.swapaxes(R_expected, 1, 2) @ T_other[:, :3, :3]).as_rotvec()
    baseline = (T_first[:, :3, :3] @ ties.T_first_other[:, :3, 3:])[:, :, 0]
    offset = T_other[:, :3, 3] - T_first[:, :3, 3] - units_per_meter * baseline
    shifts = (np.swapaxes(T_other[:, :3, :3], 1, 2) @ offset[:, :, None])[:, :, 0]
    return Disagreement(turns, shifts)


def units_per_meter(T_submap_camera: Array, ties: RigTies) -> float:
    """Return the submap's units in a meter, by the median baseline; 0 where none can be told.

    Longer baselines count more, as the same noise of poses matters less to them.
    """
    units, meters, is_clear = baselines(T_submap_camera, ties)
    if not is_clear.any():
        return 0.0
    ratios, weights = units[is_clear] / meters[is_clear], meters[is_clear] ** 2
    order = np.argsort(ratios)
    mass = np.cumsum(weights[order])
    return max(0.0, float(ratios[order][np.searchsorted(mass, mass[-1] / 2)]))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far two cameras are, in the images' view, from where TF puts them: [rad], [m].

    ``shift`` is NaN where the scale is not known. ``is_refused``: too far, and steadily, so that TF
    must be wrong.
    """

    turn: float
    shift: float
    is_refused: bool


def judge(
    found: Disagreement, baseline: float, units_per_meter: float, depth: float, max_turn: float
) -> Verdict | None:
    """Judge the ties of two cameras; None: too few to say anything.

    ``baseline`` [m], ``depth``: median of what is seen [submap units], ``max_turn`` [rad]. A model
    that merely does not know how cameras lie to each other says something else each time, and
    cameras that in truth do not sit where TF says say the same again and again. So a disagreement
    is refused only where its median is large and stands out of the scatter.
    """
    if len(found.turns) < LEAST_TIES:
        return None
    turn, turn_error = _median(found.turns)
    shift, shift_error = _median(found.shifts)
    length = units_per_meter * baseline
    least = max(MAX_SHIFT_DEPTH * depth, MAX_SHIFT_BASELINE * length)
    is_refused = turn > max(max_turn, SIGNIFICANCE * turn_error)
    is_refused |= shift > max(least, SIGNIFICANCE * shift_error)
    shift_m = shift / units_per_meter if units_per_meter > 0 else math.nan
    return Verdict(turn, shift_m, is_refused)


def _median(vectors: Array) -> tuple[float, float]:
    """Length of the median of vectors (E, 3), and its standard error by their scatter."""
    median = np.median(vectors, axis=0)
    scatter = MAD * np.median(np.abs(vectors - median), axis=0)
    error = math.sqrt(math.pi / 2 / len(vectors)) * float(np.linalg.norm(scatter))
    return float(np.linalg.norm(median)), error
