"""The launch file's arguments, read without ``launch``, which only a ROS installation has."""

import ast
from pathlib import Path

from flashvggt_ros.config import parameters

LAUNCH_FILE = Path(__file__).parents[1] / "launch" / "mapping.launch.py"
REPLAY_FILE = LAUNCH_FILE.with_name("replay.launch.py")
OF_ROS = {"params_file", "use_sim_time", "namespace", "log_level"}
OF_ROBOTS = {
    "tf.base_frame", "tf.odom_frame", "robot.odometry_topic", "robot.imu_topic",
    "robot.depth_topics",
}


def test_arguments_are_those_of_ros_and_parameters_of_the_node_without_defaults() -> None:
    tree = ast.parse(LAUNCH_FILE.read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    arguments = set(constants["ARGUMENTS"])
    assert arguments >= OF_ROS | {"image_topics", "checkpoint", "device"} | OF_ROBOTS
    assert arguments - OF_ROS <= {parameter.name for parameter in parameters()}
    kinds = {parameter.name: parameter.type for parameter in parameters()}
    lists, flags = set(constants["LISTS"]), set(constants["FLAGS"])
    strings = arguments - OF_ROS - lists - flags
    assert lists | flags <= arguments
    assert {kinds[name] for name in flags - OF_ROS} == {bool}
    assert {kinds[name] for name in lists} == {tuple}
    assert {kinds[name] for name in strings} == {str}
    assert set(constants["NOT_PARAMETERS"]) == OF_ROS - {"use_sim_time"}
    assert constants["NOT_GIVEN"] == ""
    assert any(isinstance(node, ast.Constant) and node.value == "rviz" for node in ast.walk(tree))


def test_the_replay_plays_the_bag_on_a_clock_that_the_node_follows() -> None:
    tree = ast.parse(REPLAY_FILE.read_text())
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {"bag", "rate", "delay", "record"} <= constants
    assert {"--clock", "use_sim_time", "mapping.launch.py", "flashvggt_record"} <= constants
    compile(tree, REPLAY_FILE, "exec")
