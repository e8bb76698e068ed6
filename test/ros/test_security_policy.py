"""The SROS2 policy allows what the node does, and nothing else."""

import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

import pytest
from ros.node_bench import NodeBench

from flashvggt_ros.ros.bond import TOPIC
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

pytestmark = pytest.mark.usefixtures("ros")

POLICY = Path(__file__).parents[2] / "config" / "sros2" / "policy.xml"
OF_BOND = {f"/{TOPIC}"}  # which bondpy hears and says, where it is installed
SINCE_JAZZY = {"/mapping/get_type_description"}


def allowed(kind: str, way: str) -> set[str]:
    """Full names of what the policy allows."""
    (profile,) = ElementTree.parse(POLICY).iter("profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "mapping")
    return {f"/{entry.text}" for group in profile.findall(f"{kind}s[@{way}='ALLOW']")
            for entry in group.findall(kind)}


@pytest.fixture
def bench():
    bench = NodeBench(
        TruthPredictor(make_world(walk(2))), tf__base_frame="base_link",
        use_sim_time=True, robot__odometry_topic="odom", robot__imu_topic="imu",
        robot__depth_topics=["depth"],
    )
    yield bench
    bench.close()


def test_the_policy_allows_what_the_node_does_and_nothing_else(bench: NodeBench) -> None:
    node, name, space = bench.helper, "mapping", "/"
    bench.spin_until(lambda: node.count_subscribers("/image") and node.count_subscribers("/odom"))
    bench.spin(0.2)
    used = {
        ("topic", "subscribe"): node.get_subscriber_names_and_types_by_node(name, space),
        ("topic", "publish"): node.get_publisher_names_and_types_by_node(name, space),
        ("service", "reply"): node.get_service_names_and_types_by_node(name, space),
        ("service", "request"): node.get_client_names_and_types_by_node(name, space),
    }
    for (kind, way), found in used.items():
        names = {name for name, _ in found}
        if kind == "topic":
            names |= OF_BOND
        if way == "reply" and find_spec("rclpy.type_description_service") is None:
            names |= SINCE_JAZZY
        assert allowed(kind, way) == names
