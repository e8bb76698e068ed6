"""Least squares over poses and depths: what tracked corners and a model's priors say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

Array = NDArray[np.float64]
Index = NDArray[np.int64]
SCALE, FOCAL = 6, 7  # columns of an observation's Jacobian, after those of the twist
LEAST_DEPTH = 1e-3  # of a point in front of a camera, relative to its depth in the anchor


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What is looked for.

    ``T_window_camera`` (K, 4, 4). ``log_scale`` (K,): of the true depth over the model's, by frame.
    ``log_depth`` (M,): of each track in its anchor frame. ``log_focal``: of the focal length over
    the one that is assumed.
    """

    T_window_camera: Array
    log_scale: Array
    log_depth: Array
    log_focal: float


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """N sightings of M tracks, sorted by (anchor, frame); each track's anchor is one of them.

    ``track``, ``frame`` and ``anchor`` (the frame where the track began) (N,); ``ray`` and
    ``anchor_ray`` (N, 2): x/z and y/z with the assumed focal length, here and in the anchor;
    ``log_depth`` (N,): what the model says here; ``depth_weight`` (N,): 1 / variance of that, 0
    where it says nothing; ``precision`` (N,): 1 / standard deviation of ``ray``.
    """

    track: Index
    frame: Index
    anchor: Index
    ray: Array
    anchor_ray: Array
    log_depth: Array
    depth_weight: Array
    precision: Array


@dataclass(frozen=True, slots=True, eq=False)
class PosePriors:
    """E motions from frame ``first`` to frame ``second`` (E,), ``T_first_second`` (E, 4, 4).

    ``rotation_sigma`` [rad] (E,); ``translation_precision`` (E, 3, 3), symmetric: root of the
    inverse covariance of the translations, along the axes of the first frame [1/window unit].
    """

    first: Index
    second: Index
    T_first_second: Array
    rotation_sigma: Array
    translation_precision: Array


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """What is known beforehand of motions, of the scales of depth (K,) and of the focal length."""

    motion: PosePriors
    log_scale: Array
    log_scale_sigma: Array
    log_focal: float
    log_focal_sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Residuals at a state, in standard deviations, and what their derivatives are made of.

    ``rays`` (N, 2), ``depths`` (N,), ``motions`` (E, 6), ``scales`` (K,), ``focal``. ``points``
    (N, 3): each observation's point in its camera, relative to its depth in the anchor;
    ``direction`` (N, 3): the same ray along the window's axes, seen from the anchor.
    """

    rays: Array
    depths: Array
    motions: Array
    scales: Array
    focal: float
    points: Array
    direction: Array


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Observations and priors; poses where ``is_free`` (K,) is False stay as they are.

    With ``log_focal_sigma`` 0 the focal length does too. A twist (rotation, translation) moves a
    pose T to exp(twist) T, seen from the window. As a residual depends on two poses by their
    difference only, its derivatives by their twists are opposite.
    """

    observations: Observations
    priors: Priors
    is_free: NDArray[np.bool_]

    @property
    def has_focal(self) -> bool:
        """Whether the focal length is looked for."""
        return self.priors.log_focal_sigma > 0

    def evaluate(self, state: State) -> Evaluation:
        """Compute all residuals."""
        seen, priors, T = self.observations, self.priors, state.T_window_camera
        bearing = np.ones((len(seen.track), 3))
        bearing[:, :2] = seen.anchor_ray * np.exp(-state.log_focal)
        direction = rotate(T[seen.anchor, :3, :3], bearing)
        baseline = T[seen.anchor, :3, 3] - T[seen.frame, :3, 3]
        offset = direction + baseline * np.exp(-state.log_depth[seen.track])[:, None]
        points = rotate_back(T[seen.frame, :3, :3], offset)
        z = np.maximum(points[:, 2], LEAST_DEPTH)
        rays = points[:, :2] / z[:, None] * np.exp(state.log_focal) - seen.ray
        depths = state.log_depth[seen.track] + np.log(z) - seen.log_depth
        depths -= state.log_scale[seen.frame]
        return Evaluation(
            rays=rays * seen.precision[:, None],
            depths=depths * np.sqrt(seen.depth_weight),
            motions=self._motions(T),
            scales=(state.log_scale - priors.log_scale) / priors.log_scale_sigma,
            focal=self._focal(state.log_focal),
            points=points,
            direction=direction,
        )

    def _focal(self, log_focal: float) -> float:
        if not self.has_focal:
            return 0.0
        return (log_focal - self.priors.log_focal) / self.priors.log_focal_sigma

    def _motions(self, T_window_camera: Array) -> Array:
        prior = self.priors.motion
        T_first_second = se3.inverse(T_window_camera[prior.first]) @ T_window_camera[prior.second]
        turn = np.swapaxes(prior.T_first_second[:, :3, :3], 1, 2) @ T_first_second[:, :3, :3]
        rotation = se3.rotation_vector(turn) / prior.rotation_sigma[:, None]
        shift = T_first_second[:, :3, 3] - prior.T_first_second[:, :3, 3]
        return np.hstack([rotation, rotate(prior.translation_precision, shift)])

    def motion_jacobians(self, state: State, at: Evaluation) -> Array:
        """Derivatives of the motions (E, 6, 6) by the twist of the second pose."""
        prior, T = self.priors.motion, state.T_window_camera
        turn = cross_matrices(at.motions[:, :3] * prior.rotation_sigma[:, None])
        inverse_right = np.eye(3) + turn / 2 + turn @ turn / 12  # of SO(3), to the fourth order
        R_second_window = np.swapaxes(T[prior.second, :3, :3], 1, 2)
        R_first_window = np.swapaxes(T[prior.first, :3, :3], 1, 2)
        J = np.zeros((len(turn), 6, 6))
        J[:, :3, :3] = inverse_right @ R_second_window
        J[:, 3:, :3] = -R_first_window @ cross_matrices(T[prior.second, :3, 3])
        J[:, 3:, 3:] = R_first_window
        J[:, :3] /= prior.rotation_sigma[:, None, None]
        J[:, 3:] = prior.translation_precision @ J[:, 3:]
        return J

    def jacobians(self, state: State, at: Evaluation) -> tuple[Array, Array]:
        """Derivatives of (u, v, log depth): (N, 3, 8), and (N, 3) by the track's log depth.

        The eight: twist of the anchor's pose, log scale of the frame, log focal length.
        """
        seen, T = self.observations, state.T_window_camera
        depth_precision = np.sqrt(seen.depth_weight)
        z, focal = np.maximum(at.points[:, 2], LEAST_DEPTH), np.exp(state.log_focal)
        per_z = seen.precision * focal / z
        J_point = np.zeros((len(z), 3, 3))
        J_point[:, 0, 0] = J_point[:, 1, 1] = per_z
        J_point[:, :2, 2] = -at.points[:, :2] * (per_z / z)[:, None]
        J_point[:, 2, 2] = depth_precision / z
        J_offset = J_point @ np.swapaxes(T[seen.frame, :3, :3], 1, 2)  # along the window's axes
        inverse_depth = np.exp(-state.log_depth[seen.track])[:, None]
        position = T[seen.anchor, :3, 3] * inverse_depth
        J = np.zeros((len(z), 3, 8))
        J[:, :, :3] = -J_offset @ cross_matrices(at.direction + position)
        J[:, :, 3:6] = J_offset * inverse_depth[:, :, None]
        J[:, 2, SCALE] = -depth_precision
        if self.has_focal:
            bend = rotate(T[seen.anchor, :3, :3], _flat(-seen.anchor_ray / focal))
            J[:, :, FOCAL] = rotate(J_offset, bend)
            J[:, :2, FOCAL] += at.points[:, :2] * (per_z)[:, None]
        J_depth = -rotate(J_offset, position - T[seen.frame, :3, 3] * inverse_depth)
        J_depth[:, 2] += depth_precision
        return J, J_depth


def _flat(rays: Array) -> Array:
    return np.hstack([rays, np.zeros((len(rays), 1))])


def rotate(R: Array, vectors: Array) -> Array:
    """Return R v for matrices (N, 3, 3) and vectors (N, 3)."""
    rotated: Array = (R @ vectors[:, :, None])[:, :, 0]
    return rotated


def rotate_back(R: Array, vectors: Array) -> Array:
    """Return R^T v for matrices (N, 3, 3) and vectors (N, 3)."""
    rotated: Array = (vectors[:, None] @ R)[:, 0]
    return rotated


def cross_matrices(vectors: Array) -> Array:
    """Matrices (N, 3, 3) that multiply by vectors (N, 3) crosswise."""
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 2, 1], matrices[:, 0, 2], matrices[:, 1, 0] = x, y, z
    matrices[:, 1, 2], matrices[:, 2, 0], matrices[:, 0, 1] = -x, -y, -z
    return matrices
