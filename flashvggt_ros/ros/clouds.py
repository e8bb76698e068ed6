"""Colored points as sensor_msgs/PointCloud2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from flashvggt_ros.ros import backends
from flashvggt_ros.ros.messages import time_message

# As PCL and RViz read it: rgb is 0x00RRGGBB in the bits of a float32, little-endian like all else.
_FIELDS = ("x", "y", "z", "rgb")
_POINT = np.dtype(
    {
        "names": ["xyz", "blue", "green", "red"],
        "formats": ["V12", "u1", "u1", "u1"],
        "offsets": [0, 12, 13, 14],
        "itemsize": 16,
    }
)


def cloud_message(
    points: NDArray[np.float32], colors: NDArray[np.uint8], frame_id: str, stamp_ns: int
) -> PointCloud2:
    """Return a cloud of points (M, 3) [m] in ``frame_id`` and colors (M, 3) uint8 RGB.

    Points must be finite: the message says so (is_dense). sensor_msgs_py.create_cloud would copy
    the memory once or twice more.
    """
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points are {points.shape}, colors {colors.shape}: both must be (M, 3)")
    if points.dtype != np.float32 or colors.dtype != np.uint8:
        raise ValueError(f"points are {points.dtype}, colors {colors.dtype}: not float32, uint8")
    rows = np.zeros(len(points), _POINT)
    rows["xyz"] = np.ascontiguousarray(points, "<f4").view("V12")[:, 0]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = colors[:, channel]
    cloud = PointCloud2(
        header=Header(stamp=time_message(stamp_ns), frame_id=frame_id),
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(_FIELDS)
        ],
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(points),
        is_dense=True,
    )
    cloud.data.frombytes(rows.view(np.uint8).data)  # assigning an array copies it again
    return cloud


def points_message(
    points: NDArray[np.float32], frame_id: str, stamp_ns: int
) -> PointCloud2:
    """Return a cloud of finite points (M, 3) [m] in ``frame_id`` without colors."""
    values = np.ascontiguousarray(points, "<f4")
    cloud = PointCloud2(
        header=Header(stamp=time_message(stamp_ns), frame_id=frame_id),
        height=1,
        width=len(values),
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate("xyz")
        ],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(values),
        is_dense=True,
    )
    cloud.data.frombytes(values.tobytes())
    return cloud


def read_cloud(message: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points (M, 3) float32 and colors (M, 3) uint8 of a cloud with x, y, z and rgb."""
    structured = backends.sensor_msgs_py().module.read_points(message, list(_FIELDS))
    points = np.stack([structured[axis] for axis in "xyz"], axis=1).astype(np.float32, copy=False)
    packed = np.ascontiguousarray(structured["rgb"], np.float32).view(np.uint32)
    colors = np.stack([packed >> 16, packed >> 8, packed], axis=1).astype(np.uint8)
    return points, colors
