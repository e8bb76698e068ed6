"""Points seen from known poses, as problems for bundle adjustment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import Observations, PosePriors, Priors, Problem, State

Array = NDArray[np.float64]
PRECISION = np.array([[10.0, 2.0, -1.0], [2.0, 12.0, 1.0], [-1.0, 1.0, 8.0]])


def poses(frames: int, step: float, turn: float, seed: int = 0) -> Array:
    """T_window_camera (K, 4, 4): sideways by ``step`` [m], turning by ``turn`` [rad] a frame."""
    rng = np.random.default_rng(seed)
    turns = np.cumsum(rng.normal(turn, turn / 2, (frames, 3)) * [0.2, 1, 0.1], axis=0)
    shifts = np.cumsum(rng.normal(step, step / 4, (frames, 3)) * [1, 0.2, 0.3], axis=0)
    T = se3.pose(Rotation.from_rotvec(turns).as_matrix(), shifts)
    return se3.inverse(T[0]) @ T


def shaken(T: Array, rotation: float, translation: float, seed: int = 1) -> Array:
    """Poses with normal errors [rad; m] in each but the first."""
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(rng.normal(0, rotation, (len(T), 3))).as_matrix()
    errors = se3.pose(turns, rng.normal(0, translation, (len(T), 3)))
    errors[0] = np.eye(4)
    return T @ errors


def track_world(
    T_window_camera: Array,
    expected: Array,
    *,
    tracks: int = 120,
    pixel: float = 0.003,
    outliers: float = 0.0,
    depth_noise: float = 0.0,
    focal: float = 0.0,
    seed: int = 2,
) -> tuple[Problem, State]:
    """Every point is seen in every frame; the model says the true depth and ``expected`` poses.

    ``pixel``: standard deviation that is assumed of rays; they are exact but for the share of
    ``outliers``. ``focal``: logarithm of the true focal length over the assumed one, to be found
    if it is not zero. Returns the problem and the truth.
    """
    rng = np.random.default_rng(seed)
    K = len(T_window_camera)
    anchor = rng.integers(0, K, tracks)
    points = rng.uniform([-2, -1.5, 3], [4, 1.5, 8], (tracks, 3))
    bearing = se3.transform_points(se3.inverse(T_window_camera)[anchor], points[:, None])[:, 0]
    true_ray, log_depth = bearing[:, :2] / bearing[:, 2:], np.log(bearing[:, 2])
    track, frame = np.repeat(np.arange(tracks), K), np.tile(np.arange(K), tracks)
    order = np.lexsort((track, frame, anchor[track]))
    track, frame = track[order], frame[order]
    T_camera_window = se3.inverse(T_window_camera)[frame]
    seen = se3.transform_points(T_camera_window, points[track][:, None])[:, 0]
    ray = seen[:, :2] / seen[:, 2:] * np.exp(focal)
    is_wrong = (rng.random(len(ray)) < outliers) & (frame != anchor[track])
    ray[is_wrong] += rng.uniform(-0.3, 0.3, (int(is_wrong.sum()), 2))
    observations = Observations(
        track=track,
        frame=frame,
        anchor=anchor[track],
        ray=ray,
        anchor_ray=true_ray[track] * np.exp(focal),
        log_depth=np.log(seen[:, 2]) + rng.normal(0, depth_noise, len(ray)),
        depth_weight=np.full(len(ray), 1 / 0.15**2 / K),
        precision=np.full(len(ray), 1 / pixel),
    )
    motion = PosePriors(
        np.arange(K - 1), np.arange(1, K), se3.inverse(expected[:-1]) @ expected[1:],
        np.full(K - 1, 0.02), np.tile(PRECISION, (K - 1, 1, 1)),
    )  # fmt: skip
    priors = Priors(motion, np.zeros(K), np.full(K, 0.1), 0.0, 0.05 if focal else 0.0)
    truth = State(T_window_camera, np.zeros(K), log_depth, focal)
    return Problem(observations, priors, np.arange(K) > 0), truth
