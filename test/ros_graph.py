"""A ROS graph of its own for one test: nodes and an executor to spin them."""

import contextlib
import time

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node


class RosGraph:
    def __init__(self, context):
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes = []

    def node(self, name):
        node = Node(name, context=self.context, use_global_arguments=False)
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def spin_until(self, is_done, timeout_s=10.0):
        deadline = time.monotonic() + timeout_s
        while not is_done():
            assert time.monotonic() < deadline, f"nothing within {timeout_s} s"
            self.executor.spin_once(timeout_sec=0.02)


@contextlib.contextmanager
def ros_graph():
    context = Context()
    rclpy.init(context=context)
    graph = RosGraph(context)
    try:
        yield graph
    finally:
        graph.executor.shutdown()
        for node in graph.nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=context)
