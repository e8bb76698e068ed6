"""Least squares over poses and depths: what tracked corners and a model's priors say together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

Array = NDArray[np.float64]
Index = NDArray[np.int64]
SCALE, FOCAL, RESIDUAL = 6, 7, 8  # rows of linearized(), after those of the twist
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
    """N sightings of M tracks, sorted by (anchor, frame), of each track at most one in a frame.

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

    ``rays`` (2, N), ``depths`` (N,), ``motions`` (E, 6), ``scales`` (K,), ``focal``. ``points``
    (3, N): each observation's point in its camera, relative to its depth in the anchor;
    ``direction`` (3, N): the same ray seen from the anchor, along that camera's axes.
    """

    rays: Array
    depths: Array
    motions: Array
    scales: Array
    focal: float
    points: Array
    direction: Array


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The P pairs of an ``anchor`` and a ``frame`` (P,) that share tracks.

    The observations of each begin at ``starts`` (P,); ``of_each`` (N,): an observation's pair.
    """

    anchor: Index
    frame: Index
    starts: Index
    of_each: Index

    @classmethod
    def of(cls, seen: Observations) -> Pairs:
        """Find those of sorted observations."""
        is_first = np.ones(len(seen.track), bool)
        is_first[1:] = (np.diff(seen.anchor) != 0) | (np.diff(seen.frame) != 0)
        starts = np.flatnonzero(is_first)
        return cls(seen.anchor[starts], seen.frame[starts], starts, np.cumsum(is_first) - 1)


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def pairs(self) -> Pairs:
        """Which frames share tracks."""
        return Pairs.of(self.observations)

    def evaluate(self, state: State) -> Evaluation:
        """Compute all residuals."""
        seen, priors, T = self.observations, self.priors, state.T_window_camera
        x, y = seen.anchor_ray.T * np.exp(-state.log_focal)
        R = self._rotations(T)[:, :, self.pairs.of_each]
        direction = R[:, 0] * x + R[:, 1] * y + R[:, 2]
        points = direction + self._baselines(T)[:, self.pairs.of_each] * self._nearness(state)
        z = np.maximum(points[2], LEAST_DEPTH)
        rays = points[:2] / z * np.exp(state.log_focal) - seen.ray.T
        depths = state.log_depth[seen.track] + np.log(z) - seen.log_depth
        depths -= state.log_scale[seen.frame]
        return Evaluation(
            rays=rays * seen.precision,
            depths=depths * np.sqrt(seen.depth_weight),
            motions=self._motions(T),
            scales=(state.log_scale - priors.log_scale) / priors.log_scale_sigma,
            focal=self._focal(state.log_focal),
            points=points,
            direction=direction,
        )

    def _rotations(self, T_window_camera: Array) -> Array:
        """Rotations (3, 3, P) from the axes of each pair's anchor to those of its frame."""
        R = T_window_camera[:, :3, :3]
        turns = np.swapaxes(R[self.pairs.frame], 1, 2) @ R[self.pairs.anchor]
        return np.ascontiguousarray(np.moveaxis(turns, 0, 2))

    def _baselines(self, T_window_camera: Array) -> Array:
        """Place (3, P) of each pair's anchor, seen from its frame."""
        anchors, frames = T_window_camera[self.pairs.anchor], T_window_camera[self.pairs.frame]
        return rotate_back(frames[:, :3, :3], anchors[:, :3, 3] - frames[:, :3, 3]).T

    def _nearness(self, state: State) -> Array:
        """Return 1 / depth (N,) in the anchor."""
        nearness: Array = np.exp(-state.log_depth)[self.observations.track]
        return nearness

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

    def linearized(self, state: State, at: Evaluation) -> tuple[Array, Array]:
        """Derivatives of (u, v, log depth): (9, N, 3), and (3, N) by the track's log depth.

        The nine: twist of the anchor's pose, as seen from the frame (twists()), log scale of the
        frame, log focal length, and the residuals themselves.
        """
        seen = self.observations
        depth_precision = np.sqrt(seen.depth_weight)
        x, y, z = at.points
        depth, focal = np.maximum(z, LEAST_DEPTH), np.exp(state.log_focal)
        u, v = x / depth, y / depth
        per_z, per_depth = seen.precision * focal / depth, depth_precision / depth
        near = self._nearness(state)

        rows = np.zeros((9, len(z), 3))

        def moved(dx: Array | float, dy: Array | float, dz: Array | float) -> tuple[Array, ...]:
            """Return how residuals change where the point moves by that."""
            return per_z * (dx - u * dz), per_z * (dy - v * dz), per_depth * dz

        turns = (0, -z, y), (z, 0, -x), (-y, x, 0)  # of the point about the frame's axes
        shifts = (near, 0, 0), (0, near, 0), (0, 0, near)
        for row, change in zip(rows, (*turns, *shifts), strict=False):
            row[:, 0], row[:, 1], row[:, 2] = moved(*change)
        rows[SCALE, :, 2] = -depth_precision
        if self.has_focal:
            ahead = self._rotations(state.T_window_camera)[:, 2, self.pairs.of_each]
            by_focal = np.stack(moved(*(ahead - at.direction)))
            by_focal[:2] += per_z * at.points[:2]
            rows[FOCAL] = by_focal.T
        rows[RESIDUAL, :, :2], rows[RESIDUAL, :, 2] = at.rays.T, at.depths
        by_depth = np.stack(moved(*(at.direction - at.points)))
        by_depth[2] += depth_precision
        return rows, by_depth

    def twists(self, state: State) -> Array:
        """Matrices (K, 6, 6) from twists seen from the window to the same seen from a frame."""
        R = np.swapaxes(state.T_window_camera[:, :3, :3], 1, 2)
        twists = np.zeros((len(R), 6, 6))
        twists[:, :3, :3] = twists[:, 3:, 3:] = R
        twists[:, 3:, :3] = -R @ cross_matrices(state.T_window_camera[:, :3, 3])
        return twists


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
