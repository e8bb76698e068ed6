"""Stand-in for tf2_ros: the transform buffer, its listener and the broadcasters.

Follows tf2's BufferCore: a lookup joins source and target at the first frame both descend from;
between two stamps, translation is linear and rotation spherical linear; nothing is extrapolated;
time 0 means the newest time that all moving transforms on the way have.
"""

from __future__ import annotations

import logging
import threading
import time as wall_time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

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

logger = logging.getLogger(__name__)

_POLL_S = 0.02


class TransformException(Exception):  # noqa: N818 - the names of tf2
    """Base of everything that a lookup raises."""


class LookupException(TransformException):
    """A frame does not exist."""


class ConnectivityException(TransformException):
    """Two frames are in different trees."""


class ExtrapolationException(TransformException):
    """The time asked for lies outside what was received."""


class InvalidArgumentException(TransformException):
    """A frame name is empty or begins with a slash."""


@dataclass(slots=True)
class _Track:
    """What is known of one frame: stamps [ns], ascending, with parent and T_parent_child."""

    is_static: bool
    stamps: list[int] = field(default_factory=list)
    values: list[tuple[str, NDArray[np.float64]]] = field(default_factory=list)

    def insert(
        self, stamp_ns: int, parent: str, T_parent_child: NDArray[np.float64], cache_ns: int
    ) -> bool:
        """Keep a transform and forget old ones; False when it is itself too old."""
        if self.is_static:
            self.stamps, self.values = [0], [(parent, T_parent_child)]
            return True
        if self.stamps:
            oldest_ns = self.stamps[-1] - cache_ns
            expired = bisect_left(self.stamps, oldest_ns)
            del self.stamps[:expired], self.values[:expired]
            if stamp_ns < oldest_ns:
                return False
        at = bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self.values[at] = (parent, T_parent_child)
            return True
        self.stamps.insert(at, stamp_ns)
        self.values.insert(at, (parent, T_parent_child))
        return True

    def at(self, stamp_ns: int) -> tuple[str, NDArray[np.float64]]:
        """Return parent and T_parent_child at a stamp, 0 for the newest."""
        if self.is_static or (stamp_ns == 0 and self.stamps):
            return self.values[-1]
        self._check_range(stamp_ns)
        after = bisect_right(self.stamps, stamp_ns)
        parent, T_before = self.values[after - 1]
        before_ns = self.stamps[after - 1]
        if before_ns == stamp_ns or self.values[after][0] != parent:
            return parent, T_before
        fraction = (stamp_ns - before_ns) / (self.stamps[after] - before_ns)
        return parent, se3.interpolate(T_before, self.values[after][1], fraction)

    def _check_range(self, stamp_ns: int) -> None:
        if not self.stamps:
            raise ExtrapolationException("Lookup would require extrapolation: there are no data")
        first, last = self.stamps[0], self.stamps[-1]
        if first <= stamp_ns <= last:
            return
        if first == last:
            problem = f"at time {_seconds(stamp_ns)}, but only time {_seconds(first)} is"
        elif stamp_ns > last:
            problem = (
                f"into the future. Requested time {_seconds(stamp_ns)} but the latest data is at "
                f"time {_seconds(last)}"
            )
        else:
            problem = (
                f"into the past. Requested time {_seconds(stamp_ns)} but the earliest data is at "
                f"time {_seconds(first)}"
            )
        raise ExtrapolationException(f"Lookup would require extrapolation {problem} in the buffer")


class Buffer:
    """Keeps ``cache_time`` of transforms (10 s by default) and answers lookups. Thread-safe.

    A second transform with the same stamp takes the place of the first. With a node, everything but
    static transforms is forgotten when the node's clock jumps back.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._cache_ns = 10_000_000_000 if cache_time is None else cache_time.nanoseconds
        self._tracks: dict[str, _Track] = {}
        self._names: set[str] = set()
        self._lock = threading.Lock()
        clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jump_handle = clock.create_jump_callback(threshold, post_callback=self._on_jump)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Keep a transform for its stamp; bad ones are logged and dropped."""
        self._set(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Keep a transform for all times; bad ones are logged and dropped."""
        self._set(transform, authority, is_static=True)

    def all_frames_as_yaml(self) -> str:
        """Return what is known as YAML: of each child frame its newest ``parent``."""
        with self._lock:
            tracks = {name: track for name, track in self._tracks.items() if track.values}
            return "".join(
                f"{name}:\n  parent: '{track.values[-1][0]}'\n" for name, track in tracks.items()
            )

    def clear(self) -> None:
        """Forget all transforms but the static ones."""
        with self._lock:
            for track in self._tracks.values():
                if not track.is_static:
                    track.stamps.clear()
                    track.values.clear()

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
                with self._lock:
                    return self._lookup(target_frame, source_frame, time.nanoseconds)
            except TransformException:
                if wall_time.monotonic() >= deadline:
                    raise
            wall_time.sleep(_POLL_S)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> TransformStamped:
        if target == source:
            track = self._tracks.get(target)
            latest_ns = track.stamps[-1] if track is not None and track.stamps else 0
            return _stamped(target, source, np.eye(4), stamp_ns or latest_ns)
        self._check_name(target, "target_frame")
        self._check_name(source, "source_frame")
        if stamp_ns == 0:
            stamp_ns = self._latest_common(target, source)
        from_source, source_error = self._ancestors(source, stamp_ns)
        from_target, target_error = self._ancestors(target, stamp_ns)
        common = next((name for name in from_source if name in from_target), None)
        if common is None:
            self._raise_unconnected(target, source, source_error or target_error)
        T_target_source = se3.inverse(from_target[common]) @ from_source[common]
        return _stamped(target, source, T_target_source, stamp_ns)

    def _ancestors(
        self, name: str, stamp_ns: int
    ) -> tuple[dict[str, NDArray[np.float64]], ExtrapolationException | None]:
        """Return T_ancestor_frame by ancestor, nearest first, and why the root was not reached."""
        ancestors = {name: np.eye(4)}
        T_ancestor_frame = np.eye(4)
        while name in self._tracks:
            try:
                parent, T_parent_child = self._tracks[name].at(stamp_ns)
            except ExtrapolationException as error:
                return ancestors, error
            if parent in ancestors:
                raise LookupException(f"The tf tree is invalid: it has a loop at '{parent}'")
            T_ancestor_frame = T_parent_child @ T_ancestor_frame
            ancestors[parent] = T_ancestor_frame
            name = parent
        return ancestors, None

    def _latest_common(self, target: str, source: str) -> int:
        """Return the newest stamp that all moving transforms on the way share, 0 if none moves."""
        from_source, _ = self._ancestors(source, 0)
        from_target, _ = self._ancestors(target, 0)
        common = next((name for name in from_source if name in from_target), None)
        if common is None:
            return 0
        on_the_way: list[str] = []
        for ancestors in (from_source, from_target):
            names = list(ancestors)
            on_the_way += names[: names.index(common)]
        tracks = [self._tracks[name] for name in on_the_way]
        return min((track.stamps[-1] for track in tracks if not track.is_static), default=0)

    def _raise_unconnected(
        self, target: str, source: str, error: ExtrapolationException | None
    ) -> NoReturn:
        if error is not None:
            way = f"when looking up transform from frame [{source}] to frame [{target}]"
            raise ExtrapolationException(f"{error}, {way}")
        raise ConnectivityException(
            f"Could not find a connection between '{target}' and '{source}' because they are not "
            "part of the same tree. Tf has two or more unconnected trees."
        )

    def _check_name(self, name: str, argument: str) -> None:
        place = f"passed to lookupTransform argument {argument}"
        if not name:
            raise InvalidArgumentException(f'"{name}" {place}: frame_ids cannot be empty')
        if name.startswith("/"):
            raise InvalidArgumentException(f'"{name}" {place}: frame_ids cannot start with a "/"')
        if name not in self._names:
            raise LookupException(f'"{name}" {place} does not exist.')

    def _set(self, transform: TransformStamped, authority: str, is_static: bool) -> None:
        parent = transform.header.frame_id.removeprefix("/")
        child = transform.child_frame_id.removeprefix("/")
        translation, rotation = transform.transform.translation, transform.transform.rotation
        numbers = [getattr(translation, axis) for axis in "xyz"]
        xyzw = [getattr(rotation, axis) for axis in "xyzw"]
        is_rotation = np.isfinite(numbers + xyzw).all() and any(xyzw)
        if not (parent and child and parent != child and is_rotation):
            logger.error(
                "ignoring the transform '%s' -> '%s' from %s: translation %s, rotation %s",
                parent, child, authority, numbers, xyzw,
            )  # fmt: skip
            return
        T_parent_child = se3.pose(se3.matrix_from_quaternion(np.array(xyzw)), np.array(numbers))
        stamp = transform.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        with self._lock:
            track = self._tracks.get(child)
            if track is None or track.is_static != is_static:
                track = self._tracks[child] = _Track(is_static)
            is_kept = track.insert(stamp_ns, parent, T_parent_child, self._cache_ns)
            self._names |= {parent, child}
        if not is_kept:
            logger.warning(
                "ignoring the transform '%s' -> '%s' from %s: its time %s is older than the buffer",
                parent, child, authority, _seconds(stamp_ns),
            )  # fmt: skip

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


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns // 1_000_000_000}.{stamp_ns % 1_000_000_000:09d}"
