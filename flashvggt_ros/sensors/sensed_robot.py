"""A robot as its topics and its transforms show it: the same for the node and for replays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.sensors.depth_images import DepthTrack
from flashvggt_ros.sensors.imu import ImuTrack
from flashvggt_ros.sensors.odometry import OdometryTrack
from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.sensors.stamped_track import TopicTrack

logger = logging.getLogger(__name__)

ASKED_BEFORE_SAID = 16  # keyframes; every camera has been asked for by then

Lookup = Callable[[str, str, int], NDArray[np.float64]]
Wait = Callable[[Callable[[], bool]], None]


def wait_never(is_reached: Callable[[], bool]) -> None:
    """Do not wait: what has not come is not known."""


class SensedRobot:
    """Answers as robot.Robot from the topics that ``config.robot`` names and from transforms.

    ``take(topic, message)`` is called with each message of ``topics``. ``lookup(target, source,
    stamp_ns)`` returns T_target_source (4, 4) or raises LookupError; ``wait(is_reached)`` returns
    when that holds, or when nobody wants to wait any longer. One thread may take messages while
    another asks. Cameras are looked up at the stamp of their image: they may move on the robot.
    """

    def __init__(self, config: Config, lookup: Lookup, wait: Wait = wait_never) -> None:
        self._tf = config.tf
        self._lookup = lookup
        self._wait = wait
        self._tolerance_ns = round(config.robot.depth_tolerance * 1e9)
        robot = config.robot
        self._odometry = OdometryTrack(robot.odometry_topic) if robot.odometry_topic else None
        self._imu = ImuTrack(robot.imu_topic) if robot.imu_topic else None
        self._depths = {
            topic: DepthTrack(topic, config.image.max_megapixels) for topic in robot.depth_topics
        }
        self._takers: dict[str, TopicTrack[Any]] = dict(self._depths)
        for topic, track in (
            (robot.odometry_topic, self._odometry),
            (robot.imu_topic, self._imu),
        ):
            if track is not None:
                self._takers[topic] = track
        self._said: set[str] = set()
        self._cameras: Counter[str] = Counter()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics whose messages are wanted, as the parameters name them."""
        return tuple(self._takers)

    @property
    def needs_transforms(self) -> bool:
        """Whether anything is asked of TF."""
        return bool(self._tf.base_frame or self._imu)

    @property
    def rejected(self) -> dict[str, Counter[str]]:
        """How many messages of each topic were refused, by cause."""
        return {topic: track.rejections.counts for topic, track in self._takers.items()}

    def take(self, topic: str, message: Any) -> None:
        """Take a message; what cannot be used is counted, said once and dropped."""
        self._takers[topic].add(message)

    def hear_recording(self, topic: str, log_ns: int) -> None:
        """Be told when a bag recorded the topic's message that comes now."""
        self._takers[topic].order.recording.hear(log_ns)

    def refuse(self, topic: str, rejection: RejectedInput) -> None:
        """Count and say a message that could not even be read."""
        self._takers[topic].rejections.add(rejection)

    def clear(self) -> None:
        """Forget what was measured; stamps may begin anew."""
        for track in self._takers.values():
            track.clear()
        self._said.clear()
        self._cameras.clear()

    def T_base_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Place (4, 4) of a camera on the robot [m], from TF."""
        if not self._tf.base_frame:
            return None
        return self._looked_up(self._tf.base_frame, camera, stamp_ns)

    def T_odom_base(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Pose (4, 4) of the robot in its odometry frame [m], from its topic or from TF."""
        if self._odometry is None:
            if not self._tf.odom_frame:
                return None
            return self._looked_up(self._tf.odom_frame, self._tf.base_frame, stamp_ns)
        self._wait_for(self._odometry, stamp_ns)
        found = self._odometry.at(stamp_ns)
        if found is None:
            return None
        child, T_odom_child = found
        T_child_base = self._looked_up(child, self._tf.base_frame, stamp_ns)
        return None if T_child_base is None else T_odom_child @ T_child_base

    def up_camera(self, camera: str, stamp_ns: int) -> NDArray[np.float64] | None:
        """Unit vector (3,) against gravity in the camera's frame, by the IMU."""
        if self._imu is None:
            return None
        self._wait_for(self._imu, stamp_ns)
        found = self._imu.up(stamp_ns)
        if found is None:
            return None
        frame, up_imu = found
        T_camera_imu = self._looked_up(camera, frame, stamp_ns)
        return None if T_camera_imu is None else T_camera_imu[:3, :3] @ up_imu

    def depth(self, camera: str, stamp_ns: int) -> NDArray[np.float32] | None:
        """Measured depth (h, w) [m] of the camera's view, thinned; 0: not measured."""
        self._cameras[camera] += 1
        for topic, track in self._depths.items():
            self._wait_for(track, stamp_ns)
            depth = track.at(camera, stamp_ns, self._tolerance_ns)
            if depth is not None:
                return depth
            self._say_foreign(topic, track.frame)
        return None

    def _say_foreign(self, topic: str, frame: str) -> None:
        """Say it where depth images show the view of no camera."""
        if not frame or frame in self._cameras or self._cameras.total() < ASKED_BEFORE_SAID:
            return
        self._say(
            topic,
            f"{topic} is in the frame '{frame}', images are in {', '.join(self._cameras)}: it is "
            "not used; publish depth registered to the images, in their frame",
        )

    def _wait_for(self, track: TopicTrack[Any], stamp_ns: int) -> None:
        if 0 < track.newest_ns < stamp_ns:
            self._wait(lambda: track.newest_ns >= stamp_ns)

    def _looked_up(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64] | None:
        try:
            return self._lookup(target, source, stamp_ns)
        except LookupError as error:
            self._say(
                f"{source}->{target}",
                f"what '{source}' measures is not used while it has no place in '{target}': "
                f"{error}",
            )
            return None

    def _say(self, subject: str, text: str) -> None:
        if subject not in self._said:
            self._said.add(subject)
            logger.warning("%s (said once)", text)
