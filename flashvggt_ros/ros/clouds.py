"""Colored points as sensor_msgs/PointCloud2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from flashvggt_ros.ros import backends
from flashvggt_ros.ros.messages import time_message

# As PCL and RViz read it: rgb is 0x00RRGGBB in the bits of a float32.
_NAMES = ("x", "y", "z", "rgb")
_POINT_STEP = 16


def cloud_message(
    points: NDArray[np.float32], colors: NDArray[np.uint8], frame_id: str, stamp_ns: int
) -> PointCloud2:
    """Return a cloud of points (M, 3) [m] in ``frame_id`` and colors (M, 3) uint8 RGB.

    Points must be finite: the message says so (is_dense).
    """
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points are {points.shape}, colors {colors.shape}: both must be (M, 3)")
    if points.dtype != np.float32 or colors.dtype != np.uint8:
        raise ValueError(f"points are {points.dtype}, colors {colors.dtype}: not float32, uint8")
    header = Header(stamp=time_message(stamp_ns), frame_id=frame_id)
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(_NAMES)
    ]
    if not len(points):  # some releases of create_cloud fail on it
        return PointCloud2(
            header=header, height=1, fields=fields, point_step=_POINT_STEP, is_dense=True
        )
    values = np.empty((len(points), 4), np.float32)
    values[:, :3] = points
    packed = values.view(np.uint32)[:, 3]
    packed[:] = colors[:, 0]
    for channel in (1, 2):
        packed <<= 8
        packed |= colors[:, channel]
    dtype = np.dtype([(name, np.float32) for name in _NAMES])
    structured = values.view(dtype)[:, 0]
    cloud = backends.sensor_msgs_py().module.create_cloud(header, fields, structured, _POINT_STEP)
    cloud.is_dense = True
    return cloud


def read_cloud(message: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points (M, 3) float32 and colors (M, 3) uint8 of a cloud with x, y, z and rgb."""
    structured = backends.sensor_msgs_py().module.read_points(message, list(_NAMES))
    points = np.stack([structured[axis] for axis in "xyz"], axis=1).astype(np.float32, copy=False)
    packed = np.ascontiguousarray(structured["rgb"], np.float32).view(np.uint32)
    colors = np.stack([packed >> 16, packed >> 8, packed], axis=1).astype(np.uint8)
    return points, colors
