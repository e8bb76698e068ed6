"""Lets a ROS 2 that pip installed be found without a sourced set-up file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_RCLPY_MARKER = Path("share", "ament_index", "resource_index", "packages", "rclpy")


def add_wheels_to_prefix_path() -> None:
    """Put this Python's prefix on AMENT_PREFIX_PATH when rclpy was installed into it by pip.

    rclpy looks there for its type support as it is imported, so this must run before. A sourced ROS
    installation is elsewhere and already named: nothing changes then. Prefixes that are already
    named, such as a workspace, keep their precedence.
    """
    if not (Path(sys.prefix) / _RCLPY_MARKER).is_file():
        return
    named = os.environ.get("AMENT_PREFIX_PATH", "")
    prefixes = [prefix for prefix in named.split(os.pathsep) if prefix]
    if sys.prefix not in prefixes:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([*prefixes, sys.prefix])
