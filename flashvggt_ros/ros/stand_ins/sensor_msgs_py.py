"""Stand-in for sensor_msgs_py.point_cloud2: PointCloud2 to structured arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

_FORMATS = {
    PointField.INT8: "i1",
    PointField.UINT8: "u1",
    PointField.INT16: "i2",
    PointField.UINT16: "u2",
    PointField.INT32: "i4",
    PointField.UINT32: "u4",
    PointField.FLOAT32: "f4",
    PointField.FLOAT64: "f8",
}


def dtype_from_fields(
    fields: Sequence[PointField], point_step: int | None = None, is_bigendian: bool = False
) -> np.dtype[np.void]:
    """Return the structured type of one point; every field has a name and count 1."""
    order = ">" if is_bigendian else "<"
    layout: dict[str, Any] = {
        "names": [field.name for field in fields],
        "formats": [order + _FORMATS[field.datatype] for field in fields],
        "offsets": [field.offset for field in fields],
    }
    if point_step is not None:
        layout["itemsize"] = point_step
    return np.dtype(layout)  # type: ignore[call-overload, no-any-return]


def read_points(cloud: PointCloud2, field_names: Sequence[str] | None = None) -> NDArray[np.void]:
    """Return the structured points (height * width,), all fields or those named."""
    points = np.ndarray(
        (cloud.height * cloud.width,),
        dtype_from_fields(cloud.fields, cloud.point_step, bool(cloud.is_bigendian)),
        cloud.data,
    )
    if field_names is None:
        return points
    missing = sorted(set(field_names) - set(points.dtype.names or ()))
    if missing:
        raise AssertionError(f"the cloud has no field {', '.join(missing)}")
    return points[list(field_names)]
