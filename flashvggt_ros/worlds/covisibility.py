"""Which images of a world show the same surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.worlds.world import World

STEP = 12  # every so manieth pixel is looked at
AGREEMENT = 0.05  # difference of depths, relative, that is still one surface


def covisibility(world: World) -> NDArray[np.float32]:
    """Share (N, N) of what image i shows that image j shows too, 0 to 1."""
    T_camera_world = se3.inverse(world.T_world_camera)
    shares = np.zeros((len(world.frames), len(world.frames)), np.float32)
    first = STEP // 2
    for i, frame in enumerate(world.frames):
        assert frame.calibration is not None
        pinhole = frame.calibration.pinhole
        points = pinhole.backproject(world.depth[i])[first::STEP, first::STEP].reshape(-1, 3)
        points = se3.transform_points(T_camera_world @ world.T_world_camera[i], points[None])
        z = np.maximum(points[..., 2], 1e-6)
        u = np.rint(pinhole.fx * points[..., 0] / z + pinhole.cx)
        v = np.rint(pinhole.fy * points[..., 1] / z + pinhole.cy)
        is_in = (u >= 0) & (u < pinhole.width) & (v >= 0) & (v < pinhole.height)
        is_in &= points[..., 2] > 0
        u, v = np.where(is_in, u, 0).astype(int), np.where(is_in, v, 0).astype(int)
        seen = world.depth[np.arange(len(world.frames))[:, None], v, u]
        shares[i] = (is_in & (np.abs(seen - z) < AGREEMENT * z)).mean(axis=1)
    return shares
