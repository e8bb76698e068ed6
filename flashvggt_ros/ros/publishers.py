"""What the node publishes of the map: odometry, path, clouds and TF."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from flashvggt_ros.config import Config
from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.ros.clouds import cloud_message
from flashvggt_ros.ros.messages import path_message
from flashvggt_ros.ros.path_poses import PathPoses
from flashvggt_ros.ros.pose_publisher import PosePublisher
from flashvggt_ros.ros.transforms import PatientTransforms

# Maps are reliable and kept for late joiners (REP-2003).
LATCHED = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)


class MapPublishers:
    """Publishes poses per keyframe, clouds per chunk, and the whole map at a bounded rate.

    Called from the worker's thread, but for repeat_transform() and close(), which the executor's
    thread calls. ``config`` is asked anew each time, so that parameters may change.
    """

    def __init__(
        self, node: Node, config: Callable[[], Config], transforms: PatientTransforms
    ) -> None:
        self._config = config
        self._transforms = transforms
        self.poses = PosePublisher(node, config, transforms)
        self._path = node.create_publisher(Path, "~/path", LATCHED)
        self._cloud = node.create_publisher(PointCloud2, "~/cloud", 5)
        self._map_cloud = node.create_publisher(PointCloud2, "~/map_cloud", LATCHED)
        self._path_poses = PathPoses(config().tf.map_frame)
        self._open = threading.Lock()  # held while publishing, so that close() does not cut in
        self._is_closed = False
        self._published_version = -1
        self._published_at = -np.inf
        self._published_stamp_ns = 0
        self.map_points = 0

    def publish_update(self, update: MapUpdate, current_map: Map) -> None:
        """Send what a chunk placed: odometry and TF for each frame, and the chunk's cloud."""
        placements = self.poses.place(update, current_map)
        self._transforms.renew()
        with self._open:
            if self._is_closed:
                return
            self.poses.send(update, placements, current_map)
            if update.new and self._cloud.get_subscription_count():
                stamp_ns = max(frame.stamp_ns for frame in update.new)
                map_frame = self._config().tf.map_frame
                self._cloud.publish(
                    cloud_message(update.points_map, update.colors, map_frame, stamp_ns)
                )

    def publish_due(self, current_map: Map) -> float | None:
        """Send path and map cloud when they changed and their period is over.

        Returns the seconds until they may be sent again, None when nothing changed.
        """
        if current_map.version == self._published_version or not current_map.frames:
            return None
        wait = self._published_at + self._config().publish.map_cloud_period - time.monotonic()
        if wait > 0:
            return wait
        trajectory = current_map.trajectory()
        points_map, colors = current_map.cloud()
        stamp_ns = max(frame.stamp_ns for frame in trajectory.frames)
        map_frame = self._config().tf.map_frame
        poses = self._path_poses.update(trajectory.frames, trajectory.T_map_camera)
        cloud = cloud_message(points_map, colors, map_frame, stamp_ns)
        self._send_map(path_message(poses, map_frame), cloud)
        self.map_points = len(points_map)
        self._published_stamp_ns = stamp_ns
        self._published_version = current_map.version
        self._published_at = time.monotonic()
        return None

    def clear(self) -> None:
        """Start anew after a reset: empty path and map, and no transform until a new pose."""
        map_frame = self._config().tf.map_frame
        self.poses.clear()
        self._path_poses = PathPoses(map_frame)
        if self.map_points:  # late joiners would still be given the old map
            nothing = np.empty((0, 3))
            self._send_map(
                path_message([], map_frame),
                cloud_message(
                    nothing.astype(np.float32),
                    nothing.astype(np.uint8),
                    map_frame,
                    self._published_stamp_ns,
                ),
            )
        self._published_version = -1
        self.map_points = 0

    def repeat_transform(self, newest_image_ns: int) -> None:
        """Send the newest transform again; ``newest_image_ns`` is the newest image's stamp."""
        self.poses.repeat(newest_image_ns)

    def close(self) -> None:
        """Publish nothing from now on; returns once nothing is being published."""
        with self._open:
            self._is_closed = True
        self._transforms.close()

    def _send_map(self, path: Path, cloud: PointCloud2) -> None:
        with self._open:
            if not self._is_closed:
                self._path.publish(path)
                self._map_cloud.publish(cloud)
