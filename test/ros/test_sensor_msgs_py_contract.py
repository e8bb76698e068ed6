"""What is used of sensor_msgs_py, for every implementation that is present."""

import numpy as np
import pytest
from implementations import implementations
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

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


def points():
    values = np.zeros(5, DTYPE)
    values["x"] = [1, 2, 3, 4, 5]
    values["label"] = [10, 20, 30, 40, 50]
    values["weight"] = [0.1, 0.2, 0.3, 0.4, 0.5]
    return values


@every_implementation
def test_fields_give_the_type_of_a_point(module):
    assert module.dtype_from_fields(FIELDS, 20) == DTYPE


@every_implementation
def test_structured_points_come_back(module):
    cloud = module.create_cloud(Header(frame_id="map"), FIELDS, points(), 20)
    assert cloud.header.frame_id == "map"
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 5, 20, 100)
    assert cloud.fields == FIELDS
    read = module.read_points(cloud)
    assert read.dtype.names == ("x", "label", "weight")
    for name in read.dtype.names:
        np.testing.assert_array_equal(read[name], points()[name])


@every_implementation
def test_single_fields_can_be_read(module):
    cloud = module.create_cloud(Header(), FIELDS, points(), 20)
    read = module.read_points(cloud, ["weight"])
    assert read.dtype.names == ("weight",)
    np.testing.assert_array_equal(read["weight"], points()["weight"])


@every_implementation
def test_a_field_that_is_not_there_is_an_error(module):
    cloud = module.create_cloud(Header(), FIELDS, points(), 20)
    with pytest.raises(AssertionError):
        module.read_points(cloud, ["y"])


@every_implementation
def test_points_of_another_type_are_an_error(module):
    with pytest.raises(AssertionError):
        module.create_cloud(Header(), FIELDS, points(), 24)
