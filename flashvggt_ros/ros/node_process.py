"""mapping_node: the mapping node as a process of its own, stopped by SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import sys

from flashvggt_ros.ros.stop_request import StopRequest


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM or SIGHUP; return 0, or 1 after an error that was said.

    Signals are heeded from here on, before anything large is imported. One that comes earlier,
    while Python itself starts, ends the process with the signal's own code.
    """
    stop = StopRequest()
    from flashvggt_ros.ros.node_lifetime import run  # rclpy, OpenCV: a second on a slow machine

    try:
        return run(args, stop)
    finally:
        stop.close()


if __name__ == "__main__":
    sys.exit(main())
