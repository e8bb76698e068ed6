"""A node that bad messages on ROS's own topics and services do not end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.service import Service
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock

logger = logging.getLogger(__name__)

TYPES = frozenset(kind.value for kind in Parameter.Type)


class GuardedNode(Node):
    """Refuses times before 0 on /clock, and parameters whose values are of no type.

    rclpy's own callbacks raise ValueError for both, which ends whoever spins the node.
    """

    def create_subscription(self, msg_type: Any, topic: str, callback: Callable[..., Any],
                            *arguments: Any, **options: Any) -> Subscription:
        """Subscribe as any node does."""
        if msg_type is Clock:
            callback = _without_negative_times(callback)
        return super().create_subscription(msg_type, topic, callback, *arguments, **options)

    def create_service(self, srv_type: Any, srv_name: str, callback: Callable[..., Any],
                       *arguments: Any, **options: Any) -> Service:
        """Serve as any node does."""
        if srv_type in (SetParameters, SetParametersAtomically):
            callback = _without_unknown_types(callback)
        return super().create_service(srv_type, srv_name, callback, *arguments, **options)


def _without_negative_times(take: Callable[[Clock], None]) -> Callable[[Clock], None]:
    has_said = False

    def guarded(message: Clock) -> None:
        nonlocal has_said
        if message.clock.sec >= 0:
            take(message)
        elif not has_said:
            has_said = True
            logger.warning(
                "/clock: dropped: the time %d s is before 0; correct who publishes it (said once)",
                message.clock.sec,
            )

    return guarded


def _without_unknown_types(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def guarded(request: Any, response: Any) -> Any:
        types = {parameter.value.type for parameter in request.parameters}
        if types <= TYPES:
            return answer(request, response)
        reason = f"no parameter is changed: there is no type {sorted(types - TYPES)} of values"
        refusal = SetParametersResult(successful=False, reason=reason)
        if isinstance(response, SetParameters.Response):
            response.results = [refusal for _ in request.parameters]
        else:
            response.result = refusal
        return response

    return guarded
