"""Worlds with known answers: a textured room, a walk, and a predictor that tells the truth.

The world frame is z up. Everything is analytic NumPy and a function of its seed. ``TruthPredictor``
stands where a model stands: it returns true depth and poses, but, as a model does, in a frame and a
scale of its own for each descriptor cache, and on request with noise, outliers and drift.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.geometry.sim3 import Sim3

PINHOLE = Pinhole(100.0, 100.0, 79.5, 59.5, 160, 120)
R_WORLD_FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical axes, looking along +x


class Room:
    """A box of 8 x 6 x 3 m, centered on the world's z axis, with three boxes standing in it."""

    LOW, HIGH = np.array([-4.0, -3.0, 0.0]), np.array([4.0, 3.0, 3.0])
    BOXES = (
        (np.array([2.2, -2.2, 0.0]), np.array([3.0, -1.2, 1.1])),
        (np.array([-3.2, 1.0, 0.0]), np.array([-2.2, 2.4, 0.8])),
        (np.array([1.6, 1.8, 0.0]), np.array([2.4, 2.6, 2.0])),
    )

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        directions = rng.normal(size=(12, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        wavelengths = np.geomspace(0.35, 2.0, 12)  # [m]
        self._waves = (2 * np.pi * directions / wavelengths[:, None]).astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, 12).astype(np.float32)
        self._colors = rng.normal(0, 24, (12, 3)).astype(np.float32)

    def render(
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole = PINHOLE
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image (H, W, 3) uint8 RGB and depth along z (H, W) float32 [m], seen from a pose."""
        ones = np.ones((pinhole.height, pinhole.width), np.float32)
        rays = pinhole.backproject(ones).astype(np.float64) @ T_world_camera[:3, :3].T
        origin = T_world_camera[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = self._slabs(origin, rays, self.LOW, self.HIGH)[1]
            for low, high in self.BOXES:
                near, far = self._slabs(origin, rays, low, high)
                depth = np.where((near < far) & (near > 0), np.minimum(depth, near), depth)
        return self.color(origin + depth[..., None] * rays), depth.astype(np.float32)

    def color(self, points_world: NDArray[np.float64]) -> NDArray[np.uint8]:
        """RGB (..., 3) uint8 of points (..., 3) of the room's surfaces."""
        waves = np.sin(points_world.astype(np.float32) @ self._waves.T + self._phases)
        return np.clip(128 + waves @ self._colors, 0, 255).astype(np.uint8)

    @staticmethod
    def _slabs(
        origin: NDArray[np.float64],
        rays: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where rays enter and leave a box, in multiples of the ray (..., 3)."""
        first, second = (low - origin) / rays, (high - origin) / rays
        return np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Frames in order of arrival, and what is true of them: poses (N, 4, 4), depths (N, H, W)."""

    frames: tuple[Frame, ...]
    T_world_camera: NDArray[np.float64]
    depth: NDArray[np.float32]


def look(position: Sequence[float], yaw: float, pitch: float = 0.0) -> NDArray[np.float64]:
    """T_world_camera (4, 4) at a position [m] looking along yaw, and down by pitch [rad]."""
    (cy, sy), (cp, sp) = (np.cos(yaw), np.sin(yaw)), (np.cos(pitch), np.sin(pitch))
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    nod = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    return se3.pose(turn @ nod @ R_WORLD_FORWARD, np.asarray(position, np.float64))


def walk(count: int) -> NDArray[np.float64]:
    """T_world_camera (count, 4, 4): round the room, 60 steps a round; each shows enough new."""
    angles = 2 * np.pi * np.arange(count) / 60
    return np.stack(
        [
            look((1.3 * np.cos(a), 0.9 * np.sin(a), 1.4 + 0.1 * np.sin(3 * a)), a + 0.4, 0.1)
            for a in angles
        ]
    )


def make_world(
    T_world_camera: NDArray[np.float64],
    cameras: Sequence[str] = ("camera",),
    start_ns: int = 1_700_000_000_123_456_789,
    period_ns: int = 100_000_001,
    seed: int = 0,
    pinhole: Pinhole = PINHOLE,
) -> World:
    """Photograph the room from each pose (N, 4, 4); ``cameras`` take turns, frame by frame."""
    room = Room(seed)
    calibration = Calibration(pinhole, "none", ())
    views = [room.render(T, pinhole) for T in T_world_camera]
    frames = tuple(
        Frame(start_ns + i * period_ns, cameras[i % len(cameras)], image, calibration)
        for i, (image, _) in enumerate(views)
    )
    return World(frames, np.asarray(T_world_camera), np.stack([depth for _, depth in views]))


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


def held_bytes(root: object) -> int:
    """Size of all arrays that can be reached from ``root``, each memory block once [bytes]."""
    blocks: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            blocks[id(thing)] = thing.nbytes
        else:
            waiting.extend(gc.get_referents(thing))
    return sum(blocks.values())
