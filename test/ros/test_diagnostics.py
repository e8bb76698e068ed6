"""What goes wrong in the map reaches ~/status and /diagnostics, with what to do about it."""

from collections import Counter

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from flashvggt_ros.config import build_config
from flashvggt_ros.ros.diagnostics import ModelIdentity, NodeState, diagnostic_array, map_status
from flashvggt_ros.ros.frame_ledger import FrameCounts
from flashvggt_ros.ros.worker_report import worker_report
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, TruthRobot, mount, photograph, roaming
from flashvggt_ros.worlds.furnished_room import furnished_room
from flashvggt_ros.worlds.paths import Mounts

RIG = {"left": mount(side=0.1), "right": mount(side=-0.1)}
WORLD = photograph(furnished_room(), roaming(6), RIG, pinhole=PINHOLE)
CONFIG = build_config({"keyframe.min_motion": 0.0, "bundle_adjustment.enabled": False})


def state_with(mounts: Mounts) -> NodeState:
    """The state of a node that has mapped WORLD with its cameras where TF has them."""
    slam = Slam(CONFIG, TruthPredictor(WORLD), TruthRobot(WORLD, mounts))
    for frame in WORLD.frames:
        slam.add_frame(frame)
    slam.flush()
    received = len(WORLD.frames)
    return NodeState(
        stamp_ns=WORLD.frames[-1].stamp_ns, is_active=True, is_paused=False,
        counts=FrameCounts(received=received, used=received), rejected=Counter(),
        report=worker_report(slam, "", 2, [0.1]), input_problems=(), missing_transform="",
        robot_problems=(), robot_rejected={}, conflicts=(), map_points=0, no_grid="",
        model=ModelIdentity("flashvggt-mini", "", "", True, "cpu"), backends={},
    )  # fmt: skip


@pytest.mark.parametrize(("yaw", "is_wrong"), [(0.0, False), (np.pi / 2, True)])
def test_cameras_that_do_not_sit_where_tf_has_them_are_told_of(yaw: float, is_wrong: bool) -> None:
    state = state_with(RIG | {"right": mount(side=-0.1, yaw=yaw)})
    text = "images see cameras"
    assert (text in map_status(state, CONFIG).message) is is_wrong
    (transforms,) = [
        status for status in diagnostic_array(state, CONFIG, "node").status
        if status.name.endswith("transforms")
    ]
    assert (text in transforms.message) is is_wrong
    assert transforms.level == (DiagnosticStatus.WARN if is_wrong else DiagnosticStatus.OK)
    assert ("check their transforms" in transforms.message) is is_wrong
    assert (state.report.scale_estimate is None) is is_wrong
