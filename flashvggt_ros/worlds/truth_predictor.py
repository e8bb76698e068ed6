"""A predictor that tells the truth: it stands where a model stands.

It returns true depth and poses, but, as a model does, in a frame and a scale of its own for each
descriptor cache, and on request with noise, outliers and drift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.world import World


class TruthCache:
    """The memory of one submap: which frames were seen, and the frame and scale it chose."""

    def __init__(self, index: int, S_submap_world: Sim3) -> None:
        self.index = index
        self.S_submap_world = S_submap_world
        self.seen: list[int] = []

    @property
    def frames(self) -> int:
        """How many frames this memory holds."""
        return len(self.seen)

    @property
    def nbytes(self) -> int:
        """A size that grows with the frames, as a descriptor cache does."""
        return 1000 * len(self.seen)


class TruthPredictor:
    """A ChunkPredictor that knows the world; frames are recognized by stamp and camera.

    ``depth_noise``: standard deviation relative to depth. ``outliers``: share of pixels whose depth
    is wrong by a factor of 0.3 to 3. ``pose_noise``: standard deviation of positions [m] and
    rotations [rad], drawn anew in each call. ``gauge_drift``: how far [rad; submap units] the whole
    submap turns and shifts with each call: earlier poses are superseded, as by a real camera head.
    ``broken_caches``: numbers of the caches, from 0, whose depth is nothing but noise.
    Equal seeds give equal predictions, call by call.
    """

    def __init__(
        self,
        world: World,
        *,
        depth_noise: float = 0.0,
        outliers: float = 0.0,
        pose_noise: float = 0.0,
        gauge_drift: float = 0.0,
        broken_caches: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.world = world
        self.depth_noise, self.outliers = depth_noise, outliers
        self.pose_noise, self.gauge_drift = pose_noise, gauge_drift
        self.broken_caches = tuple(broken_caches)
        self._rng = np.random.default_rng(seed)
        self._caches = 0
        self._index = {(f.stamp_ns, f.camera): i for i, f in enumerate(world.frames)}

    def new_cache(self) -> TruthCache:
        """Begin a memory with a random frame, and a scale of 0.4 to 2.5 units per meter."""
        scale = float(np.exp(self._rng.uniform(np.log(0.4), np.log(2.5))))
        turn = se3.matrix_from_quaternion(self._rng.normal(size=4))
        cache = TruthCache(self._caches, Sim3(scale, turn, self._rng.normal(0, 3, 3)))
        self._caches += 1
        return cache

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        """Tell the truth about ``frames``, in the frame of ``cache``, worsened as asked for."""
        indices = [self._index[f.stamp_ns, f.camera] for f in frames]
        if self.gauge_drift:
            cache.S_submap_world = self._nudge(self.gauge_drift) @ cache.S_submap_world
        cache.seen.extend(indices)
        T_submap_camera = cache.S_submap_world.transform_pose(self.world.T_world_camera[cache.seen])
        if self.pose_noise:
            T_submap_camera = np.stack([self._shaken(T, cache) for T in T_submap_camera])
        depth = self.world.depth[indices] * np.float32(cache.S_submap_world.scale)
        if self.depth_noise:
            noise = 1 + self.depth_noise * self._rng.standard_normal(depth.shape, np.float32)
            depth *= np.maximum(noise, np.float32(0.1))
        wrong = 1.0 if cache.index in self.broken_caches else self.outliers
        if wrong:
            is_wrong = self._rng.random(depth.shape, np.float32) < wrong
            logs = self._rng.uniform(np.log(0.3), np.log(3.0), np.count_nonzero(is_wrong))
            depth[is_wrong] *= np.exp(logs)
        calibrations = [f.calibration for f in frames]
        return ChunkPrediction(
            T_submap_camera=T_submap_camera,
            depth=depth,
            confidence=np.full(depth.shape, 2, np.float32),
            colors=np.stack([f.image for f in frames]),
            cameras=tuple(c.pinhole if c else PINHOLE for c in calibrations),
            signatures=np.stack([signature(f.image) for f in frames]),
        )

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
