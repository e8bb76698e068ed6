"""Poses as the node publishes them: odometry and TF for each keyframe, and TF in between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node

from flashvggt_ros.config import Config
from flashvggt_ros.frame import FrameStamp, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.ros.correction_limiter import CorrectionLimiter
from flashvggt_ros.ros.messages import odometry_message
from flashvggt_ros.ros.pose_placer import Edge, EdgeRepeater, Placement, PosePlacer
from flashvggt_ros.ros.tf_watch import TfWatch
from flashvggt_ros.ros.transforms import PatientTransforms

logger = logging.getLogger(__name__)

ODOMETRY_DEPTH = 100  # messages kept for a slow reliable reader: a chunk sends its poses at once


class PosePublisher:
    """Places the keyframes of a chunk and sends their poses, where they glide after corrections.

    ``missing`` says which transform keeps poses from TF, empty where none does. place() and send()
    are called from the worker's thread, repeat() from the executor's.
    """

    def __init__(
        self, node: Node, config: Callable[[], Config], transforms: PatientTransforms
    ) -> None:
        self.missing = ""
        frames = config().tf
        self._config = config
        self._transforms = transforms
        self.placer = PosePlacer(frames, transforms.lookup, self._root)
        self._repeater = EdgeRepeater(frames.odom_frame)
        self._limiter = CorrectionLimiter()
        self.watch = TfWatch(node.get_clock())
        self._is_held = False
        self._repeated: FrameStamp | None = None  # the keyframe whose pose is repeated
        self._lock = threading.Lock()  # what is repeated and its correction belong together
        self._publisher = node.create_publisher(Odometry, "~/odometry", ODOMETRY_DEPTH)
        self._roots: dict[str, str] = {}
        self._last: tuple[FrameStamp, NDArray[np.float64]] | None = None
        self._is_metric = False
        self._T_map_robot = np.eye(4)

    @property
    def T_shown_map(self) -> NDArray[np.float64]:
        """Where poses on TF lie (4, 4) for those of the map; the identity once they have met."""
        return self._limiter.T_shown_map

    def place(self, update: MapUpdate, current_map: Map) -> list[Placement]:
        """Return where the new keyframes lie; waits for transforms that are on their way."""
        self._roots.clear()
        placements = [
            self.placer.place(frame, pose)
            for frame, pose in zip(update.new, update.T_map_camera, strict=True)
        ]
        self._say_missing(placements)
        return placements

    def send(
        self, update: MapUpdate, placements: list[Placement], current_map: Map,
        newest_image_ns: int,
    ) -> None:
        """Publish odometry and TF of keyframes that were placed.

        None of those stamped after ``newest_image_ns``: listeners would refuse all that follow.
        """
        placed_frames = [
            (frame, placed) for frame, placed in zip(update.new, placements, strict=True)
            if frame.stamp_ns <= newest_image_ns
        ]
        with self._lock:
            if self._repeater.stamp_ns > newest_image_ns:
                self._forget_pose()
            self._follow(current_map)
            if update.new:
                newest = max(range(len(update.new)), key=lambda n: update.new[n].stamp_ns)
                self._last = update.new[newest], update.T_map_camera[newest].copy()
            edges = [
                edge
                for frame, placed in placed_frames
                for edge in self._send_odometry(frame, placed)
            ]
            self._broadcast(edges)
            for frame, placed in placed_frames:
                if placed.edges:
                    self.watch.placed(frame.stamp_ns)

    def follow(self, current_map: Map) -> None:
        """Let what is repeated go where the map is now, which has moved without a new keyframe."""
        with self._lock:
            self._follow(current_map)

    def repeat(self, newest_image_ns: int, stands_until_ns: Mapping[FrameStamp, int]) -> None:
        """Send the newest transform again; see EdgeRepeater and, by keyframe, Standstill."""
        with self._lock:
            until_ns = stands_until_ns.get(self._repeated, 0) if self._repeated else 0
            edge = self._repeater.edge(newest_image_ns, until_ns)
            if edge is not None:
                rate = self._config().tf.max_correction_rate
                moved = self._limiter.correction(self._T_map_robot, edge.stamp_ns, rate)
                self._broadcast([edge.moved(moved)])

    def suspend(self) -> None:
        """Send no transform until there is a new pose; from any thread."""
        with self._lock:
            self._forget_pose()

    def hold(self) -> None:
        """Send no transform until clear(): the stamps of all poses so far mean nothing any more."""
        with self._lock:
            self._is_held = True

    def clear(self) -> None:
        """Start anew after a reset: no transform until a new pose, which may lie anywhere."""
        with self._lock:
            self._is_held = False
            self._forget_pose()
            self._limiter = CorrectionLimiter()
            self._last = None
            self._is_metric = False
        self.missing = ""

    def _forget_pose(self) -> None:
        self._repeater.update(None)
        self._repeated = None
        self.watch.clear()

    def _send_odometry(self, frame: FrameStamp, placed: Placement) -> list[Edge]:
        """Publish one pose where it is shown; return its edges there."""
        stamp_ns = frame.stamp_ns
        tf = self._config().tf
        T_shown_map = self._limiter.correction(placed.T_map_child, stamp_ns, tf.max_correction_rate)
        T_shown_child = T_shown_map @ placed.T_map_child
        self._publisher.publish(
            odometry_message(T_shown_child, stamp_ns, tf.map_frame, placed.child)
        )
        for edge in placed.edges:
            if edge.stamp_ns >= self._repeater.stamp_ns:
                self._repeater.update(edge)
                self._repeated = frame
                self._T_map_robot = placed.T_map_child
        return [edge.moved(T_shown_map) for edge in placed.edges]

    def _follow(self, current_map: Map) -> None:
        """Take up that the map has moved the pose sent last; what is shown glides there.

        Not so when the map gets its first measured scale: until then its unit was no meter.
        """
        becomes_metric = not self._is_metric and current_map.layout.scale_estimate is not None
        self._is_metric = current_map.layout.scale_estimate is not None
        if self._last is None:
            return
        frame, T_before = self._last
        T_after = _pose_of(frame, current_map)
        if T_after is None:
            self._limiter = CorrectionLimiter()
            return
        self._last = frame, T_after
        T_after_before = T_after @ se3.inverse(T_before)
        self._repeater.move(T_after_before)
        self._T_map_robot = T_after_before @ self._T_map_robot
        if becomes_metric:
            self._limiter = CorrectionLimiter()
        else:
            self._limiter.absorb(T_before, T_after)

    def _broadcast(self, edges: list[Edge]) -> None:
        tf = self._config().tf
        if not tf.publish:
            self.watch.clear()
        elif edges and not self._is_held:
            self.watch.sent(
                (edge.stamp_ns for edge in edges), edges[-1].child == tf.odom_frame
            )
            self._transforms.broadcast(
                [(edge.parent, edge.child, edge.T_parent_child, edge.stamp_ns) for edge in edges]
            )

    def _root(self, frame: str) -> str:
        """Return what carries ``frame`` on TF, asked once for each chunk."""
        if frame not in self._roots:
            self._roots[frame] = self._transforms.root(frame, self._config().tf.map_frame)
        return self._roots[frame]

    def _say_missing(self, placements: list[Placement]) -> None:
        missing = next((placed.missing for placed in placements if placed.missing), "")
        if missing and not self.missing:
            logger.warning("%s; nothing is invented in its place", missing)
        elif self.missing and not missing:
            logger.info("the transforms that were missing are on TF now")
        self.missing = missing


def _pose_of(frame: FrameStamp, current_map: Map) -> NDArray[np.float64] | None:
    """T_map_camera (4, 4) of a recent keyframe as the map has it now."""
    for submap in reversed(current_map.submaps):
        own = submap.stamps[submap.shared :]
        if frame in own:
            pose: NDArray[np.float64] = submap.T_map_camera[submap.shared + own.index(frame)]
            return pose
    return None
