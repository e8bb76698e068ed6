"""ROS parameters from config.py: declared, described, checked and changed at run time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from flashvggt_ros.config import Config, build_config, flatten, parameters
from flashvggt_ros.parameter import Parameter

logger = logging.getLogger(__name__)

AT_ONCE = (
    "publish.", "tf.publish", "tf.rate", "tf.lookup_timeout", "tf.max_correction_rate"
)  # fmt: skip
AFTER_RESET = (
    "keyframe.", "chunk.", "submap.", "scale.", "gravity.", "loop.", "map.", "grid."
)  # fmt: skip
ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides.")

_TYPES = {
    bool: RosParameter.Type.BOOL,
    int: RosParameter.Type.INTEGER,
    float: RosParameter.Type.DOUBLE,
    str: RosParameter.Type.STRING,
    tuple: RosParameter.Type.STRING_ARRAY,
}


def declare_parameters(node: Node) -> Config:
    """Declare every parameter of config.py on ``node`` and return what launch files set.

    An integer is taken for a floating point parameter (``scale.fixed:=2``), an empty list for a
    list. Raises ValueError that names the parameter, its value and the limit.
    """
    values: dict[str, Any] = {}
    for parameter in parameters():
        value: Any = node.declare_parameter(
            parameter.name, _as_ros(parameter.default), ParameterDescriptor(dynamic_typing=True)
        ).value
        is_empty = value is None or (isinstance(value, (list, bytes)) and len(value) == 0)
        values[parameter.name] = () if is_empty and parameter.type is tuple else value
    _warn_of_unknown(node)
    config = build_config(values)
    for parameter, value in zip(parameters(), flatten(config).values(), strict=True):
        _describe(node, parameter, value)
    return config


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """The ROS description of a parameter: documentation, type, range, choices, when it applies."""
    message = ParameterDescriptor(
        name=parameter.name,
        type=_TYPES[parameter.type].value,
        description=parameter.doc,
        additional_constraints=" ".join(_constraints(parameter)),
    )
    low, high = parameter.low, parameter.high
    if low is None or high is None:
        return message
    if parameter.type is int:
        message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    elif parameter.type is float:
        limits = FloatingPointRange(from_value=float(low), to_value=float(high))
        message.floating_point_range = [limits]
    return message


def on_change(
    node: Node,
    current: Callable[[], Config],
    accept: Callable[[Config], None],
    is_configured: Callable[[], bool],
) -> None:
    """Call ``accept`` with the new configuration whenever parameters change.

    A change that breaks a limit, alone or together with other parameters, or for which ``accept``
    raises ValueError, is refused with the reason; so is one of what was read in configure, while
    the node is configured. When a change takes effect, descriptors say.
    """

    def check(changes: list[RosParameter]) -> SetParametersResult:
        own = {parameter.name for parameter in parameters()}
        values = {change.name: change.value for change in changes if change.name in own}
        held = [name for name in values if not name.startswith(AT_ONCE + AFTER_RESET)]
        if held and is_configured():
            reason = f"{', '.join(held)} cannot change while the node is configured: clean it up"
            return SetParametersResult(successful=False, reason=f"{reason}, or restart it")
        try:
            accept(build_config({**flatten(current()), **values}))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def _as_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _constraints(parameter: Parameter) -> list[str]:
    constraints = []
    if parameter.choices:
        constraints.append(f"One of: {', '.join(parameter.choices)}.")
    if parameter.name.startswith(AFTER_RESET):
        constraints.append("A change takes effect with the next call of ~/reset.")
    elif not parameter.name.startswith(AT_ONCE):
        constraints.append("May change while the node is unconfigured.")
    return constraints


def _describe(node: Node, parameter: Parameter, value: Any) -> None:
    """Give a parameter that was declared with any type its final type, range and value."""
    final = RosParameter(parameter.name, _TYPES[parameter.type], _as_ros(value))
    node.set_descriptor(parameter.name, descriptor(parameter), final.get_parameter_value())


def _warn_of_unknown(node: Node) -> None:
    """Say which parameters of a file or command line are none of ours: most often misspelt."""
    # rclpy has no public way to list overrides; without this attribute they are ignored unsaid.
    given = getattr(node, "_parameter_overrides", {})
    own = {parameter.name for parameter in parameters()}
    unknown = [name for name in given if name not in own and not name.startswith(ROS_OWN)]
    if unknown:
        logger.warning("these parameters are not known here and are ignored: %s", unknown)
