"""Other nodes that get into this one's way, and what to do about it."""

from __future__ import annotations

import logging

from rclpy.node import Node

from flashvggt_ros.ros.problem_log import ProblemLog
from flashvggt_ros.ros.sent_transforms import SentTransforms

logger = logging.getLogger(__name__)


class GraphConflicts:
    """Looks for nodes of the same name and for others that place the same frames on TF."""

    def __init__(self, node: Node, sent: SentTransforms) -> None:
        self._node = node
        self._sent = sent
        self._log = ProblemLog(logger)

    def problems(self) -> tuple[str, ...]:
        """Return what is the matter now, in words; what is new is also logged."""
        found = (*self._same_name(), *self._sent.problems)
        self._log.say(found)
        return found

    def _same_name(self) -> tuple[str, ...]:
        own = self._node.get_name(), self._node.get_namespace()
        others = self._node.get_node_names_and_namespaces().count(own) - 1
        if others < 1:
            return ()
        name = self._node.get_fully_qualified_name()
        return (
            f"{others + 1} nodes are named {name}, and their topics and services are mixed up: "
            "start each with a name or namespace of its own (--ros-args -r __node:=other or "
            "-r __ns:=/other)",
        )
