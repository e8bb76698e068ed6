"""Least squares over the poses of a submap: what the model says, and how a rig is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import RigConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import cross_matrices, rotate_back
from flashvggt_ros.mapping.consensus import MAD
from flashvggt_ros.mapping.rig_agreement import disagreement
from flashvggt_ros.mapping.rig_ties import Index, RigTies

Array = NDArray[np.float64]
ITERATIONS = 4
ACCELERATION = 1.0  # of a robot between two keyframes [m/s^2]
TURN_ACCELERATION = 2.0  # [rad/s^2]
LEAST_ROTATION = 1e-3  # standard deviation of a model's poses [rad]
LEAST_TRANSLATION = 1e-3  # the same, relative to the median depth
OUTLIER = 6.0  # standard deviations from the model's poses beyond which a tie is left out


@dataclass(frozen=True, slots=True, eq=False)
class PoseNoise:
    """Standard deviations of one pose of the model: rotation [rad], place [submap units]."""

    rotation: float
    translation: float


@dataclass(frozen=True, slots=True, eq=False)
class _Relations:
    """E known motions from a view ``ties.first_poses`` to a view ``ties.other``.

    Their translations are ``ties.T_first_other``'s times meters to units, plus ``offset`` (E, 3)
    [units]; ``rotation_sigma`` [rad] and ``translation_sigma`` [units] (E,).
    """

    ties: RigTies
    offset: Array
    rotation_sigma: Array
    translation_sigma: Array


def poses_on_rig(
    T_submap_camera: Array, tracks: list[Index], ties: RigTies, units_per_meter: float,
    depth: float, config: RigConfig,
) -> Array:
    """Return the poses (K, 4, 4) that agree best with the model's and with the rig's ties.

    Known beforehand, as the model says them, are each pose and the motion from each to the next of
    its camera (``tracks``: numbers of each camera's keyframes, in order); how well, the scatter
    of the ties themselves tells. The ties are known as well as TF is (``rig.*_sigma``), and less
    where the first camera's pose is interpolated: keyframes know nothing of an acceleration
    in between (1 m/s^2 and 2 rad/s^2 are expected). Units per meter are looked for as well, from
    ``units_per_meter`` on; 0: baselines are lost in noise, and count as none. Ties that one
    of their poses misses by far are left out. ``depth``: median of what is seen [units].

    Gauss and Newton, with first-order derivatives of small turns.
    """
    noise = _pose_noise(T_submap_camera, ties, units_per_meter, depth)
    ties = _without_outliers(T_submap_camera, ties, units_per_meter, noise, config)
    rotation_sigma, translation_sigma = _tie_sigmas(ties, units_per_meter, depth, config)
    rig = _Relations(ties, np.zeros((len(ties), 3)), rotation_sigma, translation_sigma)
    motions = _motions(T_submap_camera, tracks, noise)
    T, scale = T_submap_camera, units_per_meter
    for _ in range(ITERATIONS):
        T, scale = _step(T, scale, T_submap_camera, units_per_meter, [rig, motions], noise)
    return T


def _pose_noise(T: Array, ties: RigTies, units_per_meter: float, depth: float) -> PoseNoise:
    found = disagreement(T, ties, units_per_meter)
    rotation, translation = (
        MAD * float(np.median(np.abs(vectors))) / np.sqrt(2)  # two poses miss a tie
        for vectors in (found.turns, found.shifts)
    )
    return PoseNoise(max(rotation, LEAST_ROTATION), max(translation, LEAST_TRANSLATION * depth))


def _tie_sigmas(
    ties: RigTies, units_per_meter: float, depth: float, config: RigConfig
) -> tuple[Array, Array]:
    rotation = np.hypot(config.rotation_sigma, TURN_ACCELERATION * ties.slack)
    translation = np.hypot(config.translation_sigma, ACCELERATION * ties.slack)
    least = 0.1 * LEAST_TRANSLATION * depth  # where the unit is not known
    return rotation, np.maximum(translation * units_per_meter, least)


def _without_outliers(
    T: Array, ties: RigTies, units_per_meter: float, noise: PoseNoise, config: RigConfig
) -> RigTies:
    found = disagreement(T, ties, units_per_meter)
    rotation, translation = _tie_sigmas(ties, units_per_meter, 0.0, config)
    squares = (found.turns**2).sum(axis=1) / (rotation**2 + 2 * noise.rotation**2)
    squares += (found.shifts**2).sum(axis=1) / (translation**2 + 2 * noise.translation**2)
    return ties.chosen(squares < OUTLIER**2)


def _motions(T_submap_camera: Array, tracks: list[Index], noise: PoseNoise) -> _Relations:
    """The model's motions from each keyframe to the next of its camera."""
    first = np.concatenate([track[:-1] for track in tracks])
    second = np.concatenate([track[1:] for track in tracks])
    T_first_second = se3.inverse(T_submap_camera[first]) @ T_submap_camera[second]
    offset, zero = T_first_second[:, :3, 3].copy(), np.zeros(len(first))
    T_first_second[:, :3, 3] = 0.0
    ties = RigTies(first, first, zero, second, T_first_second, zero, np.zeros(len(first), np.int64))
    ones = np.ones(len(first))
    return _Relations(ties, offset, noise.rotation * ones, noise.translation * ones)


def _step(
    T: Array, scale: float, T_model: Array, model_scale: float, relations: list[_Relations],
    noise: PoseNoise,
) -> tuple[Array, float]:
    """Linearize and solve; return the poses and the units per meter after it."""
    K = len(T)
    turned = Rotation.from_matrix(T[:, :3, :3] @ np.swapaxes(T_model[:, :3, :3], 1, 2))
    deviation = np.hstack([turned.as_rotvec(), T[:, :3, 3] - T_model[:, :3, 3]]).ravel()
    precision = np.tile(np.repeat([1 / noise.rotation, 1 / noise.translation], 3), K)
    unit = 1 / max(model_scale, 1e-9)  # the scale may change by as much as it is, in deviations
    rows = [sparse.diags_array(np.append(precision, unit))]
    residuals = [np.append(precision * deviation, unit * (scale - model_scale))]
    for each in relations:
        J, r = _linearized(each, T, scale)
        rows.append(J)
        residuals.append(r)
    J, r = sparse.vstack(rows, format="csr"), np.concatenate(residuals)
    change = -splu(sparse.csc_array(J.T @ J)).solve(J.T @ r)
    twists = change[:-1].reshape(K, 6)
    turns = Rotation.from_rotvec(twists[:, :3]).as_matrix()
    moved = se3.pose(turns @ T[:, :3, :3], T[:, :3, 3] + twists[:, 3:])
    return moved, scale + float(change[-1])


def _linearized(known: _Relations, T: Array, scale: float) -> tuple[sparse.csr_array, Array]:
    """Residuals (6 E,) in standard deviations, and derivatives (6 E, 6 K + 1).

    A twist (w, v) turns a pose by w about its own center, along the submap's axes, and moves it
    by v; that of an interpolated pose is interpolated.
    """
    ties, count = known.ties, len(known.ties)
    T_first, T_other = ties.first_poses(T), T[ties.other]
    R_first, R_other = T_first[:, :3, :3], T_other[:, :3, :3]
    way = T_other[:, :3, 3] - T_first[:, :3, 3]
    baseline = ties.T_first_other[:, :3, 3]
    turn = np.swapaxes(R_first @ ties.T_first_other[:, :3, :3], 1, 2) @ R_other
    residuals = np.zeros((count, 6))
    residuals[:, :3] = Rotation.from_matrix(turn).as_rotvec()
    residuals[:, 3:] = rotate_back(R_first, way) - scale * baseline - known.offset
    J_other, J_first = np.zeros((2, count, 6, 6))
    J_other[:, :3, :3] = np.swapaxes(R_other, 1, 2)
    J_other[:, 3:, 3:] = np.swapaxes(R_first, 1, 2)
    J_first[:] = -J_other
    J_first[:, 3:, :3] = np.swapaxes(R_first, 1, 2) @ cross_matrices(way)
    sigma = np.repeat(np.stack([known.rotation_sigma, known.translation_sigma], 1), 3, axis=1)
    share = ties.share[:, None, None]
    blocks = (
        (ties.other, J_other), (ties.before, (1 - share) * J_first), (ties.after, share * J_first),
    )
    return _stacked(blocks, baseline, sigma, len(T)), (residuals / sigma).ravel()


def _stacked(
    blocks: tuple[tuple[Index, Array], ...], baseline: Array, sigma: Array, K: int
) -> sparse.csr_array:
    """Put blocks (E, 6, 6) in the columns of their poses, and the baselines in the last one."""
    count = len(sigma)
    row = np.arange(6 * count).reshape(count, 6, 1)
    rows, columns, values = [], [], []
    for number, J in blocks:
        rows.append(np.broadcast_to(row, J.shape).ravel())
        columns.append(np.broadcast_to(6 * number[:, None, None] + np.arange(6), J.shape).ravel())
        values.append((J / sigma[:, :, None]).ravel())
    rows.append(row[:, 3:].ravel())
    columns.append(np.full(3 * count, 6 * K))
    values.append((-baseline / sigma[:, 3:]).ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(6 * count, 6 * K + 1))
