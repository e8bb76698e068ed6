"""rviz/mapping.rviz shows what the node publishes, with the QoS that it is published with."""

from pathlib import Path

import pytest
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(2))
RVIZ = yaml.safe_load((Path(__file__).parents[2] / "rviz" / "mapping.rviz").read_text("utf-8"))
DISPLAYS = {
    display["Topic"]["Value"]: display
    for display in RVIZ["Visualization Manager"]["Displays"] if "Topic" in display
}
TYPES = {
    "Map": "nav_msgs/msg/OccupancyGrid", "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "Path": "nav_msgs/msg/Path", "Odometry": "nav_msgs/msg/Odometry",
}
NOT_SHOWN = {"status", "graph", "transition_event"}  # RViz knows no display for them


def qos(display):
    topic = display["Topic"]
    return QoSProfile(
        depth=topic["Depth"],
        reliability=ReliabilityPolicy[topic["Reliability Policy"].upper().replace(" ", "_")],
        durability=DurabilityPolicy[topic["Durability Policy"].upper().replace(" ", "_")],
    )


@pytest.fixture
def published(bench):
    it = bench()
    node = it.helper
    names = {name: types for name, types in node.get_publisher_names_and_types_by_node(
        "mapping", "/") if name == "/map" or name.startswith("/mapping/")}
    it.spin_until(lambda: all(node.get_publishers_info_by_topic(name) for name in names))
    return {
        name.removeprefix("/"): (types, [
            info.qos_profile for info in node.get_publishers_info_by_topic(name)
            if info.node_name == "mapping"
        ]) for name, types in names.items()
    }


def test_every_topic_of_the_node_has_a_display_of_its_type_and_qos(published) -> None:
    shown = {name for name in published if name.rpartition("/")[2] not in NOT_SHOWN}
    assert shown == set(DISPLAYS) - {"image"}
    for name in shown:
        display, (types, (offered,)) = DISPLAYS[name], published[name]
        assert types == [TYPES[display["Class"].partition("/")[2]]]
        answer = qos_check_compatible(offered, qos(display))
        assert answer[0] != QoSCompatibility.ERROR, f"{name}: {answer[1]}"


def test_a_late_rviz_is_given_what_is_latched(published) -> None:
    for name, display in DISPLAYS.items():
        if name != "image":
            offered, asked = published[name][1][0], qos(display)
            assert asked.durability == offered.durability, name
            if offered.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                assert asked.reliability == ReliabilityPolicy.RELIABLE, name


def test_tf_and_the_image_are_shown_and_nothing_depends_on_the_namespace() -> None:
    displays = RVIZ["Visualization Manager"]["Displays"]
    assert {"TF", "Image"} <= {display["Class"].partition("/")[2] for display in displays}
    assert DISPLAYS["image"]["Topic"]["Reliability Policy"] == "Best Effort"
    assert not [name for name in DISPLAYS if name.startswith("/")]
