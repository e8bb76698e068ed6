import struct

import numpy as np
import pytest
from implementations import implementations

from flashvggt_ros.ros.clouds import cloud_message, read_cloud
from flashvggt_ros.ros.messages import stamp_ns

POINTS = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
COLORS = np.random.default_rng(1).integers(0, 256, (1000, 3), np.uint8)


def test_a_point_has_the_bytes_that_rviz_reads():
    points = np.array([[1.0, -2.0, 3.5]], np.float32)
    colors = np.array([[0x11, 0x22, 0xF3]], np.uint8)
    cloud = cloud_message(points, colors, "map", 7)
    assert bytes(cloud.data) == struct.pack("<fffI", 1.0, -2.0, 3.5, 0x001122F3)
    fields = [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields]
    assert fields == [("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("rgb", 12, 7, 1)]


def test_a_cloud_is_complete():
    cloud = cloud_message(POINTS, COLORS, "map", 12_000_000_034)
    assert cloud.header.frame_id == "map"
    assert stamp_ns(cloud.header.stamp) == 12_000_000_034
    assert (cloud.height, cloud.width) == (1, 1000)
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (16, 16000, 16000)
    assert cloud.is_dense
    assert not cloud.is_bigendian


def test_a_cloud_comes_back_as_it_was():
    points, colors = read_cloud(cloud_message(POINTS, COLORS, "map", 1))
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(colors, COLORS)
    assert (points.dtype, colors.dtype) == (np.float32, np.uint8)


def test_a_view_with_strides_gives_the_same_cloud():
    cloud = cloud_message(POINTS[::2], COLORS[::2], "map", 1)
    copied = cloud_message(POINTS[::2].copy(), COLORS[::2].copy(), "map", 1)
    assert cloud == copied


def test_an_empty_cloud_is_a_message_without_points():
    cloud = cloud_message(POINTS[:0], COLORS[:0], "map", 1)
    assert (cloud.height, cloud.width, len(cloud.data)) == (1, 0, 0)
    points, colors = read_cloud(cloud)
    assert points.shape == colors.shape == (0, 3)


@pytest.mark.parametrize("module", implementations("sensor_msgs_py", "sensor_msgs_py.point_cloud2"))
def test_every_reader_finds_our_points_and_colors(module):
    cloud = cloud_message(POINTS, COLORS, "map", 1)
    read = module.read_points(cloud, ["x", "y", "z", "rgb"])
    for index, axis in enumerate("xyz"):
        np.testing.assert_array_equal(read[axis], POINTS[:, index])
    packed = COLORS.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    np.testing.assert_array_equal(np.ascontiguousarray(read["rgb"]).view(np.uint32), packed)


@pytest.mark.parametrize(
    ("points", "colors"),
    [
        (POINTS, COLORS[:-1]),
        (POINTS[:, :2], COLORS[:, :2]),
        (POINTS.astype(np.float64), COLORS),
        (POINTS, COLORS.astype(np.float32)),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(points, colors):
    with pytest.raises(ValueError, match="points are"):
        cloud_message(points, colors, "map", 1)
