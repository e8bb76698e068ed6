"""Takes /initialpose: where someone, or RViz, says that the robot is in the loaded map."""

from __future__ import annotations

import logging
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


class InitialPoseInput:
    """Subscribes to initialpose and gives it to slam, behind the images that came before."""

    def __init__(self, node: Node, config: Callable[[], TfConfig], worker: Worker) -> None:
        self._config = config
        self._worker = worker
        node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._take, 5)

    def _take(self, message: PoseWithCovarianceStamped) -> None:
        try:
            T_map_base, sigmas = initial_pose(message, self._config())
        except RejectedInput as error:
            logger.warning("initialpose is not used: %s", error)
            return
        job = self._worker.submit(lambda slam: self._set(slam, T_map_base, sigmas))
        job.add_done_callback(_say_refusal)

    def _set(
        self, slam: Slam, T_map_base: NDArray[np.float64], sigmas: NDArray[np.float64]
    ) -> None:
        slam.set_initial_pose(T_map_base, sigmas)
        x, y, z = T_map_base[:3, 3]
        logger.info("the robot is said to be at (%.2f, %.2f, %.2f) m", x, y, z)


def _say_refusal(job: Future) -> None:
    error = None if job.cancelled() else job.exception()
    if error is not None:
        logger.warning("initialpose is not used: %s", error)
