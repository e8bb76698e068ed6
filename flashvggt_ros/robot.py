"""What a robot knows of itself while it takes images: the side of slam that faces its sensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Robot(Protocol):
    """Answers for one image at a time; None where something is not known, or not known yet.

    Slam asks for each keyframe when its chunk is complete, and again where a submap begins with it.
    Frames after REP-103 and REP-105: base x forward and z up, camera optical.
    """

    def T_base_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Place (4, 4) of a camera on the robot [m]."""
        ...

    def T_odom_base(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Pose (4, 4) of the robot in its odometry frame [m]; smooth, but it drifts."""
        ...

    def up_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Unit vector (3,) against gravity in the camera's frame, by a filtered IMU."""
        ...

    def depth(self, camera: str, stamp_ns: int) -> NDArray[np.float32] | None:
        """Measured depth along z (H, W) [m] of the camera's view, of any size; 0: not measured."""
        ...


class UnknownRobot:
    """A camera of which nothing is known but its images."""

    def T_base_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return None."""
        return None

    def T_odom_base(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return None."""
        return None

    def up_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return None."""
        return None

    def depth(self, camera: str, stamp_ns: int) -> NDArray[np.float32] | None:
        """Return None."""
        return None


UNKNOWN_ROBOT = UnknownRobot()


@dataclass(frozen=True, slots=True, eq=False)
class RobotState:
    """What a robot knew when one image was taken; members as Robot's methods have them."""

    T_base_camera: NDArray[np.float64] | None
    T_odom_base: NDArray[np.float64] | None
    up_camera: NDArray[np.float64] | None
    depth: NDArray[np.float32] | None

    @classmethod
    def of(cls, robot: Robot, camera: str, stamp_ns: int) -> RobotState:
        """Ask a robot."""
        return cls(
            robot.T_base_camera(camera, stamp_ns),
            robot.T_odom_base(stamp_ns),
            robot.up_camera(camera, stamp_ns),
            robot.depth(camera, stamp_ns),
        )

    @property
    def T_odom_camera(self) -> NDArray[np.float64] | None:
        """Pose (4, 4) of the camera in the odometry frame [m]."""
        if self.T_odom_base is None or self.T_base_camera is None:
            return None
        return self.T_odom_base @ self.T_base_camera
