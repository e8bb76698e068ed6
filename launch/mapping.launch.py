"""Start the mapping node, and RViz if asked for.

An argument that is not given is not passed on: the defaults are the node's own
(config/default.yaml lists them). Arguments override the parameters in params_file.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "flashvggt_ros"
NOT_GIVEN = ""
RESPAWN_DELAY_S = 2.0
ARGUMENTS = {
    "image_topics": "Image topic, or a YAML list: [/left/image_raw, /right/image_raw]",
    "params_file": "YAML file of ROS parameters",
    "checkpoint": "Name or file of the model's weights",
    "device": "auto, cuda or cpu",
    "tf.base_frame": "Robot base frame; the cameras are on TF with it",
    "tf.odom_frame": "Odometry frame on TF",
    "robot.odometry_topic": "nav_msgs/Odometry, in place of odometry on TF",
    "robot.imu_topic": "sensor_msgs/Imu",
    "robot.depth_topics": "Depth image topic registered to the images, or a YAML list",
    "autostart": "false: a lifecycle manager configures and activates the node",
    "use_sim_time": "true: take the time from /clock",
    "namespace": "ROS namespace of the node; its topics are then /<namespace>/mapping/...",
    "log_level": "debug, info, warn, error or fatal",
}
LISTS = {"image_topics", "robot.depth_topics"}
FLAGS = {"autostart", "use_sim_time"}
NOT_PARAMETERS = {"params_file", "namespace", "log_level"}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the two processes."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=NOT_GIVEN, description=description)
                for name, description in ARGUMENTS.items()
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", description="true: show the map in RViz"
            ),
            DeclareLaunchArgument(
                "respawn", default_value="false", description="true: restart the node if it ends"
            ),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    given = {name: value for name, value in given.items() if value != NOT_GIVEN}
    mapping = Node(
        package=PACKAGE,
        executable="mapping_node",
        name="mapping",
        namespace=given.get("namespace"),
        parameters=_parameters(given),
        ros_arguments=_log_level(given),
        respawn=IfCondition(LaunchConfiguration("respawn")).evaluate(context),
        respawn_delay=RESPAWN_DELAY_S,
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=given.get("namespace"),
        arguments=[
            "-d",
            PathJoinSubstitution([FindPackageShare(PACKAGE), "rviz", "mapping.rviz"]),
        ],
        parameters=[_typed("use_sim_time", bool)] if "use_sim_time" in given else [],
        remappings=[("image", topic) for topic in _topics(given, "image_topics")[:1]],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [mapping, rviz]


def _parameters(given: dict[str, str]) -> list[object]:
    """Return what Node takes as parameters: the file first, so that arguments win."""
    parameters: list[object] = [_file(given["params_file"])] if "params_file" in given else []
    for name in LISTS & set(given):
        parameters.append({name: _topics(given, name)})
    for name in set(given) - LISTS - NOT_PARAMETERS:
        parameters.append(_typed(name, bool if name in FLAGS else str))
    return parameters


def _file(name: str) -> str:
    """Return the file of parameters; launch itself only warns of one that is none, and goes on."""
    file = Path(name).expanduser()
    if not file.is_file():
        raise ValueError(f"params_file is '{name}', which is no file")
    return str(file)


def _topics(given: dict[str, str], name: str) -> list[str]:
    """Return the topics of an argument, which is one of them or a YAML list."""
    topics = yaml.safe_load(given.get(name, "[]"))
    return [str(topic) for topic in topics] if isinstance(topics, list) else [given[name]]


def _log_level(given: dict[str, str]) -> list[str]:
    """Return the level of the node's own logger: ROS itself writes hundreds of lines at debug."""
    if "log_level" not in given:
        return []
    names = [name for name in given.get("namespace", "").split("/") if name]
    return ["--log-level", f"{'.'.join([*names, 'mapping'])}:={given['log_level']}"]


def _typed(name: str, kind: type) -> dict[str, ParameterValue]:
    return {name: ParameterValue(LaunchConfiguration(name), value_type=kind)}
