"""Publishers, subscriptions and timers of a node, taken down as they were put up."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node


class NodeEntities:
    """Knows what a node has at this moment, so that all that it gets later can be destroyed."""

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
        return [*self._node.publishers, *self._node.subscriptions, *self._node.timers]
