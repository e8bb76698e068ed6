"""A predictor that tells the truth: it stands where a model stands.

It returns true depth and poses, but, as a model does, in a frame and a scale of its own for each
descriptor cache, and on request with noise, outliers, drift and delusions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, Frame, FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.lookalike_rooms import Lookalikes
from flashvggt_ros.worlds.prediction_errors import DepthErrors, Drift


class TrueWalk(Protocol):
    """What the predictor asks of a world."""

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """Where each of them was taken (N, 4, 4)."""
        ...

    @property
    def stamps(self) -> tuple[FrameStamp, ...]:
        """Which frames there are, in order of arrival."""
        ...

    def depth_images(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return the true depth (K, H, W) along z [m] of frames by number, as a copy."""
        ...


class TruthCache:
    """The memory of one submap: which frames were seen, the frame and scale it chose.

    ``sign``: 1 or -1, to which side it drifts. ``most_frames``: how many it holds; 0: any number.
    """

    def __init__(
        self, index: int, S_submap_world: Sim3, sign: float = 1.0, most_frames: int = 0
    ) -> None:
        self.index = index
        self.most_frames = most_frames
        self.S_submap_world = S_submap_world
        self.sign = sign
        self.seen: list[int] = []

    @property
    def frames(self) -> int:
        """How many frames this memory holds."""
        return len(self.seen)

    @property
    def nbytes(self) -> int:
        """A size that grows with the frames, as a descriptor cache does."""
        return 1000 * len(self.seen)

    def fits(self, frames: int) -> bool:
        """Whether a chunk of so many frames fits."""
        return not self.most_frames or len(self.seen) + frames <= self.most_frames


class TruthPredictor:
    """A ChunkPredictor that knows the world; frames are recognized by stamp and camera.

    ``depth_noise``, ``smooth_noise``, ``outliers`` and ``noise_spread``: see DepthErrors.
    ``pose_noise``: standard deviation of positions [m] and rotations [rad], drawn anew in each
    call. ``gauge_drift``: how far [rad; submap units] the whole submap turns and shifts with each
    call: earlier poses are superseded, as by a real camera head. ``drift``: how submaps bend; None:
    they do not. ``broken_caches``: numbers of the caches, from 0, whose depth is nothing but noise.
    ``lookalikes``: the cells of a world that are taken for one another: a cache that is shown
    several of them, in frames that do not follow each other, overlays them as if they were one.
    ``most_frames``: how many a cache can hold, 0: any number; it is asked, and never evicts.
    Equal seeds give equal predictions, call by call.
    """

    def __init__(
        self,
        world: TrueWalk,
        *,
        depth_noise: float = 0.0,
        smooth_noise: float = 0.0,
        outliers: float = 0.0,
        noise_spread: float = 0.0,
        pose_noise: float = 0.0,
        gauge_drift: float = 0.0,
        drift: Drift | None = None,
        lookalikes: Lookalikes | None = None,
        broken_caches: Sequence[int] = (),
        most_frames: int = 0,
        seed: int = 0,
    ) -> None:
        self.world = world
        self.depth_errors = DepthErrors(depth_noise, smooth_noise, outliers, noise_spread)
        self.pose_noise, self.gauge_drift = pose_noise, gauge_drift
        self.drift, self.lookalikes = drift, lookalikes
        self.broken_caches = tuple(broken_caches)
        self.most_frames = most_frames
        self._rng = np.random.default_rng(seed)
        self._caches = 0
        self._index = {stamp: number for number, stamp in enumerate(world.stamps)}

    def new_cache(self) -> TruthCache:
        """Begin a memory with a random frame, and a scale of 0.4 to 2.5 units per meter."""
        scale = float(np.exp(self._rng.uniform(np.log(0.4), np.log(2.5))))
        turn = se3.matrix_from_quaternion(self._rng.normal(size=4))
        shift = self._rng.normal(0, 3, 3)
        is_random = self.drift is not None and self.drift.is_random
        sign = float(self._rng.choice([-1, 1])) if is_random else 1.0
        cache = TruthCache(self._caches, Sim3(scale, turn, shift), sign, self.most_frames)
        self._caches += 1
        return cache

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        """Tell the truth about ``frames``, in the frame of ``cache``, worsened as asked for."""
        numbers = [self._index[FrameStamp(f.stamp_ns, f.camera)] for f in frames]
        if self.gauge_drift:
            cache.S_submap_world = self._nudge(self.gauge_drift) @ cache.S_submap_world
        cache.seen.extend(numbers)
        T_world_camera, scales = self._believed(cache)
        T_submap_camera = cache.S_submap_world.transform_pose(T_world_camera)
        if self.pose_noise:
            T_submap_camera = np.stack([self._shaken(T, cache) for T in T_submap_camera])
        scales = cache.S_submap_world.scale * scales[-len(numbers) :, None, None]
        depth = self.world.depth_images(numbers) * scales.astype(np.float32)
        is_broken = cache.index in self.broken_caches
        errors = replace(self.depth_errors, outliers=1.0) if is_broken else self.depth_errors
        depth, confidence = errors.applied(depth, self._rng)
        calibrations = [f.calibration for f in frames]
        return ChunkPrediction(
            T_submap_camera=T_submap_camera,
            depth=depth,
            confidence=confidence,
            colors=np.stack([f.image for f in frames]),
            fine_images=np.stack([cv2.cvtColor(f.image, cv2.COLOR_RGB2GRAY) for f in frames]),
            cameras=tuple(c.pinhole if c else PINHOLE for c in calibrations),
            signatures=np.stack([signature(f.image) for f in frames]),
        )

    def _believed(self, cache: TruthCache) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Poses (K, 4, 4) of all frames that a cache has seen, and its scale at each (K,)."""
        poses = self.world.T_world_camera[cache.seen]
        if self.lookalikes is not None:
            poses = self.lookalikes.overlaid(cache.seen, poses)
        if self.drift is None:
            return poses, np.ones(len(poses))
        return self.drift.bent(poses, cache.sign)

    def _nudge(self, size: float) -> Sim3:
        turn = se3.matrix_from_quaternion(np.append(self._rng.normal(0, size / 2, 3), 1))
        return Sim3(1.0, turn, self._rng.normal(0, size, 3))

    def _shaken(self, T_submap_camera: NDArray[np.float64], cache: TruthCache) -> NDArray:
        turn = se3.matrix_from_quaternion(np.append(self._rng.normal(0, self.pose_noise / 2, 3), 1))
        shift = self._rng.normal(0, self.pose_noise * cache.S_submap_world.scale, 3)
        return T_submap_camera @ se3.pose(turn, shift)


def signature(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What an image (H, W, 3) shows as a whole (192,): its thumbnail, of mean 0 and length 1."""
    height, width = image.shape[0] // 8 * 8, image.shape[1] // 8 * 8
    cells = image[:height, :width].reshape(8, height // 8, 8, width // 8, 3)
    thumbnail = cells.mean(axis=(1, 3), dtype=np.float32).ravel()
    thumbnail -= thumbnail.mean()
    return thumbnail / max(float(np.linalg.norm(thumbnail)), 1e-6)
