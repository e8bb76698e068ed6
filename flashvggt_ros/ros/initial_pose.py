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
from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.messages import matrix
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.slam import Slam

logger = logging.getLogger(__name__)

# Standard deviations that are at least assumed: RViz tells those of x, y and yaw, and 0 of others.
LEAST_TURN, LEAST_PLACE = 0.05, 0.05  # [rad], [m]
UNTOLD_TURN, UNTOLD_PLACE = 0.1, 0.3
HELD_HEIGHT = 1.5  # of a camera whose place on the robot is not known [m]
R_LEVEL_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


class InitialPoseInput:
    """Subscribes to initialpose and gives it to slam, behind the images that came before."""

    def __init__(self, node: Node, config: Callable[[], TfConfig], worker: Worker) -> None:
        self._config = config
        self._worker = worker
        node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._take, 5)

    def _take(self, message: PoseWithCovarianceStamped) -> None:
        try:
            T_map_base, sigmas = initial_pose(message, self._config())
        except ValueError as error:
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


def initial_pose(
    message: PoseWithCovarianceStamped, config: TfConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return T_map_base (4, 4) and its sigmas (6,), rotation first; see slam.set_initial_pose.

    Where no tf.base_frame is set it is a level camera that looks along x, somewhere above. Raises
    ValueError for another frame than tf.map_frame, and for what is no pose.
    """
    frame = message.header.frame_id
    if frame not in ("", config.map_frame):
        raise ValueError(f"it is in the frame '{frame}', not in '{config.map_frame}'")
    covariance = np.asarray(message.pose.covariance, np.float64).reshape(6, 6)
    variances = np.diag(covariance)
    T_map_base = matrix(message.pose.pose)
    if not (np.isfinite(T_map_base).all() and np.isfinite(variances).all()):
        raise ValueError("it has numbers that are not finite")
    places = [_sigma(variance, LEAST_PLACE, UNTOLD_PLACE) for variance in variances[:3]]
    turns = [_sigma(variance, LEAST_TURN, UNTOLD_TURN) for variance in variances[3:]]
    if not config.base_frame:
        T_base_camera = se3.pose(R_LEVEL_OPTICAL, np.array([0.0, 0.0, HELD_HEIGHT / 2]))
        T_map_base = T_map_base @ T_base_camera
        places[2] = max(places[2], HELD_HEIGHT / 2)
    return T_map_base, np.array([*turns, *places])


def _sigma(variance: float, least: float, untold: float) -> float:
    return max(float(np.sqrt(variance)), least) if variance > 0 else untold


def _say_refusal(job: Future) -> None:
    error = None if job.cancelled() else job.exception()
    if error is not None:
        logger.warning("initialpose is not used: %s", error)
