"""The bond by which nav2_lifecycle_manager notices that a node is gone."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

from rclpy.node import Node

logger = logging.getLogger(__name__)

TOPIC = "bond"
HEARTBEAT_PERIOD_S = 0.1
HEARTBEAT_TIMEOUT_S = 4.0  # those of Nav2's own nodes


class ManagerBond:
    """Tied to the lifecycle manager while the node is active, where the package bondpy is there.

    PyPI lacks it, and no node needs it: a manager with ``bond_timeout: 0.0`` asks for none.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._bond: Any = None

    def tie(self) -> None:
        """Begin to send heartbeats; without bondpy, or tied already, nothing."""
        if importlib.util.find_spec("bondpy") is None:
            logger.info("no bond: bondpy is not installed; a manager needs bond_timeout: 0.0 then")
            return
        if self._bond is None:
            bondpy = importlib.import_module("bondpy.bondpy")
            self._bond = bondpy.Bond(self._node, TOPIC, self._node.get_name())
            self._bond.heartbeat_period = HEARTBEAT_PERIOD_S
            self._bond.heartbeat_timeout = HEARTBEAT_TIMEOUT_S
            self._bond.start()

    def loosen(self) -> None:
        """Say that the node leaves on purpose, and send no more."""
        if self._bond is not None:
            self._bond.shutdown()
            # bondpy destroys both without telling the node, which would go on to use them
            self._node.destroy_subscription(self._bond.sub)
            self._node.destroy_publisher(self._bond.pub)
            self._bond = None
