"""How much of the first keyframes' view the newest still show."""

import numpy as np
import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.depth_sketch import DepthSketch
from flashvggt_ros.mapping.shared_view import SketchView, covisible, shared_view
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import TruthPredictor, covisibility, look, make_world, walk

CAMERA = Pinhole(40.0, 40.0, 27.5, 19.5, 56, 40)
WIDTH = 2.0 * 56 / 40  # of what is seen of a wall 2 m ahead [m]


def view(x: float = 0.0, depth: float = 2.0) -> SketchView:
    """A camera before a wall, ``x`` to the right of another one."""
    wall = np.full((40, 56), depth, np.float16)
    return SketchView(DepthSketch(wall, CAMERA), se3.pose(np.eye(3), np.array([x, 0, 0])))


@pytest.mark.parametrize("share", [1.0, 0.75, 0.25, 0.0])
def test_a_camera_that_moves_sideways_loses_what_leaves_the_other_image(share: float) -> None:
    moved = view((1 - share) * WIDTH)
    assert covisible(moved, [view()]).mean() == pytest.approx(share, abs=0.03)


def test_what_several_views_show_counts_once() -> None:
    moved = view(0.5 * WIDTH)
    assert covisible(moved, [view(), view()]).mean() == pytest.approx(0.5, abs=0.03)
    assert covisible(moved, [view(), view(WIDTH)]).mean() == pytest.approx(1.0, abs=0.03)


def test_a_surface_behind_another_one_is_not_shared() -> None:
    assert not covisible(view(depth=2.0), [view(depth=3.0)]).any()
    assert not covisible(view(depth=3.0), [view(depth=2.0)]).any()
    assert not covisible(view(depth=0.0), [view()]).any()


def test_a_camera_that_turned_round_shares_nothing() -> None:
    turned = view()
    back = se3.pose(np.diag([-1.0, 1.0, -1.0]), np.zeros(3))
    assert not covisible(SketchView(turned.sketch, back), [view()]).any()


def test_the_share_is_that_of_the_world_and_falls_as_the_robot_turns() -> None:
    world = make_world(walk(24))
    true = covisibility(world)
    config = build_config({
        "bundle_adjustment.enabled": False, "keyframe.min_motion": 0.0,
        "keyframe.min_confidence": 0.0,
    })
    slam = Slam(config, TruthPredictor(world))
    shares = []
    for number, frame in enumerate(world.frames):
        if slam.add_frame(frame) is not None:
            shares.append(shared_view(slam.map.live, 1))
            assert shares[-1] == pytest.approx(true[number, 0], abs=0.06)
    assert len(shares) == 3
    assert shares[0] > shares[1] + 0.2 > shares[2]


def test_nothing_is_said_before_there_are_as_many_new_keyframes_as_old_ones() -> None:
    world = make_world(np.stack([look((0, 0, 1.5), yaw, 0.0) for yaw in (0.0, 1.5, 3.0)]))
    slam = Slam(build_config({"keyframe.min_motion": 0.0}), TruthPredictor(world))
    for frame in world.frames:
        slam.add_frame(frame)
    slam.flush()
    assert shared_view(slam.map.live, 2) == 1.0
    assert shared_view(slam.map.live, 1) < 0.1
