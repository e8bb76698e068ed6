"""What goes wrong in the map reaches ~/status and /diagnostics, with what to do about it."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from flashvggt_ros.config import build_config
from flashvggt_ros.mapping.map_archive import save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.diagnostics import diagnostic_array
from flashvggt_ros.ros.frame_ledger import DROPS, FrameCounts
from flashvggt_ros.ros.lifecycle_report import LifecycleReport, node_diagnostic
from flashvggt_ros.ros.map_status import map_status
from flashvggt_ros.ros.memory_use import MemoryUse, memory_use
from flashvggt_ros.ros.node_state import ModelIdentity, NodeState
from flashvggt_ros.ros.qos_watch import QosReport
from flashvggt_ros.ros.stream_watch import StreamReport
from flashvggt_ros.ros.tf_watch import UNKNOWN, TfReport
from flashvggt_ros.ros.worker_report import worker_report
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, TruthRobot, mount, photograph, roaming
from flashvggt_ros.worlds.furnished_room import furnished_room
from flashvggt_ros.worlds.paths import Mounts

RIG = {"left": mount(side=0.1), "right": mount(side=-0.1)}
WORLD = photograph(furnished_room(), roaming(6), RIG, pinhole=PINHOLE)
MODEL = MapModel("truth", "", "")
DOCUMENT = Path(__file__).parents[2] / "docs" / "diagnostics.md"
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
        report=worker_report(slam, "", 2, [0.1]), streams=(), conflicts=(), input_problems=(),
        qos=QosReport({}, ()), tf=TfReport(0, 0.0, 2.0, UNKNOWN, UNKNOWN, UNKNOWN), jumps_back=0,
        memory=MemoryUse(0, 0), missing_transform="",
        robot_problems=(), robot_rejected={}, map_points=0, no_grid="",
        model=ModelIdentity("flashvggt-mini", "", "", True, "cpu"), backends={},
    )  # fmt: skip


def test_localization_without_a_map_is_told_of(tmp_path: Path) -> None:
    state = state_with(RIG)
    config = replace(CONFIG, mode="localization")
    slam = Slam(config, TruthPredictor(WORLD), TruthRobot(WORLD, RIG))

    def said() -> tuple[bool, int]:
        now = replace(state, report=worker_report(slam, "", 0, []))
        levels = {part.name: part.level for part in diagnostic_array(now, config, "node").status}
        return "no map is loaded" in map_status(now, config).message, levels["node: mapping"]

    assert said() == (True, DiagnosticStatus.WARN)
    mapped = Slam(CONFIG, TruthPredictor(WORLD), TruthRobot(WORLD, RIG))
    for frame in WORLD.frames:
        mapped.add_frame(frame)
    save_map(tmp_path / "room", mapped.map, CONFIG, MODEL)
    slam.load_map(tmp_path / "room", MODEL)
    assert said() == (False, DiagnosticStatus.OK)
    assert not state.report.map_problem


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


def full_state() -> NodeState:
    """A state with an entry of every kind."""
    return replace(
        state_with(RIG),
        counts=FrameCounts(received=9, used=4, drops={"queue_full": 2, "failed": 1}),
        rejected=Counter(truncated=1),
        streams=(StreamReport("/cam", 29.97, 0.02, is_stalled=False, offset_s=0.0),),
        qos=QosReport({"/cam": "/driver: RELIABLE, VOLATILE"}, ()),
        tf=TfReport(1, 0.0, 2.0, 0.5, 0.2, 0.4),
        jumps_back=1,
        robot_rejected={"/odom": Counter(stamp_zero=1)},
        backends={"cv_bridge": "built-in stand-in"},
    )


def documented_keys() -> list[re.Pattern[str]]:
    """The keys in the tables of docs/diagnostics.md; words in capitals stand for anything."""
    tables = DOCUMENT.read_text(encoding="utf-8").split("| key | meaning |\n|---|---|\n")[1:]
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()]
    keys = [key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])]
    return [re.compile(re.sub(r"\b[A-Z]{4,}\b", r"\\S+", re.escape(key))) for key in keys]


def test_every_key_is_documented_and_every_documented_key_is_there() -> None:
    node = node_diagnostic(LifecycleReport("active", False, "", ()), "/mapping")
    statuses = [*diagnostic_array(full_state(), CONFIG, "/mapping").status, node]
    published = [value.key for status in statuses for value in status.values]
    patterns = documented_keys()
    assert [key for key in published if not any(p.fullmatch(key) for p in patterns)] == []
    assert [p.pattern for p in patterns if not any(map(p.fullmatch, published))] == []
    text = DOCUMENT.read_text(encoding="utf-8")
    names = [status.name.removeprefix("/mapping: ") for status in statuses]
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == names
    assert all(f"`{cause}`" in text for cause in DROPS)


def test_the_numbers_for_programs_and_those_for_people_are_the_same() -> None:
    state = full_state()
    status = map_status(state, CONFIG)
    values = {
        value.key: value.value
        for part in diagnostic_array(state, CONFIG, "node").status for value in part.values
    }
    assert values["dropped: queue_full [frames]"] == "2"
    assert dict(zip(status.dropped_causes, status.dropped_counts, strict=True)) == {
        "failed": 1, "queue_full": 2,
    }
    assert (status.frames_dropped, status.queue_length) == (3, 2)
    assert values["waiting, at most [frames]"] == str(status.queue_limit) == "48"
    assert values["/cam: rate [Hz]"] == "30.0"
    assert list(status.image_rates) == pytest.approx([29.97])
    assert (values["TF age [s]"], values["image to TF, 95th percentile [s]"]) == ("0.500", "0.400")


def test_memory_is_that_of_this_process_and_of_no_gpu_that_is_not_used() -> None:
    use = memory_use()
    held = bytearray(100_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert memory_use().host_bytes > use.host_bytes + 0.9 * len(held)
    assert memory_use().gpu_bytes == 0


@pytest.mark.parametrize(
    ("age_s", "newest_ns", "text"),
    [(-1.0, 1, "stamps are not on this clock"), (-1.0, 0, "no pose is on TF"), (0.1, 1, "0.1")],
)
def test_the_age_of_tf_is_only_said_where_it_is_known(
    age_s: float, newest_ns: int, text: str
) -> None:
    state = replace(full_state(), tf=TfReport(newest_ns, 0.0, 2.0, age_s, UNKNOWN, UNKNOWN))
    transforms = diagnostic_array(state, CONFIG, "node").status[-1]
    assert text in transforms.values[0].value


def test_tf_that_is_older_than_promised_is_a_warning_with_a_remedy() -> None:
    state = replace(full_state(), tf=TfReport(1, 3.0, 2.0, 3.1, 0.2, 0.4))
    transforms = diagnostic_array(state, CONFIG, "node").status[-1]
    assert transforms.level == DiagnosticStatus.WARN
    assert "TF is 3.0 s behind the images" in transforms.message
    assert "lower the rate of the images" in map_status(state, CONFIG).message
    assert map_status(state, CONFIG).has_warning


def test_a_loop_leaves_the_stamp_at_which_it_was_closed() -> None:
    state = full_state()
    mapping = next(
        s for s in diagnostic_array(state, CONFIG, "n").status if s.name.endswith("mapping")
    )
    assert "none yet" in [value.value for value in mapping.values]
    report = replace(state.report, last_loop_ns=12_500_000_000)
    mapping = diagnostic_array(replace(state, report=report), CONFIG, "n").status[3]
    assert "12.500" in [value.value for value in mapping.values]
