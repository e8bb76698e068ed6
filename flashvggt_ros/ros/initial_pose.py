"""Takes /initialpose: where someone, or RViz, says that the robot is in the loaded map."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.node import Node

from flashvggt_ros.config import TfConfig
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.sensors.initial_pose import initial_pose
from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.slam import Slam

logger = logging.getLogger(__name__)

SAY_PERIOD_S = 10.0  # of a refusal that repeats itself


class InitialPoseInput:
    """Subscribes to initialpose and gives it to slam, behind the images that came before.

    Where no map is loaded it means nothing, and no chunk ends early for it. A refusal like the one
    before is said again after ten seconds, not with each of those that come steadily.
    """

    def __init__(self, node: Node, config: Callable[[], TfConfig], worker: Worker) -> None:
        self._config = config
        self._worker = worker
        self._said, self._say_again = "", 0.0
        node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._take, 5)

    def _take(self, message: PoseWithCovarianceStamped) -> None:
        try:
            T_map_base, sigmas = initial_pose(message, self._config())
        except RejectedInput as error:
            self._say(error)
            return
        job = self._worker.submit(
            lambda slam: self._set(slam, T_map_base, sigmas), Slam.check_map_is_loaded
        )
        job.add_done_callback(self._say_refusal)

    def _set(
        self, slam: Slam, T_map_base: NDArray[np.float64], sigmas: NDArray[np.float64]
    ) -> None:
        slam.set_initial_pose(T_map_base, sigmas)
        x, y, z = T_map_base[:3, 3]
        logger.info("the robot is said to be at (%.2f, %.2f, %.2f) m", x, y, z)

    def _say_refusal(self, job: Future) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            self._say(error)

    def _say(self, error: BaseException) -> None:
        now = time.monotonic()
        if str(error) != self._said or now >= self._say_again:
            self._said, self._say_again = str(error), now + SAY_PERIOD_S
            logger.warning("initialpose is not used: %s", error)
