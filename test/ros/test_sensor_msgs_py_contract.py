"""What is used of sensor_msgs_py, for every implementation that is present."""

import numpy as np
import pytest
from implementations import implementations
from sensor_msgs.msg import PointCloud2, PointField

FIELDS = [
    PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1),
    PointField(name="label", offset=4, datatype=PointField.UINT16, count=1),
    PointField(name="weight", offset=8, datatype=PointField.FLOAT64, count=1),
]
DTYPE = np.dtype(
    {
        "names": ["x", "label", "weight"],
        "formats": ["<f4", "<u2", "<f8"],
        "offsets": [0, 4, 8],
        "itemsize": 20,
    }
)

every_implementation = pytest.mark.parametrize(
    "module", implementations("sensor_msgs_py", "sensor_msgs_py.point_cloud2")
)


def points(count=5):
    values = np.zeros(count, DTYPE)
    values["x"] = np.arange(count) + 0.5
    values["label"] = 10 * np.arange(count)
    values["weight"] = 0.1 * np.arange(count)
    return values


def cloud_of(values, height=1):
    cloud = PointCloud2(
        height=height,
        width=len(values) // height,
        fields=FIELDS,
        point_step=DTYPE.itemsize,
        row_step=DTYPE.itemsize * (len(values) // height),
    )
    cloud.data.frombytes(values.tobytes())
    return cloud


@every_implementation
def test_points_are_read_by_field(module):
    read = module.read_points(cloud_of(points()))
    assert read.dtype.names == ("x", "label", "weight")
    for name in read.dtype.names:
        np.testing.assert_array_equal(read[name], points()[name])
        assert read[name].dtype == DTYPE[name]


@every_implementation
def test_rows_are_read_one_after_the_other(module):
    read = module.read_points(cloud_of(points(6), height=2))
    np.testing.assert_array_equal(read["label"], points(6)["label"])


@every_implementation
def test_single_fields_can_be_read(module):
    read = module.read_points(cloud_of(points()), ["weight"])
    assert read.dtype.names == ("weight",)
    np.testing.assert_array_equal(read["weight"], points()["weight"])


@every_implementation
def test_a_cloud_without_points_is_read(module):
    assert module.read_points(cloud_of(points(0)), ["x"])["x"].shape == (0,)


@every_implementation
def test_a_field_that_is_not_there_is_an_error(module):
    with pytest.raises(AssertionError):
        module.read_points(cloud_of(points()), ["y"])
