"""Light local bundle adjustment: tracked corners correct the poses and scales of the model."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import BundleAdjustmentConfig
from flashvggt_ros.frame import Chunk, ChunkPrediction, FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.bundle_problem import Evaluation, Priors
from flashvggt_ros.mapping.bundle_solver import cost, solve
from flashvggt_ros.mapping.image_consistency import differences, is_worse
from flashvggt_ros.mapping.shared_focal import SIGMA as FOCAL_SIGMA
from flashvggt_ros.mapping.shared_focal import SharedFocal
from flashvggt_ros.mapping.submap_alignment import MIN_PIXELS, most_common_ratio
from flashvggt_ros.mapping.tracked_frame import tracked_frame
from flashvggt_ros.mapping.tracking_window import TrackingWindow
from flashvggt_ros.mapping.window_problem import (
    WindowProblem,
    median_depth,
    motion_priors,
    window_problem,
)

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
COARSE = (10.0, 5.0, 3.0, 2.0)  # widths of the kernel on rays [standard deviations]
FINE = (3.0, 2.0, 2.0)
REMEMBERED = 48  # frames of the window, unless chunks are larger
LINKED = 8  # of them remain at least, to follow corners from
FREE = 24  # newest frames that may move
NEW_SCALE_SIGMA = 0.05  # of a new frame's log scale of depth, from the mean of its submap
OLD_SCALE_SIGMA = 0.03  # of an older one's, from what its cloud was made with
SHRINKAGE = 8.0  # frames of scale 1 that count to that mean
LEAST_FITTING = 0.8  # share of the sightings
LARGEST_TURN = 0.35  # from a motion of the model to the refined one [rad]
LARGEST_SHIFT = 0.5  # the same, relative to the median depth
RATIO_STRIDE = 5  # every n-th pixel is enough to compare the depths of two submaps


class BundleAdjustment:
    """Refines what the model says of one sequence, chunk by chunk.

    Corners are tracked from keyframe to keyframe and on from submap to submap, so that pose and
    scale go on where the submap before ended. Of the last 48 keyframes the older ones stay fixed;
    of the newest 24 the poses, the depths of the tracks and a scale of each depth image are
    adjusted, with the model's motions and depths as priors: in pure rotation, blur and before empty
    walls the model has the last word. It is trusted as much as its predictions of image motion turn
    out to be right; and where images agree less by the refined poses and depths than by its own,
    pixel by pixel, the refined ones are refused: soft textures lead tracks astray. Memory and time
    per chunk are bounded. Equal input gives equal output.

    ``accepted`` and ``refused`` count chunks.
    """

    def __init__(self, config: BundleAdjustmentConfig, *, use_camera_info: bool) -> None:
        """``use_camera_info``: whether the model took over the calibration of frames."""
        self._config = config
        self._use_camera_info = use_camera_info
        self.accepted = 0
        self.refused = 0
        self._settled = np.zeros((0, 4, 4))  # poses of the submap's frames that left the window
        self._start = 0  # where in the window the submap begins
        self._restart()

    def refine(self, chunk: Chunk, prediction: ChunkPrediction) -> ChunkPrediction:
        """Return the prediction with refined poses, depth scaled to fit them, and focal length.

        Poses are those of all keyframes of the submap. A prediction that corners have nothing to
        say of comes back as it is; after refined ones, moved and scaled to continue them.
        """
        if not self._config.enabled:
            return prediction
        stamps = [FrameStamp(frame.stamp_ns, frame.camera) for frame in chunk.frames]
        shared = 0
        if len(prediction.T_submap_camera) == len(stamps):
            shared = self._begin_submap(stamps, prediction)
        known = len(self._settled) + len(self._window.frames) - self._start
        if len(prediction.T_submap_camera) != known + len(stamps) - shared:
            return prediction  # not about this chunk: the map will say so
        self._forget(len(stamps) - shared)
        first = len(self._window.frames)
        cameras = self._focal.update(chunk.frames, prediction.cameras, self._use_camera_info)
        given, prediction = prediction, replace(prediction, cameras=cameras)
        expected = self._extend(stamps, prediction, shared)
        if self._adjust(first, expected):
            self.accepted += 1
            self._is_refined = True
        else:
            self.refused += 1
            logger.debug("bundle adjustment refused for %d frames", len(stamps))
        return self._refined(prediction, first, shared) if self._is_refined else given

    def _restart(self) -> None:
        self._window = TrackingWindow(self._config.corners)
        self._focal = SharedFocal()
        self._is_refined = False
        self._settled = np.zeros((0, 4, 4))
        self._start = 0
        self._log_gauge = 0.0  # window units per unit of the model's submap

    def _begin_submap(self, stamps: list[FrameStamp], prediction: ChunkPrediction) -> int:
        """Return how many frames are known already; with none of them, begin anew."""
        window = self._window
        known = [frame.stamp for frame in window.frames]
        start = known.index(stamps[0]) if stamps[0] in known else len(known)
        shared = 0
        for mine, theirs in zip(known[start:], stamps, strict=False):
            if mine != theirs:
                break
            shared += 1
        if not (self._is_refined and shared and window.shape == prediction.depth.shape[1:]):
            self._restart()
            return 0
        window.cut(start + shared)
        window.move(se3.inverse(window.T_window_camera[start]))
        self._settled = np.zeros((0, 4, 4))
        self._start = start
        self._log_gauge = self._measured_gauge(prediction, shared)
        return shared

    def _measured_gauge(self, prediction: ChunkPrediction, shared: int) -> float:
        """Compare the depths of the shared frames with what they are known to be."""
        known = self._window.log_depths(self._start)
        depth = prediction.depth[:shared]
        pixels = np.flatnonzero(np.isfinite(known) & (depth > 0))[::RATIO_STRIDE]
        if len(pixels) < MIN_PIXELS:
            return self._log_gauge
        ratios = np.exp(known.ravel()[pixels].astype(np.float64)) / depth.ravel()[pixels]
        confidence = prediction.confidence[:shared].ravel()[pixels].astype(np.float64)
        return float(np.log(most_common_ratio(ratios, confidence)))

    def _forget(self, new: int) -> None:
        """Make room for new frames."""
        frames = len(self._window.frames)
        count = min(frames + new - REMEMBERED, frames - LINKED)
        if count <= 0:
            return
        leaving = self._window.T_window_camera[self._start : count]
        self._settled = np.concatenate([self._settled, leaving])
        self._window.forget(count)
        self._start = max(0, self._start - count)

    def _extend(self, stamps: list[FrameStamp], prediction: ChunkPrediction, shared: int) -> Array:
        """Add the new frames; return the window's poses (K, 4, 4) as the model lets expect them."""
        window, first = self._window, len(self._window.frames)
        T_model = prediction.T_submap_camera.copy()
        T_model[:, :3, 3] *= np.exp(self._log_gauge)
        steps = np.concatenate([T_model[:1], se3.inverse(T_model[:-1]) @ T_model[1:]])
        offset = len(self._settled) - self._start  # from the window's numbers to the submap's
        if not self._is_refined:
            self._settled = T_model[:offset]
            window.T_window_camera = T_model[offset : offset + first].copy()
        again = np.arange(max(self._start, 1 - offset), first)
        window.T_before_camera[again] = steps[again + offset]
        known = window.log_scale[self._start :]
        log_scale = float(known.sum() / (len(known) + SHRINKAGE))
        expected = list(window.T_window_camera)
        for number in range(shared, len(stamps)):
            frame = tracked_frame(stamps[number], prediction, number, self._log_gauge)
            step = steps[len(window.frames) + offset]
            expected.append(expected[-1] @ step if expected else step)
            window.add(frame, step, log_scale)
        return np.stack(expected)

    def _adjust(self, first: int, expected: Array) -> bool:
        """Solve, look for lost tracks and solve again; on failure return False, poses as expected.

        ``expected`` (K, 4, 4): where the model's motions lead from the last known pose.
        """
        window = self._window
        log_scale, log_depth = window.log_scale.copy(), window.log_depth.copy()
        focal = window.frames[-1].pinhole.fx
        given_images = differences(window.frames, expected, log_scale, first)
        problem = self._problem(first)
        if problem is not None:
            solution = self._solve(problem, COARSE)
            given = problem.problem.evaluate(replace(problem.start, T_window_camera=expected))
            is_better = cost(solution, COARSE[-1]) <= cost(given, COARSE[-1])
            is_better &= problem.fitting(solution) >= LEAST_FITTING
            window.relink(first)
            problem = self._problem(first)
            if problem is not None:
                self._solve(problem, FINE)
            images = differences(window.frames, window.T_window_camera, window.log_scale, first)
            is_better &= not is_worse(images, given_images)
            if is_better and self._is_plausible(first, expected):
                window.log_scale_prior[first:] = window.log_scale[first:]
                self._focal.scale(window.frames[-1].pinhole.fx / focal)
                return True
        window.scale_focal(focal / window.frames[-1].pinhole.fx)
        window.T_window_camera, window.log_scale, window.log_depth = expected, log_scale, log_depth
        window.restart_tracks(first)
        return False

    def _solve(self, problem: WindowProblem, widths: tuple[float, ...]) -> Evaluation:
        """Take over the solution; return its residuals."""
        state = solve(problem.problem, problem.start, widths)
        residuals = problem.problem.evaluate(state)
        problem.apply(state, self._window)
        problem.drop_outliers(residuals, self._window)
        return residuals

    def _problem(self, first: int) -> WindowProblem | None:
        window = self._window
        numbers = np.arange(len(window.frames))
        priors = Priors(
            motion=motion_priors(window),
            log_scale=window.log_scale_prior,
            log_scale_sigma=np.where(numbers < first, OLD_SCALE_SIGMA, NEW_SCALE_SIGMA),
            log_focal=self._focal.expected_log_change,
            log_focal_sigma=FOCAL_SIGMA if self._focal.is_free else 0.0,
        )
        fixed = max(1, min(len(numbers) - FREE, first))
        return window_problem(window, priors, numbers >= fixed, self._config)

    def _is_plausible(self, first: int, expected: Array) -> bool:
        """Whether no motion of the new frames differs too much from the model's."""
        T, begin = self._window.T_window_camera, max(first - 1, 0)
        found = se3.inverse(T[begin:-1]) @ T[begin + 1 :]
        given = se3.inverse(expected[begin:-1]) @ expected[begin + 1 :]
        turns = se3.rotation_angle(np.swapaxes(found[:, :3, :3], 1, 2) @ given[:, :3, :3])
        shifts = np.linalg.norm(found[:, :3, 3] - given[:, :3, 3], axis=1)
        largest = LARGEST_SHIFT * median_depth(self._window)
        is_finite = bool(np.isfinite(T).all())
        return is_finite and bool((turns < LARGEST_TURN).all() and (shifts < largest).all())

    def _refined(self, prediction: ChunkPrediction, first: int, shared: int) -> ChunkPrediction:
        window = self._window
        log_scale = np.full(len(prediction.depth), self._log_gauge)
        log_scale[shared:] += window.log_scale[first:]
        factor = np.exp(log_scale).astype(np.float32)
        poses = np.concatenate([self._settled, window.T_window_camera[self._start :]])
        cameras = tuple(frame.pinhole for frame in window.frames[-len(factor) :])
        return replace(
            prediction,
            T_submap_camera=poses,
            depth=prediction.depth * factor[:, None, None],
            cameras=cameras,
        )
