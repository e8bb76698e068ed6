"""The node's clock: whether images are stamped by it, whether it stands still or jumps back."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import JumpThreshold, ROSClock
from rclpy.duration import Duration
from rclpy.node import Node

from flashvggt_ros.sensors.stamp_order import JUMP_BACK_NS, is_now

STILL_S = 1.0


class ClockWatch:
    """Compares the node's clock with the stamps of images and with the machine's monotonic clock.

    ``on_jump_back(seconds)`` is called in the executor's thread when /clock jumps back by a second
    or more; use_sim_time is set then. A system clock that is set back does not call it.
    """

    def __init__(self, node: Node, on_jump_back: Callable[[float], None]) -> None:
        clock = node.get_clock()
        assert isinstance(clock, ROSClock)
        self._clock = clock
        self.is_on_clock = False  # the newest image was stamped by the node's clock
        self._last_ns, self._changed = 0, time.monotonic()
        threshold = JumpThreshold(
            min_forward=None,
            min_backward=Duration(nanoseconds=-JUMP_BACK_NS),
            on_clock_change=False,
        )
        self._jumps = self._clock.create_jump_callback(
            threshold, post_callback=lambda jump: on_jump_back(jump.delta.nanoseconds * -1e-9)
        )

    @property
    def now_ns(self) -> int:
        """Time of the node's clock, 0 before anything came on /clock where that is to be heard."""
        return int(self._clock.now().nanoseconds)

    @property
    def is_simulated(self) -> bool:
        """Whether /clock says what time it is (use_sim_time)."""
        return bool(self._clock.ros_time_is_active)

    def has(self, stamp_ns: int) -> bool:
        """Whether an image that arrives now with this stamp can be stamped by this clock."""
        return is_now(self.now_ns, stamp_ns)

    def note(self, stamp_ns: int) -> None:
        """Take note of the stamp of an image that arrives now."""
        self.is_on_clock = self.has(stamp_ns)

    @property
    def problem(self) -> str:
        """Why time does not go on; empty where it does. Ask it steadily."""
        now_ns, now = self.now_ns, time.monotonic()
        if now_ns != self._last_ns:
            self._last_ns, self._changed = now_ns, now
        still_s = now - self._changed
        if not self.is_simulated or still_s <= STILL_S:
            return ""
        if not now_ns:
            return "use_sim_time is set, but nothing came on /clock: publish it, or unset that"
        return (
            f"/clock has stood still for {still_s:.1f} s: let the simulation or the bag go on, or "
            "unset use_sim_time"
        )

    def close(self) -> None:
        """Call nobody any more."""
        self._jumps.unregister()
