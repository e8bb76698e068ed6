"""Publishers, subscriptions and timers of a node, taken down as they were put up."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.timer import Timer
from rosgraph_msgs.msg import Clock


class NodeEntities:
    """Knows what a node has at this moment, so that all that it gets later can be destroyed.

    Not the subscription to /clock: rclpy makes it whenever use_sim_time is set, and only once.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._older = self._all()

    def destroy_newer(self) -> None:
        """Destroy what was made since; in the executor's thread."""
        for entity in self._all():
            if entity in self._older:
                continue
            # each of these does nothing for what is not of its kind
            self._node.destroy_publisher(entity)
            self._node.destroy_subscription(entity)
            self._node.destroy_timer(entity)

    def _all(self) -> list[Any]:
        heard = [entry for entry in self._node.subscriptions if entry.msg_type is not Clock]
        return [*self._node.publishers, *heard, *self._node.timers]


def set_period(timer: Timer, seconds: float) -> None:
    """Let a timer run at another period [s] from now on, not only once the old one is over."""
    period_ns = int(1e9 * seconds)
    if timer.timer_period_ns != period_ns:
        timer.timer_period_ns = period_ns
        timer.reset()
