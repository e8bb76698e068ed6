"""The occupancy grid and the obstacles as messages, and as the node publishes them."""

import time
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from ros.node_bench import LATCHED, depth_message
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import Trigger

from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.ros.backends import sensor_msgs_py
from flashvggt_ros.ros.clouds import points_message
from flashvggt_ros.ros.grids import grid_message, unknown_grid
from flashvggt_ros.ros.messages import stamp_ns
from flashvggt_ros.ros.rate_limit import RateLimit
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(16))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
SENSOR_DATA = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class MetricBench:
    """A bench whose map is metric by depth images; ``grids`` and ``obstacles`` are heard."""

    def __init__(self, bench: Any, **parameters: Any) -> None:
        values = {"publish__grid_period": 0.1, **parameters}
        self.it = bench(robot__depth_topics=["/depth"], scale__source="depth", **values)
        self.depths = self.it.helper.create_publisher(Image, "/depth", SENSOR_DATA)
        self.images = self.it.publisher()
        self.it.spin_until(self.depths.get_subscription_count)
        self.grids = self.late_joiner()
        self.obstacles: list[PointCloud2] = []
        self.it.helper.create_subscription(
            PointCloud2, "/mapping/obstacles", self.obstacles.append, SENSOR_DATA
        )
        self.it.spin(0.3)

    def late_joiner(self) -> list[OccupancyGrid]:
        heard: list[OccupancyGrid] = []
        self.it.helper.create_subscription(OccupancyGrid, "/map", heard.append, LATCHED)
        return heard

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest grid."""
        return stamp_ns(self.grids[-1].header.stamp) if self.grids else 0

    def drive(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.depths.publish(depth_message(WORLD, number))
            self.it.play(self.images, [WORLD.frames[number]], period=0.02)
        self.it.settle(last)


def test_cells_lie_row_by_row_from_the_lowest_corner() -> None:
    cells = np.array([[0, -1, 100], [50, 0, -1]], np.int8)
    message = grid_message(Grid(0.05, np.array([-1.5, 2.0]), cells), "map", 7_000_000_005)
    assert (message.info.width, message.info.height) == (3, 2)
    assert list(message.data) == [0, -1, 100, 50, 0, -1]
    assert message.info.resolution == pytest.approx(0.05)
    origin = message.info.origin
    assert (origin.position.x, origin.position.y, origin.position.z) == (-1.5, 2.0, 0.0)
    assert (origin.orientation.x, origin.orientation.w) == (0.0, 1.0)
    assert message.header.frame_id == "map"
    assert stamp_ns(message.header.stamp) == stamp_ns(message.info.map_load_time) == 7_000_000_005


def test_points_without_colors_are_read_back() -> None:
    points = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    message = points_message(points, "map", 1_000)
    read = sensor_msgs_py().module.read_points(message, ["x", "y", "z"])
    np.testing.assert_array_equal(np.stack([read[axis] for axis in "xyz"], axis=1), points)
    assert points_message(points[:0], "map", 1_000).width == 0


def test_a_version_is_sent_once_and_no_two_within_a_period() -> None:
    limit = RateLimit()
    assert limit.wait(0, 60.0) == 0.0
    limit.sent(0, time.monotonic())
    assert limit.wait(0, 0.0) is None
    wait = limit.wait(1, 60.0)
    assert wait is not None and 59.0 < wait <= 60.0
    assert limit.wait(1, 0.0) == 0.0
    limit.reset()
    assert limit.wait(0, 60.0) > 59.0
    assert limit.wait(0, 0.0) == 0.0


def test_what_takes_long_to_draw_waits_ten_times_as_long_while_images_wait() -> None:
    limit = RateLimit()
    limit.sent(0, time.monotonic() - 3.0)
    assert limit.wait(1, 2.0, is_busy=False) <= 2.0
    assert 29.0 < limit.wait(1, 2.0, is_busy=True) <= 30.1
    limit.sent(1, time.monotonic() - 0.01)
    assert 1.9 < limit.wait(2, 2.0, is_busy=True) <= 2.0


def test_a_version_with_nothing_to_send_delays_none_after_it() -> None:
    limit = RateLimit()
    limit.skip(0)
    assert limit.wait(0, 60.0) is None
    assert limit.wait(1, 60.0) == 0.0


def test_a_metric_map_has_a_grid_for_late_joiners_and_obstacles_for_costmaps(bench: Any) -> None:
    metric = MetricBench(bench)
    metric.drive(0, 16)
    metric.it.spin_until(lambda: metric.newest_ns == STAMPS[-1] and metric.obstacles)
    grid = metric.grids[-1]
    assert grid.header.frame_id == "map"
    cells = np.array(grid.data)
    assert len(cells) == grid.info.width * grid.info.height
    assert grid.info.resolution == pytest.approx(0.05)
    assert all((cells == value).sum() > 50 for value in (-1, 0, 100))
    late = metric.late_joiner()
    metric.it.spin_until(lambda: late)
    assert late[0] == grid
    obstacles = metric.obstacles[-1]
    assert obstacles.header.frame_id == "map"
    assert obstacles.width > 50
    read = sensor_msgs_py().module.read_points(obstacles, ["x", "y", "z"])
    column = ((read["x"] - grid.info.origin.position.x) / 0.05).astype(int)
    row = ((read["y"] - grid.info.origin.position.y) / 0.05).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < grid.info.width) & (row < grid.info.height)
    at = cells.reshape(grid.info.height, grid.info.width)[row[inside], column[inside]]
    assert (at == 100).mean() > 0.5  # they are where the grid is occupied


def test_after_a_reset_a_late_joiner_is_not_given_the_old_grid(bench: Any) -> None:
    metric = MetricBench(bench)
    metric.drive(0, 8)
    metric.it.spin_until(lambda: metric.grids)
    metric.it.call(Trigger, "/mapping/reset", Trigger.Request())
    metric.it.spin(0.3)
    late = metric.late_joiner()
    metric.it.spin_until(lambda: late)
    assert [list(grid.data) for grid in (late[-1], metric.grids[-1])] == [[-1], [-1]]
    assert list(grid_message(unknown_grid(0.05), "map", 0).data) == [-1]


def test_without_a_measured_scale_there_is_no_grid_and_the_diagnostics_say_why(bench: Any) -> None:
    it = bench(publish__grid_period=0.1)
    heard: list[OccupancyGrid] = []
    it.helper.create_subscription(OccupancyGrid, "/map", heard.append, LATCHED)
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin(0.5)
    assert heard == []
    mapping = next(part for part in it.listener.heard["/diagnostics"][-1].status
                   if part.name.endswith("mapping"))
    said = {value.key: value.value for value in mapping.values}["occupancy grid"]
    assert "scale is not measured" in said


def test_a_grid_without_scale_is_published_if_asked_for(bench: Any) -> None:
    it = bench(publish__grid_period=0.1, publish_unscaled=True)
    heard: list[OccupancyGrid] = []
    it.helper.create_subscription(OccupancyGrid, "/map", heard.append, LATCHED)
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin_until(lambda: heard)


def test_the_grid_comes_only_when_the_map_changed(bench: Any) -> None:
    metric = MetricBench(bench)
    metric.drive(0, 16)
    metric.it.spin_until(lambda: metric.newest_ns == STAMPS[-1])
    sent = len(metric.grids)
    assert 1 <= sent <= 4  # one for each chunk at most
    metric.it.spin(1.0)
    assert len(metric.grids) == sent


def test_no_two_grids_come_within_the_period(bench: Any) -> None:
    metric = MetricBench(bench, publish__grid_period=600.0)
    metric.drive(0, 16)
    metric.it.spin_until(lambda: metric.grids)
    metric.it.spin(0.5)
    assert len(metric.grids) == 1


def test_the_grid_s_topic_lies_in_the_node_s_namespace(bench: Any) -> None:
    it = bench()
    assert it.node.count_publishers("/map") == 1
    assert it.node.count_publishers("/mapping/obstacles") == 1
