"""The ROS 2 node: the only part of the package that imports rclpy."""

from flashvggt_ros.ros.environment import add_wheels_to_prefix_path

add_wheels_to_prefix_path()
