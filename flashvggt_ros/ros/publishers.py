"""What the node publishes of the map: odometry, path, clouds and TF."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from flashvggt_ros.config import Config
from flashvggt_ros.frame import FrameStamp, MapUpdate
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.ros.clouds import cloud_message
from flashvggt_ros.ros.messages import odometry_message, path_message, pose_stamped
from flashvggt_ros.ros.pose_placer import LATEST, Edge, EdgeRepeater, Placement, PosePlacer
from flashvggt_ros.ros.transforms import TransformTree, TransformUnavailable

logger = logging.getLogger(__name__)

# Maps are reliable and kept for late joiners (REP-2003).
LATCHED = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
ODOMETRY_DEPTH = 100  # messages kept for a slow reliable reader: a chunk sends its poses at once
TF_CACHE_S = 60.0  # poses come a queue and a chunk later than the transforms they need
TF_POLL_S = 0.005


class MapPublishers:
    """Publishes poses per frame, clouds per chunk, and the whole map at a bounded rate.

    Called from the worker's thread, but for repeat_transform() and close(), which the executor's
    thread calls. ``config`` is asked anew each time, so that parameters may change.
    """

    def __init__(self, node: Node, config: Callable[[], Config]) -> None:
        self._config = config
        frames = config().tf
        self._tree = TransformTree(node, cache_s=TF_CACHE_S)
        self.placer = PosePlacer(frames, self._lookup, self._root)
        self._repeater = EdgeRepeater(frames.odom_frame)
        self._odometry = node.create_publisher(Odometry, "~/odometry", ODOMETRY_DEPTH)
        self._path = node.create_publisher(Path, "~/path", LATCHED)
        self._cloud = node.create_publisher(PointCloud2, "~/cloud", 5)
        self._map_cloud = node.create_publisher(PointCloud2, "~/map_cloud", LATCHED)
        self._path_poses = _PathPoses(frames.map_frame)
        self._open = threading.Lock()  # held while publishing, so that close() does not cut in
        self._is_closed = False
        self._published_version = -1
        self._published_at = -np.inf
        self._published_stamp_ns = 0
        self._wait_until = 0.0
        self._roots: dict[str, str] = {}
        self.missing_transform = ""
        self.map_points = 0

    def publish_update(self, update: MapUpdate, current_map: Map) -> None:
        """Send what a chunk placed: odometry and TF for each frame, and the chunk's cloud."""
        self._wait_until = time.monotonic() + self._config().tf.lookup_timeout
        self._roots.clear()
        placements = [
            self.placer.place(frame, pose)
            for frame, pose in zip(update.new, update.T_map_camera, strict=True)
        ]
        self._say_missing(placements)
        with self._open:
            if self._is_closed:
                return
            map_frame = self._config().tf.map_frame
            for frame, placed in zip(update.new, placements, strict=True):
                self._odometry.publish(
                    odometry_message(placed.T_map_child, frame.stamp_ns, map_frame, placed.child)
                )
            self._send_edges([edge for placed in placements for edge in placed.edges])
            if update.new and self._cloud.get_subscription_count():
                stamp_ns = max(frame.stamp_ns for frame in update.new)
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
        self._repeater.update(None)
        self._path_poses = _PathPoses(map_frame)
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
        self.missing_transform = ""
        self.map_points = 0

    def repeat_transform(self, newest_image_ns: int) -> None:
        """Send the newest transform again; ``newest_image_ns`` is the newest image's stamp."""
        edge = self._repeater.edge(newest_image_ns)
        if edge is not None and self._config().tf.publish:
            self._broadcast([edge])

    def close(self) -> None:
        """Publish nothing from now on; returns once nothing is being published."""
        with self._open:
            self._is_closed = True
        self._tree.close()

    def _send_map(self, path: Path, cloud: PointCloud2) -> None:
        with self._open:
            if not self._is_closed:
                self._path.publish(path)
                self._map_cloud.publish(cloud)

    def _send_edges(self, edges: list[Edge]) -> None:
        if not edges:
            return
        self._repeater.update(max(edges, key=lambda edge: edge.stamp_ns))
        if self._config().tf.publish:
            self._broadcast(edges)

    def _broadcast(self, edges: list[Edge]) -> None:
        self._tree.broadcast(
            [(edge.parent, edge.child, edge.T_parent_child, edge.stamp_ns) for edge in edges]
        )

    def _lookup(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """Look a transform up, waiting for one that exists but does not reach ``stamp_ns`` yet.

        The lookups for one chunk wait for tf.lookup_timeout together.
        """
        while True:
            try:
                return self._tree.lookup(target, source, stamp_ns)
            except TransformUnavailable:
                if stamp_ns == LATEST or time.monotonic() >= self._wait_until:
                    raise
                self._tree.lookup(target, source, LATEST)  # raises where there is none at all
            time.sleep(TF_POLL_S)

    def _root(self, frame: str) -> str:
        """Return what carries ``frame`` on TF, asked once for each chunk."""
        if frame not in self._roots:
            self._roots[frame] = self._tree.root(frame, self._config().tf.map_frame)
        return self._roots[frame]

    def _say_missing(self, placements: list[Placement]) -> None:
        missing = next((placed.missing for placed in placements if placed.missing), "")
        if missing and not self.missing_transform:
            logger.warning("%s; nothing is invented in its place", missing)
        elif self.missing_transform and not missing:
            logger.info("the transforms that were missing are on TF now")
        self.missing_transform = missing


class _PathPoses:
    """The path's messages, converted anew only where a pose moved."""

    def __init__(self, map_frame: str) -> None:
        self._map_frame = map_frame
        self._T_map_camera = np.empty((0, 4, 4))
        self._messages: list[PoseStamped] = []

    def update(
        self, frames: tuple[FrameStamp, ...], T_map_camera: NDArray[np.float64]
    ) -> list[PoseStamped]:
        known = len(self._messages)
        moved = (T_map_camera[:known] != self._T_map_camera).any(axis=(1, 2))
        self._messages.extend([PoseStamped()] * (len(frames) - known))
        for index in [*np.flatnonzero(moved), *range(known, len(frames))]:
            self._messages[index] = pose_stamped(
                T_map_camera[index], frames[index].stamp_ns, self._map_frame
            )
        self._T_map_camera = T_map_camera.copy()
        return self._messages
