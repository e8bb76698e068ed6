"""Walks through places as frames, with what is true of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import Frame, FrameStamp
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE, look
from flashvggt_ros.worlds.room import Room
from flashvggt_ros.worlds.scenery import Place

START_NS, PERIOD_NS = 1_700_000_000_123_456_789, 100_000_001
REMEMBERED = 64  # depth images that a streamed world need not render again


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Frames in order of arrival, and what is true of them: poses (N, 4, 4), depths (N, H, W)."""

    frames: tuple[Frame, ...]
    T_world_camera: NDArray[np.float64]
    depth: NDArray[np.float32]

    @property
    def stamps(self) -> tuple[FrameStamp, ...]:
        """Which frames there are, in order of arrival."""
        return tuple(FrameStamp(frame.stamp_ns, frame.camera) for frame in self.frames)

    def depth_images(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return the true depth (K, H, W) along z [m] of frames by number, as a copy."""
        return self.depth[list(numbers)]


class StreamedWorld:
    """A walk of one camera that is too long to keep: frames are rendered when they are due."""

    def __init__(
        self, place: Place, T_world_camera: NDArray[np.float64], pinhole: Pinhole,
        camera: str = "camera",
    ) -> None:
        self.place, self.T_world_camera, self.pinhole = place, T_world_camera, pinhole
        self.stamps = tuple(
            FrameStamp(START_NS + i * PERIOD_NS, camera) for i in range(len(T_world_camera))
        )
        self._depth: dict[int, NDArray[np.float32]] = {}

    def frames(self) -> Iterator[Frame]:
        """Render the frames, one after the other."""
        calibration = Calibration(self.pinhole, "none", ())
        for number, stamp in enumerate(self.stamps):
            image = self._render(number)
            yield Frame(stamp.stamp_ns, stamp.camera, image, calibration)

    def depth_images(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return the true depth (K, H, W) along z [m] of frames by number, as a copy."""
        for number in numbers:
            if number not in self._depth:
                self._render(number)
        return np.stack([self._depth[number] for number in numbers])

    def _render(self, number: int) -> NDArray[np.uint8]:
        image, depth = self.place.render(self.T_world_camera[number], self.pinhole)
        while len(self._depth) >= REMEMBERED:
            del self._depth[next(iter(self._depth))]
        self._depth[number] = depth
        return image


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
    start_ns: int = START_NS,
    period_ns: int = PERIOD_NS,
    seed: int = 0,
    pinhole: Pinhole = PINHOLE,
) -> World:
    """Photograph the room from each pose (N, 4, 4); ``cameras`` take turns, frame by frame."""
    stamps = [
        FrameStamp(start_ns + i * period_ns, cameras[i % len(cameras)])
        for i in range(len(T_world_camera))
    ]
    return _photographs(Room(seed), stamps, T_world_camera, pinhole)


def photograph(
    place: Place,
    T_world_base: NDArray[np.float64],
    mounts: Mapping[str, NDArray[np.float64]],
    *,
    delay_ns: int = 0,
    period_ns: int = PERIOD_NS,
    pinhole: Pinhole = PINHOLE,
) -> World:
    """Drive through a place: at each base pose (M, 4, 4) each camera takes an image.

    ``mounts``: T_base_camera (4, 4) of each camera; each one's images come ``delay_ns`` after the
    one's before it, yet show what is seen from the same base pose.
    """
    stamps = [
        FrameStamp(START_NS + i * period_ns + j * delay_ns, camera)
        for i in range(len(T_world_base))
        for j, camera in enumerate(mounts)
    ]
    T_base_camera = np.stack(list(mounts.values()))
    T_world_camera = (T_world_base[:, None] @ T_base_camera).reshape(-1, 4, 4)
    return _photographs(place, stamps, T_world_camera, pinhole)


def _photographs(
    place: Place, stamps: Sequence[FrameStamp], T_world_camera: NDArray[np.float64],
    pinhole: Pinhole,
) -> World:
    calibration = Calibration(pinhole, "none", ())
    first = stamps[0].stamp_ns if stamps else 0
    views = [
        place.render(T, pinhole, (stamp.stamp_ns - first) * 1e-9)
        for T, stamp in zip(T_world_camera, stamps, strict=True)
    ]
    frames = tuple(
        Frame(stamp.stamp_ns, stamp.camera, image, calibration)
        for stamp, (image, _) in zip(stamps, views, strict=True)
    )
    return World(frames, np.asarray(T_world_camera), np.stack([depth for _, depth in views]))
