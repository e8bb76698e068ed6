"""A walk through a world as frames, with what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE, look
from flashvggt_ros.worlds.room import Room


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Frames in order of arrival, and what is true of them: poses (N, 4, 4), depths (N, H, W)."""

    frames: tuple[Frame, ...]
    T_world_camera: NDArray[np.float64]
    depth: NDArray[np.float32]


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
