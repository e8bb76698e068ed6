"""From the frames and tracks of a window to a least squares problem, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import BundleAdjustmentConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import (
    Evaluation,
    Observations,
    PosePriors,
    Priors,
    Problem,
    State,
)
from flashvggt_ros.mapping.tracking_window import TrackingWindow

Array = NDArray[np.float64]
Index = NDArray[np.int64]
MODEL_ROTATION = (0.01, 0.035)  # least and most standard deviation of the model's motions [rad]
FIRST_ROTATION = 0.02  # before anything was measured [rad]
TRANSLATION_SHARE = 40.0  # of a motion's length, uncertain across it, per rotation [1/rad]
LENGTH_SHARE = 3.0  # of a motion's length that is uncertain along it
TRANSLATION_FLOOR = 0.5  # of the median depth that is uncertain, per rotation uncertain [1/rad]
GAPS = (1, 2, 4, 8)  # frames from the beginning to the end of one of the model's motions
LEAST_SIGHTINGS = 40  # of tracks that were seen twice
OUTLIER = 4.0  # residual of a ray beyond which it is dropped [standard deviations]


@dataclass(frozen=True, slots=True, eq=False)
class WindowProblem:
    """A problem about the window's ``tracks`` (M,) that were seen twice, and where to start.

    ``rows`` (N,): which of its frame's sightings each observation is.
    """

    problem: Problem
    start: State
    tracks: Index
    rows: Index

    def apply(self, state: State, window: TrackingWindow) -> None:
        """Take over a solution."""
        window.T_window_camera, window.log_scale = state.T_window_camera, state.log_scale
        window.log_depth[self.tracks] = state.log_depth
        if state.log_focal:
            window.scale_focal(float(np.exp(state.log_focal)))

    def fitting(self, at: Evaluation) -> float:
        """Share of the sightings beyond each track's first that fit."""
        seen = self.problem.observations
        distances = np.linalg.norm(at.rays, axis=0)[seen.frame != seen.anchor]
        return float((distances < OUTLIER).mean())

    def drop_outliers(self, at: Evaluation, window: TrackingWindow) -> None:
        """Drop the sightings that do not fit."""
        is_wrong = np.linalg.norm(at.rays, axis=0) > OUTLIER
        frames, rows = self.problem.observations.frame[is_wrong], self.rows[is_wrong]
        for number in np.unique(frames).tolist():
            frame = window.frames[number]
            is_kept = np.ones(len(frame.seen.track), bool)
            is_kept[rows[frames == number]] = False
            window.frames[number] = replace(frame, seen=frame.seen.chosen(is_kept))


def window_problem(
    window: TrackingWindow,
    priors: Priors,
    is_free: NDArray[np.bool_],
    config: BundleAdjustmentConfig,
) -> WindowProblem | None:
    """Make the problem of a window; None if it has too few tracks that were seen twice.

    Tracks that no free pose sees are left out: they would only take time.
    """
    seen = [frame.seen for frame in window.frames]
    frame = np.repeat(np.arange(len(seen)), [len(sightings.track) for sightings in seen])
    rows = np.concatenate([np.arange(len(sightings.track)) for sightings in seen])
    track = np.concatenate([sightings.track for sightings in seen])
    count = len(window.anchor)
    is_used = (np.bincount(track, minlength=count) >= 2) & (
        np.bincount(track, is_free[frame], minlength=count) > 0
    )
    used = np.flatnonzero(is_used[track])
    order = used[np.lexsort((track[used], frame[used], window.anchor[track[used]]))]
    if len(order) < LEAST_SIGHTINGS:
        return None
    frame, rows, track = frame[order], rows[order], track[order]
    tracks, number = np.unique(track, return_inverse=True)
    intrinsics, anchor = window.intrinsics, window.anchor[track]
    log_depth = np.concatenate([sightings.log_depth for sightings in seen])[order]
    weight = np.concatenate([sightings.depth_weight for sightings in seen])[order]
    detail = np.array([f.image.detail for f in window.frames])
    is_known = np.isfinite(log_depth)
    share = np.bincount(number, is_known).clip(1)[number]  # a track counts once, seen often or not
    pixel = np.concatenate([sightings.pixel for sightings in seen])[order]
    observations = Observations(
        track=number,
        frame=frame,
        anchor=anchor,
        ray=_rays(pixel, intrinsics[frame]),
        anchor_ray=_rays(window.anchor_pixel[track], intrinsics[anchor]),
        log_depth=np.where(is_known, log_depth, 0.0),
        depth_weight=np.where(is_known, weight, 0.0) / share / config.depth_sigma**2,
        precision=(intrinsics[:, 0] * detail / config.pixel_sigma)[frame],
    )
    start = State(window.T_window_camera, window.log_scale, window.log_depth[tracks], 0.0)
    return WindowProblem(Problem(observations, priors, is_free), start, tracks, rows)


def motion_priors(window: TrackingWindow) -> PosePriors:
    """The model's motions, trusted as its predictions of image motion deserve.

    Those over several frames count as well, as sums of independent steps: small errors of tracks
    that lean to one side add up to a drift that motions between neighbors hardly contradict.

    Nor are its rotations better than a fraction of a degree: where its motions are too short for
    its depths, they make up for it, and to believe them keeps paths too short for their maps.

    How long its motions are says next to nothing: of real images they are up to 50 % too long or
    too short for its depths, all of a submap alike. Depths and tracks have to tell.
    """
    measured = window.disagreement[np.isfinite(window.disagreement)]
    sigma = float(np.median(measured)) if len(measured) else FIRST_ROTATION
    sigma = min(max(sigma, MODEL_ROTATION[0]), MODEL_ROTATION[1])
    T_model, count = _chained(window.T_before_camera), len(window.frames)
    pairs = [(first, first + gap) for gap in GAPS for first in range(count - gap)]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    T_first_second = se3.inverse(T_model[first]) @ T_model[second]
    length = np.linalg.norm(T_first_second[:, :3, 3], axis=1)
    spread = np.hypot(TRANSLATION_SHARE * length, TRANSLATION_FLOOR * median_depth(window))
    sigmas = sigma * np.sqrt(second - first)
    precision = _translation_precision(T_first_second[:, :3, 3], sigmas * spread)
    return PosePriors(first, second, T_first_second, sigmas, precision)


def _translation_precision(translations: Array, sigmas: Array) -> Array:
    """Return (E, 3, 3) for translations (E, 3): ``sigmas`` (E,) across them, wider along them."""
    length = np.linalg.norm(translations, axis=1)
    direction = translations / np.maximum(length, 1e-12)[:, None]
    along = direction[:, :, None] * direction[:, None, :]
    loss = 1 / sigmas - 1 / np.hypot(sigmas, LENGTH_SHARE * length)
    precision: Array = np.eye(3) / sigmas[:, None, None] - along * loss[:, None, None]
    return precision


def _chained(T_before_camera: Array) -> Array:
    """Poses (K, 4, 4) that motions (K, 4, 4) from each one's frame before lead to."""
    poses = [T_before_camera[0]]
    for T_last_next in T_before_camera[1:]:
        poses.append(poses[-1] @ T_last_next)
    return np.stack(poses)


def median_depth(window: TrackingWindow) -> float:
    """Of the window's tracks, or 1 if there are none."""
    return float(np.exp(np.median(window.log_depth))) if len(window.log_depth) else 1.0


def _rays(pixels: Array, intrinsics: Array) -> Array:
    rays: Array = (pixels - intrinsics[:, 2:]) / intrinsics[:, :2]
    return rays
