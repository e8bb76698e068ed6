"""Which transform is published, after REP-105, against known chains of frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flashvggt_ros.config import TfConfig
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.ros.pose_placer import LATEST, Edge, EdgeRepeater, PosePlacer
from flashvggt_ros.worlds import look

STAMP_NS = 1_700_000_000_123_456_789
FRAME = FrameStamp(STAMP_NS, "camera_optical")
T_MAP_CAMERA = look((1.0, 2.0, 0.5), 0.7, 0.1)
T_BASE_CAMERA = look((0.2, 0.0, 0.3), 0.0, 0.2)
T_ODOM_BASE = look((4.0, 1.0, 0.0), 0.6)


class Tree:
    """Transforms by name; ``from_ns`` says since when one can be looked up at a stamp."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[NDArray[np.float64], int]] = {}
        self.roots: dict[str, str] = {}

    def root(self, frame: str) -> str:
        return self.roots.get(frame, frame)

    def set(self, target: str, source: str, T: NDArray[np.float64], from_ns: int = 0) -> None:
        self.known[target, source] = (T, from_ns)

    def lookup(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        if (target, source) not in self.known:
            raise LookupError(f"{source} is unknown")
        T, from_ns = self.known[target, source]
        if stamp_ns != LATEST and stamp_ns < from_ns:
            raise LookupError("extrapolation into the past")
        return T


def placer(tree: Tree, **frames: str) -> PosePlacer:
    return PosePlacer(TfConfig(**frames), tree.lookup, tree.root)


def test_without_a_base_the_first_camera_is_published() -> None:
    subject = placer(Tree())
    subject.first_camera = "camera_optical"
    placement = subject.place(FRAME, T_MAP_CAMERA)
    (edge,) = placement.edges
    assert (edge.parent, edge.child, edge.stamp_ns) == ("map", "camera_optical", STAMP_NS)
    assert np.array_equal(edge.T_parent_child, T_MAP_CAMERA)
    assert (placement.child, placement.missing) == ("camera_optical", "")


def test_without_a_base_a_camera_that_something_carries_keeps_its_one_parent() -> None:
    tree = Tree()
    tree.roots["camera_optical"] = "camera_link"
    subject = placer(tree)
    subject.first_camera = "camera_optical"
    unknown = subject.place(FRAME, T_MAP_CAMERA)
    assert unknown.edges == ()
    assert "camera_link" in unknown.missing
    tree.set("camera_link", "camera_optical", T_BASE_CAMERA)
    placement = subject.place(FRAME, T_MAP_CAMERA)
    (edge,) = placement.edges
    assert (edge.parent, edge.child, edge.stamp_ns) == ("map", "camera_link", STAMP_NS)
    assert np.allclose(edge.T_parent_child @ T_BASE_CAMERA, T_MAP_CAMERA, atol=1e-12)
    assert (placement.child, placement.missing) == ("camera_optical", "")


def test_without_a_base_a_second_camera_has_odometry_but_no_transform() -> None:
    subject = placer(Tree())
    subject.first_camera = "camera_optical"
    placement = subject.place(FrameStamp(STAMP_NS, "other_optical"), T_MAP_CAMERA)
    assert placement.edges == ()
    assert placement.child == "other_optical"


@pytest.mark.parametrize("base_frame", ["", "base_link"])
def test_a_camera_whose_frame_is_that_of_the_map_has_no_transform(base_frame: str) -> None:
    tree = Tree()
    tree.set("base_link", "map", T_BASE_CAMERA)  # which is what this node would have said
    subject = placer(tree, base_frame=base_frame)
    subject.first_camera = "map"
    placement = subject.place(FrameStamp(STAMP_NS, "map"), T_MAP_CAMERA)
    assert placement.edges == ()
    assert "tf.map_frame" in placement.missing


def test_with_a_base_map_to_base_leads_to_the_camera() -> None:
    tree = Tree()
    tree.set("base_link", "camera_optical", T_BASE_CAMERA)
    placement = placer(tree, base_frame="base_link").place(FRAME, T_MAP_CAMERA)
    (edge,) = placement.edges
    assert (edge.parent, edge.child, placement.child) == ("map", "base_link", "base_link")
    np.testing.assert_allclose(edge.T_parent_child @ T_BASE_CAMERA, T_MAP_CAMERA, atol=1e-12)
    np.testing.assert_allclose(placement.T_map_child @ T_BASE_CAMERA, T_MAP_CAMERA, atol=1e-12)


def test_with_odometry_the_chain_from_map_to_camera_closes() -> None:
    tree = Tree()
    tree.set("base_link", "camera_optical", T_BASE_CAMERA)
    tree.set("odom", "base_link", T_ODOM_BASE)
    placement = placer(tree, base_frame="base_link", odom_frame="odom").place(FRAME, T_MAP_CAMERA)
    (edge,) = placement.edges
    assert (edge.parent, edge.child) == ("map", "odom")
    np.testing.assert_allclose(
        edge.T_parent_child @ T_ODOM_BASE @ T_BASE_CAMERA, T_MAP_CAMERA, atol=1e-12
    )
    assert placement.child == "base_link"


def test_while_the_camera_is_not_on_the_base_nothing_is_invented() -> None:
    placement = placer(Tree(), base_frame="base_link").place(FRAME, T_MAP_CAMERA)
    assert placement.edges == ()
    assert placement.child == "camera_optical"
    assert np.array_equal(placement.T_map_child, T_MAP_CAMERA)
    assert "base_link" in placement.missing


def test_without_any_odometry_on_tf_the_base_hangs_on_the_map() -> None:
    tree = Tree()
    tree.set("base_link", "camera_optical", T_BASE_CAMERA)
    placement = placer(tree, base_frame="base_link", odom_frame="odom").place(FRAME, T_MAP_CAMERA)
    assert [(edge.parent, edge.child) for edge in placement.edges] == [("map", "base_link")]
    assert "odom->base_link" in placement.missing


def test_the_base_never_gets_a_second_parent_once_odometry_was_seen() -> None:
    tree = Tree()
    tree.set("base_link", "camera_optical", T_BASE_CAMERA)
    tree.set("odom", "base_link", T_ODOM_BASE, from_ns=STAMP_NS + 1)
    subject = placer(tree, base_frame="base_link", odom_frame="odom")
    assert subject.place(FRAME, T_MAP_CAMERA).edges == ()  # it exists, but not at this stamp
    del tree.known["odom", "base_link"]
    assert subject.place(FRAME, T_MAP_CAMERA).edges == ()  # it existed


def test_map_to_odom_is_carried_to_the_newest_image() -> None:
    repeater = EdgeRepeater("odom")
    repeater.update(Edge("map", "odom", T_ODOM_BASE, STAMP_NS))
    edge = repeater.edge(STAMP_NS + 500)
    assert edge is not None and edge.stamp_ns == STAMP_NS + 500
    assert np.array_equal(edge.T_parent_child, T_ODOM_BASE)


def test_a_pose_is_repeated_with_the_stamp_it_was_measured_at() -> None:
    repeater = EdgeRepeater("odom")
    assert repeater.edge(STAMP_NS) is None
    repeater.update(Edge("map", "base_link", T_ODOM_BASE, STAMP_NS))
    edge = repeater.edge(STAMP_NS + 500)
    assert edge is not None and edge.stamp_ns == STAMP_NS
    repeater.update(None)
    assert repeater.edge(STAMP_NS + 500) is None
