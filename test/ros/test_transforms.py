import time

import numpy as np
import pytest
from ros_graph import ros_graph
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from flashvggt_ros.ros.messages import matrix, stamp_ns
from flashvggt_ros.ros.transforms import TransformTree, TransformUnavailable, check_frame_name

SECOND = 1_000_000_000


def pose(x=0.0, y=0.0, z=0.0, rotvec=(0.0, 0.0, 0.0)):
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:3, 3] = x, y, z
    return T


@pytest.fixture
def trees():
    """A tree that speaks, a tree that listens, and the graph that they share."""
    with ros_graph() as graph:
        speaker, listener = TransformTree(graph.node("speaker")), TransformTree(graph.node("ear"))
        yield speaker, listener, graph
        speaker.close()
        listener.close()


def hear(graph, tree, target, source, stamp):
    def is_known():
        try:
            tree.lookup(target, source, stamp)
        except TransformUnavailable:
            return False
        return True

    graph.spin_until(is_known)


def test_what_one_broadcasts_the_other_looks_up_interpolated(trees):
    speaker, listener, graph = trees
    graph.spin_until(lambda: graph.nodes[0].count_subscribers("/tf") == 2)
    T_odom_base = pose(1, 2, 3, (0.1, -0.2, 0.4))
    speaker.broadcast(
        [
            ("map", "odom", pose(10, rotvec=(0, 0, 0.2)), SECOND),
            ("map", "odom", pose(20, rotvec=(0, 0, 0.4)), SECOND + 4),
            ("odom", "base", T_odom_base, SECOND),
            ("odom", "base", T_odom_base, SECOND + 4),
        ]
    )
    hear(graph, listener, "map", "base", SECOND + 1)
    expected = pose(12.5, rotvec=(0, 0, 0.25)) @ T_odom_base
    found = listener.lookup("map", "base", SECOND + 1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.dtype == np.float64
    back = listener.lookup("base", "map", SECOND + 1)
    np.testing.assert_allclose(back @ expected, np.eye(4), atol=1e-9)
    newest = listener.lookup("map", "odom", 0)
    np.testing.assert_allclose(newest, pose(20, rotvec=(0, 0, 0.4)), atol=1e-9)


def test_a_transform_of_the_future_does_not_keep_those_of_now_away(trees):
    speaker, listener, graph = trees
    graph.spin_until(lambda: graph.nodes[0].count_subscribers("/tf") == 2)
    speaker.broadcast([("odom", "base", pose(1), SECOND)])
    speaker.broadcast([("odom", "base", pose(50), 3600 * SECOND)])
    speaker.broadcast([("odom", "base", pose(3), 2 * SECOND)])
    hear(graph, listener, "odom", "base", 2 * SECOND)
    found = listener.lookup("odom", "base", 3 * SECOND // 2)
    np.testing.assert_allclose(found, pose(2), atol=1e-9)


def test_a_node_is_not_warned_of_its_own_transforms(trees, caplog):
    speaker, _, graph = trees
    graph.spin_until(lambda: graph.nodes[0].count_subscribers("/tf") == 2)
    speaker.broadcast([("map", "base", pose(1), SECOND)])
    speaker.broadcast([("map", "base", pose(1), 60 * SECOND)])  # images came after a while only
    graph.spin_until(lambda: caplog.text)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        graph.executor.spin_once(timeout_sec=0.02)
    assert caplog.text.count("a transform of 'base' is stamped 59.0 s after") == 1  # the other's


def test_a_transform_that_is_not_there_is_refused_at_once_with_the_reason(trees):
    _, listener, _ = trees
    began = time.monotonic()
    with pytest.raises(TransformUnavailable, match=r"'camera' to 'base' at 5 ns.*does not exist"):
        listener.lookup("base", "camera", 5)
    with pytest.raises(TransformUnavailable):
        listener.lookup("/base", "camera", 5)
    with pytest.raises(LookupError):
        listener.lookup("", "camera", 0)
    assert time.monotonic() - began < 1.0


def test_the_root_of_a_frame_is_the_topmost_one_below_the_map(trees):
    speaker, listener, graph = trees
    assert listener.root("camera", "map") == "camera"
    graph.spin_until(lambda: graph.nodes[0].count_subscribers("/tf") == 2)
    chain = [("map", "odom"), ("odom", "base"), ("base", "camera"), ("odom", "lift")]
    speaker.broadcast([(parent, child, pose(1), SECOND) for parent, child in chain])
    hear(graph, listener, "map", "camera", SECOND)
    assert listener.root("camera", "map") == "odom"
    assert listener.root("camera", "odom") == "base"
    assert listener.root("map", "map") == "map"
    speaker.broadcast([("lift", "odom", pose(1), 2 * SECOND)])  # a loop must not hang
    graph.spin_until(lambda: listener.root("camera", "map") == "lift")


def test_a_broadcast_is_one_message_with_exact_stamps(trees):
    speaker, _, graph = trees
    heard = []
    graph.nodes[1].create_subscription(TFMessage, "/tf", heard.append, 10)
    graph.spin_until(lambda: graph.nodes[0].count_subscribers("/tf") == 3)
    stamp = 1_700_000_000_123_456_789
    T_map_base = pose(1, 2, 3, (0.3, 0.2, 0.1))
    speaker.broadcast([("map", "base", T_map_base, stamp), ("base", "camera", pose(), stamp + 1)])
    speaker.broadcast([])
    graph.spin_until(lambda: bool(heard))
    (message,) = heard
    first, second = message.transforms
    assert (first.header.frame_id, first.child_frame_id) == ("map", "base")
    assert (stamp_ns(first.header.stamp), stamp_ns(second.header.stamp)) == (stamp, stamp + 1)
    np.testing.assert_allclose(matrix(first.transform), T_map_base, atol=1e-12)


@pytest.mark.parametrize("name", ["", "/map"])
def test_a_frame_name_that_tf2_would_not_take_is_refused(trees, name):
    with pytest.raises(ValueError, match="frame name"):
        check_frame_name(name)
    with pytest.raises(ValueError, match="frame name"):
        trees[0].broadcast([(name, "base", pose(), 1)])
    assert check_frame_name("robot1/base_link") == "robot1/base_link"


def test_a_frame_whose_name_is_no_yaml_leaves_the_others_usable(trees):
    speaker, listener, graph = trees
    speaker.broadcast([("map", "camera", pose(x=1.0), SECOND), ("it's: {", "x\ny", pose(), SECOND)])
    hear(graph, listener, "map", "camera", SECOND)
    assert listener.root("camera", "map") == "camera"
