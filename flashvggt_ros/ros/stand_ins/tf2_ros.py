"""Stand-in for tf2_ros: the transform buffer, its listener and the broadcasters.

What tf2's BufferCore does is in sensors/transform_buffer.py, which replays use too.
"""

from __future__ import annotations

import logging
import time as wall_time
from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.transform_buffer import (
    CACHE_NS,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformBuffer,
    TransformException,
)

__all__ = [
    "Buffer",
    "ConnectivityException",
    "ExtrapolationException",
    "InvalidArgumentException",
    "LookupException",
    "StaticTransformBroadcaster",
    "TransformBroadcaster",
    "TransformException",
    "TransformListener",
]

logger = logging.getLogger(__name__)

_POLL_S = 0.02


class Buffer:
    """Keeps ``cache_time`` of transforms (10 s by default) and answers lookups. Thread-safe.

    A second transform with the same stamp takes the place of the first. With a node, everything but
    static transforms is forgotten when the node's clock jumps back.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._kept = TransformBuffer(CACHE_NS if cache_time is None else cache_time.nanoseconds)
        clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jump_handle = clock.create_jump_callback(threshold, post_callback=self._on_jump)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Keep a transform for its stamp; bad ones are dropped, the first of a kind logged."""
        self._kept.add(transform, is_static=False, authority=authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Keep a transform for all times; bad ones are dropped, the first of a kind logged."""
        self._kept.add(transform, is_static=True, authority=authority)

    def all_frames_as_yaml(self) -> str:
        """Return what is known as YAML: of each child frame its newest ``parent``."""
        return "".join(
            f"{name}:\n  parent: '{parent}'\n" for name, parent in self._kept.parents().items()
        )

    def clear(self) -> None:
        """Forget all transforms but the static ones."""
        self._kept.clear()

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration = Duration(),  # noqa: B008 - a constant, and tf2's signature
    ) -> bool:
        """Say whether a lookup would succeed, waiting up to ``timeout`` (of the wall clock)."""
        try:
            self.lookup_transform(target_frame, source_frame, time, timeout)
        except TransformException:
            return False
        return True

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration = Duration(),  # noqa: B008 - a constant, and tf2's signature
    ) -> TransformStamped:
        """Return T_target_source at ``time``, waiting up to ``timeout`` (of the wall clock).

        Raises InvalidArgumentException, LookupException, ConnectivityException or
        ExtrapolationException.
        """
        deadline = wall_time.monotonic() + timeout.nanoseconds / 1e9
        while True:
            try:
                return _stamped(
                    target_frame, source_frame,
                    *self._kept.lookup(target_frame, source_frame, time.nanoseconds),
                )
            except TransformException:
                if wall_time.monotonic() >= deadline:
                    raise
            wall_time.sleep(_POLL_S)

    def _on_jump(self, jump: TimeJump) -> None:
        logger.warning("the clock jumped back by %s: clearing the tf buffer", jump.delta)
        self.clear()


class TransformListener:
    """Feeds a buffer from /tf and /tf_static; the node's executor does the work."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self.buffer = buffer
        self.node = node
        group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(
            TFMessage, "/tf", self.callback, QoSProfile(depth=100), callback_group=group
        )
        static_qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_static_sub = node.create_subscription(
            TFMessage, "/tf_static", self.static_callback, static_qos, callback_group=group
        )

    def unregister(self) -> None:
        """Stop listening."""
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data: TFMessage) -> None:
        """Take transforms that change."""
        for transform in data.transforms:
            self.buffer.set_transform(transform, "default_authority")

    def static_callback(self, data: TFMessage) -> None:
        """Take transforms that stay."""
        for transform in data.transforms:
            self.buffer.set_transform_static(transform, "default_authority")


class TransformBroadcaster:
    """Sends transforms on /tf."""

    def __init__(self, node: Node) -> None:
        self.pub_tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Send one transform, or several in one message."""
        self.pub_tf.publish(TFMessage(transforms=_as_list(transform)))


class StaticTransformBroadcaster:
    """Sends transforms on /tf_static; everything sent so far reaches those who join later."""

    def __init__(self, node: Node) -> None:
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self._sent: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Send one transform or several, with all that were sent before."""
        self._sent.update({entry.child_frame_id: entry for entry in _as_list(transform)})
        self.pub_tf.publish(TFMessage(transforms=list(self._sent.values())))


def _as_list(transform: TransformStamped | Iterable[TransformStamped]) -> list[TransformStamped]:
    return [transform] if isinstance(transform, TransformStamped) else list(transform)


def _stamped(
    target: str, source: str, T_target_source: NDArray[np.float64], stamp_ns: int
) -> TransformStamped:
    message = TransformStamped(child_frame_id=source)
    message.header.frame_id = target
    message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    x, y, z = T_target_source[:3, 3].tolist()
    message.transform.translation.x = x
    message.transform.translation.y = y
    message.transform.translation.z = z
    quaternion = se3.quaternion_from_matrix(T_target_source[:3, :3]).tolist()
    for axis, value in zip("xyzw", quaternion, strict=True):
        setattr(message.transform.rotation, axis, value)
    return message
