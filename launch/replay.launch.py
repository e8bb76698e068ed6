"""Play a bag to the mapping node, in the bag's own time; record what it publishes if asked for.

Takes the arguments of mapping.launch.py, too: image_topics, rviz, params_file and so on. The node
goes on after the bag's end, with the map; Ctrl-C stops all.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PACKAGE = "flashvggt_ros"
SHARE = FindPackageShare(PACKAGE)
MAPPING = ("launch", "mapping.launch.py")
CLOCK_RATE_HZ = "100"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="Folder of a rosbag2, or a single file"),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Speed, as a multiple of the recording's"
            ),
            DeclareLaunchArgument(
                "delay",
                default_value="10.0",
                description="Time for the node to load its weights before the bag starts [s]",
            ),
            DeclareLaunchArgument(
                "record",
                default_value="",
                description="Folder for trajectory, map and status as published; empty: none",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([PathJoinSubstitution([SHARE, *MAPPING])]),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            OpaqueFunction(function=_player_and_recorder),
        ]
    )


def _player_and_recorder(context: LaunchContext) -> list[ExecuteProcess]:
    bag, rate, delay, folder = (
        LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "delay", "record")
    )
    play = ["ros2", "bag", "play", bag, "--clock", CLOCK_RATE_HZ, "--rate", rate, "--delay", delay]
    processes = [ExecuteProcess(cmd=play, output="screen")]
    if folder:
        recorder = Node(
            package=PACKAGE,
            executable="flashvggt_record",
            arguments=["--output", folder, "--node", _node_name(context)],
            output="screen",
        )
        processes.append(recorder)
    return processes


def _node_name(context: LaunchContext) -> str:
    """Return the mapping node's name with its namespace."""
    return f"{LaunchConfiguration('namespace').perform(context).strip('/')}/mapping".strip("/")
