"""Who publishes what the node subscribes to, and whether both ask for the same."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSLivelinessPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

from flashvggt_ros.ros.problem_log import ProblemLog

logger = logging.getLogger(__name__)

EVERY_NODE_S = ("/parameter_events", "/rosout")
RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT
FOREVER_S = 1e9  # middlewares write "no limit" as 0, or as the longest time they know
LATCHED, VOLATILE = QoSDurabilityPolicy.TRANSIENT_LOCAL, QoSDurabilityPolicy.VOLATILE


@dataclass(frozen=True, slots=True)
class QosReport:
    """``publishers``: of each topic subscribed to, who publishes it and how, in words.

    ``problems``: which of them, or of the subscribers of the node's own topics, get nothing through
    because both ask for something else, each with its remedy.
    """

    publishers: dict[str, str]
    problems: tuple[str, ...]


class QosWatch:
    """Compares what is asked and offered on every topic of a node; says a mismatch once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._log = ProblemLog(logger)

    def report(self, by_parameter: Collection[str]) -> QosReport:
        """Ask the ROS graph, which knows a new peer some milliseconds after it began.

        ``by_parameter``: the topics whose reliability the parameter image.qos sets.
        """
        publishers: dict[str, str] = {}
        problems: list[str] = []
        for subscription in self._node.subscriptions:
            topic, asked = subscription.topic_name, subscription.qos_profile
            if topic in EVERY_NODE_S:
                continue
            found = self._node.get_publishers_info_by_topic(topic)
            publishers[topic] = "; ".join(map(_in_words, found)) or "nobody publishes"
            problems += [
                _unheard(topic, publisher, asked, topic in by_parameter)
                for publisher in found
                if not _match(publisher.qos_profile, asked)
            ]
        problems += self._unserved()
        problems = list(dict.fromkeys(problems))
        self._log.say(problems)
        return QosReport(publishers, tuple(problems))

    def _unserved(self) -> list[str]:
        """Say which subscribers ask more of the node's own topics than these offer."""
        return [
            f"subscriber {endpoint_name(subscriber)} of {publisher.topic_name} asks for "
            f"{', '.join([_policies(subscriber.qos_profile), *_demands(subscriber.qos_profile)])}, "
            f"this node offers {_policies(publisher.qos_profile)}: ask for no more there"
            for publisher in self._node.publishers
            if publisher.topic_name not in EVERY_NODE_S
            for subscriber in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            if _demands(subscriber.qos_profile)
            or not _match(publisher.qos_profile, subscriber.qos_profile)
        ]


def _match(offered: QoSProfile, asked: QoSProfile) -> bool:
    """Whether messages pass as far as reliability and durability decide that."""
    return not (_is_unreliable(offered, asked) or _is_volatile(offered, asked))


def _demands(asked: QoSProfile) -> list[str]:
    """What a subscriber asks for that none of this node's publishers offers, in words."""
    spans = (
        ("deadline", asked.deadline), ("liveliness lease", asked.liveliness_lease_duration)
    )  # fmt: skip
    demands = [
        f"a {name} of {span.nanoseconds * 1e-9:g} s"
        for name, span in spans
        if 0 < span.nanoseconds * 1e-9 < FOREVER_S
    ]
    if asked.liveliness == QoSLivelinessPolicy.MANUAL_BY_TOPIC:
        demands.append("liveliness MANUAL_BY_TOPIC")
    return demands


def _is_unreliable(offered: QoSProfile, asked: QoSProfile) -> bool:
    return asked.reliability == RELIABLE and offered.reliability == BEST_EFFORT


def _is_volatile(offered: QoSProfile, asked: QoSProfile) -> bool:
    return asked.durability == LATCHED and offered.durability == VOLATILE


def _unheard(
    topic: str, publisher: TopicEndpointInfo, asked: QoSProfile, is_by_parameter: bool
) -> str:
    has, wants, remedy = "VOLATILE", "TRANSIENT_LOCAL", "let it publish TRANSIENT_LOCAL"
    if _is_unreliable(publisher.qos_profile, asked):
        has, wants = "BEST_EFFORT", "RELIABLE"
        remedy = "set image.qos to sensor_data" if is_by_parameter else "let it publish RELIABLE"
    return (
        f"publisher {endpoint_name(publisher)} of {topic} is {has}, this node asks for {wants}, "
        f"so that nothing arrives: {remedy}"
    )


def _in_words(endpoint: TopicEndpointInfo) -> str:
    return f"{endpoint_name(endpoint)}: {_policies(endpoint.qos_profile)}"


def _policies(qos: QoSProfile) -> str:
    return f"{qos.reliability.name}, {qos.durability.name}"


def endpoint_name(endpoint: TopicEndpointInfo) -> str:
    """The full name of the node that an endpoint belongs to."""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
