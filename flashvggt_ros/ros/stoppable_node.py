"""A node of a command line that SIGINT and SIGTERM end in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from flashvggt_ros.ros.stop_request import StopRequest


@contextmanager
def stoppable_node(name: str, args: Sequence[str]) -> Iterator[tuple[Node, StopRequest]]:
    """Start ROS with ``args`` and a node; both end with the block, and signals are ignored then."""
    stop = StopRequest()
    try:
        rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
        node = Node(name)
        try:
            yield node, stop
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    finally:
        stop.close()
