"""mapping_node: the mapping node as a process of its own, stopped by SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import sys

from flashvggt_ros.ros.stop_request import StopRequest

HELP = """usage: mapping_node [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r FROM:=TO] ...]

Map what cameras see: poses on TF, a point cloud and an occupancy grid. All options are those of
ROS; config/default.yaml has all parameters with their defaults and ranges.

examples:
  mapping_node --ros-args -p image_topics:="['/camera/image_raw']"
  mapping_node --ros-args --params-file robot.yaml -r __ns:=/robot1"""


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT, SIGTERM or SIGHUP; return 0, or 1 after an error that was said.

    Signals are heeded from here on, before anything large is imported. One that comes earlier,
    while Python itself starts, ends the process with the signal's own code.
    """
    if {"-h", "--help"} & set(sys.argv if args is None else args):
        print(HELP)
        return 0
    stop = StopRequest()
    from flashvggt_ros.ros.node_lifetime import run  # rclpy, OpenCV: a second on a slow machine

    try:
        return run(args, stop)
    finally:
        stop.close()


if __name__ == "__main__":
    sys.exit(main())
