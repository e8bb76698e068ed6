"""Transforms from and to /tf as matrices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import yaml
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from flashvggt_ros.ros import backends
from flashvggt_ros.ros.messages import matrix, transform_stamped
from flashvggt_ros.ros.sent_transforms import SentTransforms
from flashvggt_ros.sensors.transform_order import TransformOrder

POLL_S = 0.005
LATEST = 0  # as a stamp: the newest transform there is


class TransformUnavailable(LookupError):  # noqa: N818 - it is an answer, not a fault
    """There is no transform between two frames at the time asked for; the text says why."""


class TransformTree:
    """The transforms that the node hears, and those that it says.

    Keeps ``cache_s`` seconds of what is heard. ``lookup`` can be called from any thread; it needs
    the node's executor to run, and never waits for it.
    """

    def __init__(self, node: Node, cache_s: float = 10.0) -> None:
        self._tf2_ros = backends.tf2_ros().module
        cache_time = Duration(nanoseconds=int(cache_s * 1e9))
        self._buffer = self._tf2_ros.Buffer(cache_time=cache_time, node=node)
        self.sent = SentTransforms()
        clock = node.get_clock()
        self._order = TransformOrder(self._buffer.clear, lambda: int(clock.now().nanoseconds))
        heard = _Heard(self._buffer, self.sent, self._order)
        self._listener = self._tf2_ros.TransformListener(heard, node)
        self._broadcaster = self._tf2_ros.TransformBroadcaster(node)

    def lookup(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """Return T_target_source (4, 4) at ``stamp_ns``, interpolated between the stamps heard.

        A stamp of 0 means the newest time for which there is an answer (tf2's convention). Raises
        TransformUnavailable; nothing is extrapolated and no identity is invented.
        """
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except self._tf2_ros.TransformException as error:
            raise TransformUnavailable(
                f"no transform from '{source}' to '{target}' at {stamp_ns} ns: {error}"
            ) from None
        return matrix(found.transform)

    def root(self, frame: str, world: str) -> str:
        """Return the topmost frame that ``frame`` hangs on, or itself; ``world`` does not count."""
        try:
            known = yaml.safe_load(self._buffer.all_frames_as_yaml())
        except yaml.YAMLError:  # tf2 does not escape names: one with a quote or a line break
            known = None
        known = known if isinstance(known, dict) else {}
        passed = {frame}
        while frame in known:
            parent = str(known[frame]["parent"])
            if parent == world or parent in passed:
                break
            passed.add(parent)
            frame = parent
        return frame

    def broadcast(self, edges: Iterable[tuple[str, str, NDArray[np.float64], int]]) -> None:
        """Send (parent, child, T_parent_child, stamp_ns) of each edge, all in one message."""
        transforms = [
            transform_stamped(check_frame_name(parent), check_frame_name(child), T, stamp_ns)
            for parent, child, T, stamp_ns in edges
        ]
        if transforms:
            self.sent.add(transforms)
            self._broadcaster.sendTransform(transforms)

    def clear(self) -> None:
        """Forget what was heard, but for static transforms: time begins anew."""
        self._buffer.clear()
        self._order.forget()

    def close(self) -> None:
        """Stop listening; what was heard can still be looked up."""
        self._listener.unregister()


class _Heard:
    """A buffer as a listener fills it, in order, with what others say; this node knows its own."""

    def __init__(self, buffer: Any, sent: SentTransforms, order: TransformOrder) -> None:
        self.set_transform_static = buffer.set_transform_static
        self._buffer = buffer
        self._sent = sent
        self._order = order

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        if not self._sent.hear(transform) and self._order.accepts(transform):
            self._buffer.set_transform(transform, authority)


class PatientTransforms:
    """A tree whose lookups wait for what is on its way: ``timeout()`` [s] for a chunk together.

    ``renew`` is called after each chunk. Only the worker's thread may look up and wait.
    """

    def __init__(self, tree: TransformTree, timeout: Callable[[], float]) -> None:
        self.root = tree.root
        self.broadcast = tree.broadcast
        self._tree = tree
        self._timeout = timeout
        self._left = timeout()

    def renew(self) -> None:
        """Be patient again: a new chunk begins."""
        self._left = self._timeout()

    def wait(self, is_reached: Callable[[], bool]) -> None:
        """Return when ``is_reached``, or when the chunk's patience ends."""
        start = time.monotonic()
        while not is_reached() and time.monotonic() < start + self._left:
            time.sleep(POLL_S)
        self._left -= time.monotonic() - start

    def lookup(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """Look a transform up, waiting for one that exists but does not reach ``stamp_ns`` yet."""

        def is_reached() -> bool:
            try:
                self._tree.lookup(target, source, stamp_ns)
            except TransformUnavailable:
                return False
            return True

        try:
            return self._tree.lookup(target, source, stamp_ns)
        except TransformUnavailable:
            if stamp_ns == LATEST:
                raise
            self._tree.lookup(target, source, LATEST)  # raises where there is none at all
        self.wait(is_reached)
        return self._tree.lookup(target, source, stamp_ns)


def check_frame_name(name: str) -> str:
    """Return the name of a frame; ValueError where tf2 would not take it."""
    if not name or name.startswith("/"):
        raise ValueError(f"the frame name '{name}' must not be empty nor begin with '/'")
    return name
