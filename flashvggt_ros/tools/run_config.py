"""Parameters of an offline run: a ROS parameter file, then single values from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from flashvggt_ros.config import parameters

LARGEST_FILE = 200_000  # [bytes]
NODE_NAME = "mapping"
# Parameters that every ROS node has and that mean nothing offline.
ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")


class _Loader(yaml.SafeLoader):
    """YAML as ROS reads it: without aliases, with which a small file can be endless."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*) are not supported")
        return super().compose_node(parent, index)


def read_parameter_file(path: Path, node: str = NODE_NAME) -> dict[str, Any]:
    """Return the dotted names and values that a ROS parameter file sets for ``node``.

    Sections are node names (``mapping``, ``/robot/mapping``) or wildcards (``/**``, ``/*``,
    ``/**/mapping``), each with ``ros__parameters``, nested or dotted; later sections win. Raises
    ValueError when the file is unreadable or has no section for the node.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE} bytes")
        document = _loaded(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read parameter file {path}: {error}") from error
    sections = dict(_sections(document, "")) if isinstance(document, Mapping) else {}
    matching = [values for name, values in sections.items() if _matches(name, node)]
    if not matching:
        raise ValueError(
            f"parameter file {path} sets nothing for node '{node}': it needs a section '/**:' or "
            f"'{node}:' with 'ros__parameters:'; it has: {', '.join(sections) or 'none'}"
        )
    values: dict[str, Any] = {}
    for section in matching:
        values.update(_dotted(section, ""))
    return {name: value for name, value in values.items() if name.split(".")[0] not in ROS_OWN}


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``name=value`` texts into parameter values; the value is YAML, as in ``ros2 param``.

    ROS's own ``name:=value`` is taken too. Raises ValueError for a text without ``=`` or with a
    value that is not YAML.
    """
    texts = {parameter.name for parameter in parameters() if parameter.type is str}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"'{assignment}' is not of the form name=value")
        name = name.removesuffix(":").strip()
        try:
            values[name] = text if name in texts else _loaded(text)
        except ValueError as error:
            raise ValueError(f"the value of '{assignment}' is not YAML: {error}") from error
    return values


def _loaded(text: str) -> Any:
    """Return what a YAML text says; ValueError where it is none."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _sections(document: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Pairs of node name and parameters; namespaces may be nested mappings."""
    for name, body in document.items():
        if not isinstance(body, Mapping):
            continue
        if "ros__parameters" in body:
            values = body["ros__parameters"] or {}
            if not isinstance(values, Mapping):
                raise ValueError(f"'ros__parameters' of '{prefix}{name}' has no names with values")
            yield f"{prefix}{name}", values
        else:
            yield from _sections(body, f"{prefix}{name}/")


def _matches(section: str, node: str) -> bool:
    return section.strip("/").rpartition("/")[2] in (node, "*", "**")


def _dotted(section: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
