"""Residuals of a pose graph over similarities and their derivatives, for many factors at once.

A node's pose S_map_node changes by delta = (w, d, l): R <- Exp(w) R, t <- t + d, s <- (1 + l) s,
with w and d along the axes of the map: so a whole chain grows along a straight line, not along a
bent valley. Every residual is divided by its standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3

FREEDOMS = 7  # rotation, translation, logarithm of the scale


@dataclass(frozen=True, slots=True, eq=False)
class NodePoses:
    """S_map_node of n nodes: rotations (n, 3, 3), translations (n, 3), log_scales (n,)."""

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    log_scales: NDArray[np.float64]

    @classmethod
    def of(cls, poses: Sequence[Sim3]) -> NodePoses:
        """Gather poses; there is at least one."""
        return cls(
            np.stack([S.rotation for S in poses]),
            np.stack([S.translation for S in poses]),
            np.log([S.scale for S in poses]),
        )

    def moved(self, delta: NDArray[np.float64]) -> NodePoses:
        """Return the poses after a change delta (n, 7) of scales by more than -1."""
        turn = Rotation.from_rotvec(delta[:, :3]).as_matrix()
        return NodePoses(
            turn @ self.rotations,
            self.translations + delta[:, 3:6],
            self.log_scales + np.log1p(delta[:, 6]),
        )

    def similarity(self, node: int) -> Sim3:
        """Return the pose of one node; its rotation is made exactly orthonormal."""
        rotation: NDArray[np.float64] = Rotation.from_matrix(self.rotations[node]).as_matrix()
        return Sim3(
            float(np.exp(self.log_scales[node])), rotation, self.translations[node].copy()
        )


class Linearization(NamedTuple):
    """Residuals (F, D) and their derivatives (F, D, K * 7) by the K nodes (F, K) of each factor."""

    residuals: NDArray[np.float64]
    derivatives: NDArray[np.float64]


class Factors(NamedTuple):
    """All factors of one graph, by kind."""

    between: BetweenFactors
    scale: ScaleFactors
    up: UpFactors
    even: EvenFactors


@dataclass(frozen=True, slots=True, eq=False)
class BetweenFactors:
    """Measured S_first_second: ``nodes`` (F, 2), ``whitening`` (F, 7, 7) times the raw error.

    The raw error is (rotation and place in the axes and units of the first node, log scale).
    """

    nodes: NDArray[np.int64]
    measured: NodePoses
    whitening: NDArray[np.float64]
    is_robust: NDArray[np.bool_]

    def residuals(self, poses: NodePoses) -> NDArray[np.float64]:
        """Return residuals (F, 7)."""
        whitened: NDArray[np.float64] = np.einsum("fij,fj->fi", self.whitening, self._errors(poses))
        return whitened

    def linearize(self, poses: NodePoses) -> Linearization:
        """Return residuals (F, 7) and derivatives (F, 7, 14)."""
        errors = self._errors(poses)
        derivatives = relative_derivatives(poses, self.nodes)
        derivatives[:, :3] = _inverse_left_jacobian(errors[:, :3]) @ derivatives[:, :3]
        return Linearization(
            np.einsum("fij,fj->fi", self.whitening, errors), self.whitening @ derivatives
        )

    def _errors(self, poses: NodePoses) -> NDArray[np.float64]:
        first, second = self.nodes.T
        R_map_first, measured = poses.rotations[first], self.measured
        R_first_second = np.swapaxes(R_map_first, 1, 2) @ poses.rotations[second]
        turn = R_first_second @ np.swapaxes(measured.rotations, 1, 2)
        offset_map = poses.translations[second] - poses.translations[first]
        offset = np.einsum("fji,fj->fi", R_map_first, offset_map)
        offset /= np.exp(poses.log_scales[first])[:, None]
        ratio = poses.log_scales[second] - poses.log_scales[first] - measured.log_scales
        rotvec = se3.rotation_vector(turn)
        return np.concatenate([rotvec, offset - measured.translations, ratio[:, None]], axis=1)


def relative_derivatives(poses: NodePoses, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Derivatives (F, 7, 14) of S_first_second by first and second of ``nodes`` (F, 2).

    S_first_second turns by Exp of the first three rows (from the left), moves by the next three in
    units of the first node, and its scale grows by exp of the last.
    """
    first, second = nodes.T
    R_first_map = np.swapaxes(poses.rotations[first], 1, 2)
    into_first = R_first_map / np.exp(poses.log_scales[first])[:, None, None]
    offset_map = poses.translations[second] - poses.translations[first]
    derivatives = np.zeros((len(nodes), FREEDOMS, 2 * FREEDOMS))
    derivatives[:, :3, 0:3] = -R_first_map
    derivatives[:, :3, 7:10] = R_first_map
    derivatives[:, 3:6, 0:3] = into_first @ skew(offset_map)
    derivatives[:, 3:6, 3:6] = -into_first
    derivatives[:, 3:6, 6] = -np.einsum("fij,fj->fi", into_first, offset_map)
    derivatives[:, 3:6, 10:13] = into_first
    derivatives[:, 6, 6] = -1
    derivatives[:, 6, 13] = 1
    return derivatives


@dataclass(frozen=True, slots=True, eq=False)
class ScaleFactors:
    """Measured scale of nodes (F, 1): the logarithm (F,) and its standard deviation (F,)."""

    nodes: NDArray[np.int64]
    log_scales: NDArray[np.float64]
    sigmas: NDArray[np.float64]

    @property
    def is_robust(self) -> NDArray[np.bool_]:
        """All are."""
        return np.ones(len(self.nodes), np.bool_)

    def residuals(self, poses: NodePoses) -> NDArray[np.float64]:
        """Return residuals (F, 1)."""
        return ((poses.log_scales[self.nodes[:, 0]] - self.log_scales) / self.sigmas)[:, None]

    def linearize(self, poses: NodePoses) -> Linearization:
        """Return residuals (F, 1) and derivatives (F, 1, 7)."""
        derivatives = np.zeros((len(self.nodes), 1, FREEDOMS))
        derivatives[:, 0, 6] = 1 / self.sigmas
        return Linearization(self.residuals(poses), derivatives)


@dataclass(frozen=True, slots=True, eq=False)
class UpFactors:
    """Measured up direction (F, 3) in the frames of nodes (F, 1), standard deviation (F,) [rad]."""

    nodes: NDArray[np.int64]
    up_nodes: NDArray[np.float64]
    sigmas: NDArray[np.float64]

    @property
    def is_robust(self) -> NDArray[np.bool_]:
        """All are."""
        return np.ones(len(self.nodes), np.bool_)

    def residuals(self, poses: NodePoses) -> NDArray[np.float64]:
        """Return residuals (F, 3): how far up lies from z of the map."""
        return (self._up_map(poses) - [0.0, 0.0, 1.0]) / self.sigmas[:, None]

    def linearize(self, poses: NodePoses) -> Linearization:
        """Return residuals (F, 3) and derivatives (F, 3, 7)."""
        derivatives = np.zeros((len(self.nodes), 3, FREEDOMS))
        derivatives[:, :, :3] = -skew(self._up_map(poses)) / self.sigmas[:, None, None]
        return Linearization(self.residuals(poses), derivatives)

    def _up_map(self, poses: NodePoses) -> NDArray[np.float64]:
        up_map: NDArray[np.float64] = np.einsum(
            "fij,fj->fi", poses.rotations[self.nodes[:, 0]], self.up_nodes
        )
        return up_map


@dataclass(frozen=True, slots=True, eq=False)
class EvenFactors:
    """Chains of three ``nodes`` (F, 3) that are likely to go on as they began: S_ab is about S_bc.

    All three lie about on one another, so that small errors add up. Each is told at the place in
    its first node's frame where it turns and grows: ``arms`` (F, 2, 3), ``sigmas`` (F, 7) in the
    order of a Between's covariance.
    """

    nodes: NDArray[np.int64]
    arms: NDArray[np.float64]
    sigmas: NDArray[np.float64]

    @classmethod
    def none(cls) -> EvenFactors:
        """Return no factors."""
        return cls(np.zeros((0, 3), np.int64), np.zeros((0, 2, 3)), np.zeros((0, FREEDOMS)))

    @property
    def is_robust(self) -> NDArray[np.bool_]:
        """None is."""
        return np.zeros(len(self.nodes), np.bool_)

    def residuals(self, poses: NodePoses) -> NDArray[np.float64]:
        """Return residuals (F, 7)."""
        began, went_on = (
            _relative(poses, self.nodes[:, k : k + 2], self.arms[:, k]) for k in (0, 1)
        )
        return (went_on - began) / self.sigmas

    def linearize(self, poses: NodePoses) -> Linearization:
        """Return residuals (F, 7) and derivatives (F, 7, 21), of the first order in the bend."""
        derivatives = np.zeros((len(self.nodes), FREEDOMS, 3 * FREEDOMS))
        for k, sign in ((0, -1.0), (1, 1.0)):
            part = relative_derivatives(poses, self.nodes[:, k : k + 2])
            moved = seen_from(self.arms[:, k]) @ part / self.sigmas[:, :, None]
            derivatives[:, :, k * FREEDOMS : (k + 2) * FREEDOMS] += sign * moved
        return Linearization(self.residuals(poses), derivatives)


def seen_from(arms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 7, 7): what an error told at one point is at another, ``arms`` (..., 3) away.

    Order of a Between's covariance, along the axes and in the units of the first node: turns and
    growth about the one point move the other.
    """
    moves = np.zeros((*arms.shape[:-1], FREEDOMS, FREEDOMS)) + np.eye(FREEDOMS)
    moves[..., 3:6, :3], moves[..., 3:6, 6] = -skew(arms), arms
    return moves


def _relative(
    poses: NodePoses, nodes: NDArray[np.int64], arms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """S_first_second (F, 7) of ``nodes`` (F, 2) that lie about on one another, told at ``arms``."""
    first, second = nodes.T
    R_first_map = np.swapaxes(poses.rotations[first], 1, 2)
    turn = se3.rotation_vector(R_first_map @ poses.rotations[second])
    away = poses.translations[second] - poses.translations[first]
    growth = (poses.log_scales[second] - poses.log_scales[first])[:, None]
    offset = np.einsum("fij,fj->fi", R_first_map, away) / np.exp(poses.log_scales[first])[:, None]
    error = np.concatenate([turn, offset, growth], axis=1)
    return np.einsum("fij,fj->fi", seen_from(arms), error)


def skew(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices (..., 3, 3) that take cross products with vectors (..., 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, axis=-1).reshape(*vectors.shape, 3)


def _inverse_left_jacobian(rotvec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivative of Log(Exp(w) Exp(rotvec)) by w at w = 0 (F, 3, 3); Barfoot 2017, eq. 7.77b."""
    angle = np.linalg.norm(rotvec, axis=-1)
    half = angle / 2
    is_small = angle < 1e-4
    safe = np.where(is_small, 1.0, half)
    curve = np.where(is_small, 1 / 12, (1 - safe / np.tan(safe)) / (2 * safe) ** 2)
    cross = skew(rotvec)
    return np.eye(3) - cross / 2 + curve[:, None, None] * (cross @ cross)
