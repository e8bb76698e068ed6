"""sensor_msgs/Imu as a track that says which way is up."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    read_field,
    read_matrix,
    read_numbers,
    read_quaternion,
)
from flashvggt_ros.sensors.stamped_track import TopicTrack

logger = logging.getLogger(__name__)

MOST_MESSAGES = 60_000  # a minute at 1000 Hz
LONGEST_GAP_NS = 100_000_000  # from an image to the reading nearest to it
WINDOW_NS = 250_000_000  # accelerations are averaged over so long before and after
GRAVITY = 9.81  # [m/s^2]
REST = 0.25  # how far from it an acceleration of a sensor at rest may be [m/s^2]
SLOW = 0.3  # turn rate up to which an acceleration counts [rad/s]
LEAST_READINGS = 3
MOST_VARIANCE = 0.25  # of roll and pitch, beyond which an orientation says nothing [rad^2]
CONTRADICTION = 0.35  # angle between orientation and acceleration [rad]
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class ImuReading:
    """One message: up (3,) by its orientation, and acceleration (3,) [m/s^2] of a slow sensor.

    Both are in the sensor's ``frame``; NaN where the message has none, or none that counts.
    """

    frame: str
    up: NDArray[np.float64]
    acceleration: NDArray[np.float64]


UNKNOWN = np.full(3, np.nan)


class ImuTrack(TopicTrack[ImuReading]):
    """Which way sensor_msgs/Imu says is up in its frame: by orientation, or else acceleration.

    The world of orientations has z up (REP-145), and at rest the acceleration points up (REP-145).
    An orientation counts unless the message says that there is none: its covariance begins with -1
    (sensor_msgs/Imu), or the quaternion is zero, or it is the identity of unknown covariance, as in
    a message that nobody filled in. Accelerations count while the sensor turns slowly and measures
    little more or less than gravity; where both are known and contradict each other, nobody knows.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(topic, "IMU message", MOST_MESSAGES)
        self._has_said_contradiction = False

    def up(self, stamp_ns: int) -> tuple[str, NDArray[np.float64]] | None:
        """Return the IMU's frame and the unit vector (3,) up in it at a stamp; None: not known."""
        near = self._track.within(stamp_ns - WINDOW_NS, stamp_ns + WINDOW_NS)
        if not near:
            return None
        nearest_ns, nearest = min(near, key=lambda entry: abs(entry[0] - stamp_ns))
        if abs(nearest_ns - stamp_ns) > LONGEST_GAP_NS:
            return None
        readings = [reading for _, reading in near if reading.frame == nearest.frame]
        by_acceleration = _mean_acceleration(readings)
        up = by_acceleration if np.isnan(nearest.up[0]) else self._up_at(stamp_ns, nearest.up)
        if np.isnan(up[0]):
            return None
        # NaN, an acceleration that does not count, contradicts nothing
        if up @ by_acceleration < math.cos(CONTRADICTION):
            self._say_contradiction()
            return None
        return nearest.frame, up

    def _read(self, message: Any, frame: str) -> tuple[ImuReading, int]:
        if not frame:
            raise RejectedInput("frame_missing", "frame_id is empty: name the IMU's frame")
        return ImuReading(frame, _up_by_orientation(message), _acceleration(message)), 1

    def _up_at(self, stamp_ns: int, nearest: NDArray[np.float64]) -> NDArray[np.float64]:
        """Up by the orientations before and after a stamp; the nearest where one is missing."""
        found = self._track.around(stamp_ns)
        if found is None:
            return nearest
        (before_ns, before), (after_ns, after) = found
        share = (stamp_ns - before_ns) / max(1, after_ns - before_ns)
        up = (1 - share) * before.up + share * after.up
        length = float(np.linalg.norm(up))
        is_usable = before.frame == after.frame and length > 0.5  # NaN is not
        return up / length if is_usable else nearest

    def _say_contradiction(self) -> None:
        if not self._has_said_contradiction:
            self._has_said_contradiction = True
            logger.warning(
                "%s: orientation and acceleration disagree about which way is up: neither is used; "
                "the driver must give both after REP-145 (z up, +9.81 m/s^2 at rest)",
                self.rejections.topic,
            )


def _up_by_orientation(message: Any) -> NDArray[np.float64]:
    covariance = read_matrix(message, "orientation_covariance", 3)
    if covariance[0, 0] < 0 or max(covariance[0, 0], covariance[1, 1]) > MOST_VARIANCE:
        return UNKNOWN
    quaternion = read_field(message, "orientation")
    if not any(read_numbers(quaternion, "xyzw")):
        return UNKNOWN
    xyzw = read_quaternion(quaternion)
    if not covariance.any() and np.array_equal(xyzw, IDENTITY):
        return UNKNOWN
    up_imu: NDArray[np.float64] = se3.matrix_from_quaternion(xyzw)[2]  # R_world_imu.T @ z
    return up_imu


def _acceleration(message: Any) -> NDArray[np.float64]:
    if read_matrix(message, "linear_acceleration_covariance", 3)[0, 0] < 0:
        return UNKNOWN
    acceleration = read_numbers(read_field(message, "linear_acceleration"), "xyz")
    if abs(math.hypot(*acceleration) - GRAVITY) > REST:
        return UNKNOWN
    if read_matrix(message, "angular_velocity_covariance", 3)[0, 0] >= 0:
        turn_rate = read_numbers(read_field(message, "angular_velocity"), "xyz")
        if math.hypot(*turn_rate) > SLOW:
            return UNKNOWN
    return acceleration


def _mean_acceleration(readings: list[ImuReading]) -> NDArray[np.float64]:
    """Direction (3,) of the accelerations that count; NaN unless most of them do."""
    accelerations = np.array([reading.acceleration for reading in readings])
    accelerations = accelerations[~np.isnan(accelerations[:, 0])]
    if len(accelerations) < max(LEAST_READINGS, len(readings) / 2):
        return UNKNOWN
    mean = accelerations.mean(axis=0)
    direction: NDArray[np.float64] = mean / np.linalg.norm(mean)
    return direction
