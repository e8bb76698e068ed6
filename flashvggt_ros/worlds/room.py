"""A textured room, ray-cast exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE
from flashvggt_ros.worlds.scenery import Image


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
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole = PINHOLE,
        seconds: float = 0.0,
    ) -> Image:
        """Image (H, W, 3) uint8 RGB and depth along z (H, W) float32 [m]; nothing moves here."""
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
