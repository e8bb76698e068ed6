"""geometry_msgs/PoseWithCovarianceStamped as where someone says that the robot is in the map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import TfConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    read_field,
    read_header_frame,
    read_matrix,
    read_place,
    read_quaternion,
)

# Standard deviations that are at least assumed: RViz tells those of x, y and yaw, and 0 of others.
LEAST_TURN, LEAST_PLACE = 0.05, 0.05  # [rad], [m]
UNTOLD_TURN, UNTOLD_PLACE = 0.1, 0.3
HELD_HEIGHT = 1.5  # of a camera whose place on the robot is not known [m]
R_LEVEL_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def initial_pose(
    message: Any, config: TfConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return T_map_base (4, 4) and its sigmas (6,), rotation first; see slam.set_initial_pose.

    Where no tf.base_frame is set it is a level camera that looks along x, somewhere above. Raises
    RejectedInput for another frame than tf.map_frame, and for what is no pose.
    """
    frame = read_header_frame(message)
    if frame not in ("", config.map_frame):
        raise RejectedInput(
            "frame_unknown", f"it is in the frame '{frame[:60]}', not in '{config.map_frame}'"
        )
    said = read_field(message, "pose")
    variances = np.diag(read_matrix(said, "covariance", 6))
    pose = read_field(said, "pose")
    rotation = se3.matrix_from_quaternion(read_quaternion(read_field(pose, "orientation")))
    T_map_base = se3.pose(rotation, read_place(read_field(pose, "position")))
    places = [_sigma(variance, LEAST_PLACE, UNTOLD_PLACE) for variance in variances[:3]]
    turns = [_sigma(variance, LEAST_TURN, UNTOLD_TURN) for variance in variances[3:]]
    if not config.base_frame:
        T_base_camera = se3.pose(R_LEVEL_OPTICAL, np.array([0.0, 0.0, HELD_HEIGHT / 2]))
        T_map_base = T_map_base @ T_base_camera
        places[2] = max(places[2], HELD_HEIGHT / 2)
    return T_map_base, np.array([*turns, *places])


def _sigma(variance: float, least: float, untold: float) -> float:
    return max(float(np.sqrt(variance)), least) if variance > 0 else untold
