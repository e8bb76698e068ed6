"""What the node publishes of the map: odometry, path, clouds, grid and TF."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import OccupancyGrid, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from flashvggt_ros.config import Config
from flashvggt_ros.frame import FrameStamp, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_graph import loop_pairs, submap_numbers
from flashvggt_ros.msg import MapGraph
from flashvggt_ros.ros.clouds import cloud_message, points_message
from flashvggt_ros.ros.grids import grid_message, unknown_grid
from flashvggt_ros.ros.messages import path_message, stamp_ns
from flashvggt_ros.ros.path_poses import PathPoses
from flashvggt_ros.ros.pose_publisher import PosePublisher
from flashvggt_ros.ros.rate_limit import RateLimit
from flashvggt_ros.ros.transforms import PatientTransforms

# Maps are reliable and kept for late joiners (REP-2003).
LATCHED = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)


class MapPublishers:
    """Publishes poses per keyframe, clouds per chunk, and the whole map at a bounded rate.

    Nothing goes out before open(), nor between suspend() and open(). Called from the worker's
    thread, but for repeat_transform(), suspend(), close() and withdraw(), which the executor's
    thread calls. ``config`` is asked anew each time, so that parameters may change, and so is
    ``newest_image_ns``, the stamp of the newest image: what is stamped later comes of a camera
    whose clock alone is wrong, and nothing is dated to it. ``no_grid`` says why there is no
    occupancy grid, empty where there is one.
    """

    def __init__(
        self, node: Node, config: Callable[[], Config], transforms: PatientTransforms,
        newest_image_ns: Callable[[], int],
    ) -> None:
        self._config = config
        self._newest_image_ns = newest_image_ns
        self._transforms = transforms
        self._map_frame = config().tf.map_frame
        self.poses = PosePublisher(node, config, transforms)
        self._path = node.create_publisher(Path, "~/path", LATCHED)
        self._graph = node.create_publisher(MapGraph, "~/graph", LATCHED)
        self._cloud = node.create_publisher(PointCloud2, "~/cloud", 5)
        self._obstacles = node.create_publisher(PointCloud2, "~/obstacles", 5)
        self._map_cloud = node.create_publisher(PointCloud2, "~/map_cloud", LATCHED)
        self._grid = node.create_publisher(OccupancyGrid, "map", LATCHED)
        self._path_poses = PathPoses(self._map_frame, self._config().publish.max_path)
        self._lock = threading.Lock()  # held while publishing, so that suspend() does not cut in
        self._is_open = self._is_closed = False
        self._map_limit, self._grid_limit = RateLimit(), RateLimit()
        self._newest_ns = 0  # newest keyframe of the map
        self._has_sent_map = self._has_sent_grid = False
        self.map_points = 0
        self.no_grid = "nothing is mapped yet"

    def publish_update(self, update: MapUpdate, current_map: Map) -> None:
        """Send what a chunk placed: odometry and TF for each frame, its cloud, and obstacles."""
        placements = self.poses.place(update, current_map)
        self._transforms.renew()
        newest_image_ns = self._newest_image_ns()
        stamp_ns = min(newest_image_ns, max((frame.stamp_ns for frame in update.new), default=0))
        self._newest_ns = max(min(self._newest_ns, newest_image_ns), stamp_ns)
        with self._lock:
            if not self._is_open:
                return
            self.poses.send(update, placements, current_map, newest_image_ns)
            if update.new and self._cloud.get_subscription_count():
                self._cloud.publish(
                    cloud_message(update.points_map, update.colors, self._map_frame, stamp_ns)
                )
            if self._obstacles.get_subscription_count():
                self._send_obstacles(current_map.obstacles())

    def publish_moved(self, current_map: Map) -> None:
        """Let TF glide to where the newest pose is in a map that has moved without a new one."""
        with self._lock:
            if self._is_open:
                self.poses.follow(current_map)

    def lose_pose(self) -> None:
        """Send no transform until there is a new pose: where the robot is now is not known."""
        self.poses.suspend()

    def publish_due(self, current_map: Map, *, is_busy: bool) -> float | None:
        """Send path, map cloud and grid when they changed and their period is over.

        While ``is_busy``, each only as often as a tenth of the time allows. Returns the seconds
        until more may be sent, None when nothing changed.
        """
        if not (current_map.frames and self._is_open):
            return None
        periods = self._config().publish
        waits = [
            self._publish_map(current_map, periods.map_cloud_period, is_busy),
            self._publish_grid(current_map, periods.grid_period, is_busy),
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    def clear(self) -> None:
        """Start anew after a reset: empty outputs, and no transform until a new pose."""
        self.poses.clear()
        self._path_poses = PathPoses(self._map_frame, self._config().publish.max_path)
        with self._lock:
            if not self._is_closed:
                self._send_nothing()
        self._map_limit.reset()
        self._grid_limit.reset()
        self._newest_ns = 0
        self._has_sent_map = self._has_sent_grid = False
        self.map_points = 0
        self.no_grid = "nothing is mapped yet"

    def repeat_transform(self, stands_until_ns: Mapping[FrameStamp, int]) -> None:
        """Send the newest transform again."""
        if self._is_open:
            self.poses.repeat(self._newest_image_ns(), stands_until_ns)

    def open(self) -> None:
        """Publish from now on; the whole map is due anew, a transform comes with the next pose."""
        self._map_limit.reset()
        self._grid_limit.reset()
        with self._lock:
            self._is_open = not self._is_closed

    def suspend(self) -> None:
        """Publish nothing until open(); returns once nothing is being published."""
        with self._lock:
            self._is_open = False
        self.poses.suspend()

    def close(self) -> None:
        """Publish nothing from now on; returns once nothing is being published."""
        with self._lock:
            self._is_open, self._is_closed = False, True

    def withdraw(self) -> None:
        """Put empty maps in the place of those that were sent; after close(), by its thread."""
        with self._lock:
            self._send_nothing()

    def _publish_map(self, current_map: Map, period: float, is_busy: bool) -> float | None:
        wait = self._map_limit.wait(current_map.version, period, is_busy=is_busy)
        if wait is None or wait > 0:
            return wait
        began = time.monotonic()
        points_map, colors = current_map.cloud()
        path = path_message(self._poses_of(current_map), self._map_frame)
        graph = _graph_of(path, current_map)
        cloud = cloud_message(points_map, colors, self._map_frame, self._newest_ns)
        with self._lock:
            if self._is_open:
                self._graph.publish(graph)
                self._path.publish(path)
                self._map_cloud.publish(cloud)
                self._has_sent_map = True
        self.map_points = len(points_map)
        self._map_limit.sent(current_map.version, began)
        return None

    def _poses_of(self, current_map: Map) -> list[PoseStamped]:
        """Poses of the path: none until it is known, or said, where in a loaded map they are."""
        if not current_map.is_placed:
            return []
        most = self._config().publish.max_path
        if self._path_poses.most != most:
            self._path_poses = PathPoses(self._map_frame, most)
        trajectory = current_map.trajectory()
        return self._path_poses.update(trajectory.frames, trajectory.T_map_camera)

    def _publish_grid(self, current_map: Map, period: float, is_busy: bool) -> float | None:
        wait = self._grid_limit.wait(current_map.version, period, is_busy=is_busy)
        if wait is None or wait > 0:
            return wait
        began = time.monotonic()
        grid = current_map.grid()
        self.no_grid = current_map.why_no_grid()
        if grid is None or not grid.cells.size:
            self._grid_limit.skip(current_map.version)
            return None
        with self._lock:
            if self._is_open:
                self._grid.publish(grid_message(grid, self._map_frame, self._newest_ns))
                self._has_sent_grid = True
        self._grid_limit.sent(current_map.version, began)
        return None

    def _send_obstacles(self, points_map: NDArray[np.float32] | None) -> None:
        """Send obstacles where they are from the robot as TF shows it, also while that glides."""
        if points_map is not None:
            points = se3.transform_points(self.poses.T_shown_map, points_map)
            self._obstacles.publish(points_message(points, self._map_frame, self._newest_ns))

    def _send_nothing(self) -> None:
        """Put empty outputs in the place of those that late joiners would still be given."""
        if self._has_sent_map:
            none, no_colors = np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8)
            nothing = path_message([], self._map_frame)
            self._graph.publish(MapGraph(header=nothing.header))
            self._path.publish(nothing)
            self._map_cloud.publish(
                cloud_message(none, no_colors, self._map_frame, self._newest_ns)
            )
        if self._has_sent_grid:
            grid = unknown_grid(self._config().grid.resolution)
            self._grid.publish(grid_message(grid, self._map_frame, self._newest_ns))


def _graph_of(path: Path, current_map: Map) -> MapGraph:
    """Say which submaps the poses of a path belong to, and which of these are joined."""
    stamps_ns = (stamp_ns(pose.header.stamp) for pose in path.poses)
    return MapGraph(
        header=path.header,
        submaps=submap_numbers(stamps_ns, current_map.submaps).tolist(),
        loops=loop_pairs(current_map.layout.graph).ravel().tolist(),
    )
