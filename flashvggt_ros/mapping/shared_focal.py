"""One focal length for the frames of an uncalibrated camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Pinhole

SIGMA = 0.05  # of the logarithm of the model's mean focal length


class SharedFocal:
    """The focal length of an uncalibrated camera, which the model guesses anew for each frame.

    It starts at the mean of the first chunk's guesses and is then ``scale``d. It can be looked for
    while only one camera was seen, and never with a calibration.
    """

    def __init__(self) -> None:
        self._sum = [0.0, 0.0]  # of log fx and log fy
        self._count = 0
        self._focal = (0.0, 0.0)
        self._is_calibrated = False
        self._cameras: set[str] = set()

    @property
    def is_free(self) -> bool:
        """Whether it is unknown, and the same in all frames so far."""
        return not self._is_calibrated and len(self._cameras) == 1

    @property
    def expected_log_change(self) -> float:
        """Logarithm of the mean of all guesses so far over the focal length assumed now."""
        if not self.is_free:
            return 0.0
        return self._sum[0] / self._count - math.log(self._focal[0])

    def update(
        self, frames: Sequence[Frame], cameras: tuple[Pinhole, ...], use_camera_info: bool
    ) -> tuple[Pinhole, ...]:
        """Take note of a chunk's cameras; return them with the shared focal length, if it is free.

        ``use_camera_info``: whether ``cameras`` are calibrated where the frames are.
        """
        self._cameras |= {frame.camera for frame in frames}
        self._is_calibrated |= use_camera_info and any(f.calibration for f in frames)
        if not self.is_free:
            return cameras
        for camera in cameras:
            self._sum[0] += math.log(camera.fx)
            self._sum[1] += math.log(camera.fy)
        self._count += len(cameras)
        if not self._focal[0]:
            fx, fy = (math.exp(total / self._count) for total in self._sum)
            self._focal = (fx, fy)
        return tuple(replace(camera, fx=self._focal[0], fy=self._focal[1]) for camera in cameras)

    def scale(self, factor: float) -> None:
        """Change the focal length assumed."""
        self._focal = (self._focal[0] * factor, self._focal[1] * factor)
