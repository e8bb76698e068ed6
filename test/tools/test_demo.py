import json
import os

import pytest

from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.tools.child_process import Child, ChildError
from flashvggt_ros.tools.demo import _draw, _has_rested, _is_settled, run_live
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.tools.sample_bag import Recipe, make_sample_bag


def status(**changes):
    counts = {"frames_received": 10, "frames_used": 6, "frames_gated": 2, "frames_dropped": 1,
              "frames_rejected": 1, "queue_length": 0}
    return {**counts, **changes}


def test_the_demo_is_over_when_every_image_has_met_its_fate():
    assert _is_settled(status())
    assert not _is_settled(status(frames_used=5))
    assert not _is_settled(status(queue_length=1))
    assert not _is_settled(dict.fromkeys(status(), 0))


def test_the_demo_waits_until_the_last_submap_is_finished():
    assert not _has_rested(status(cache_frames=24))
    assert _has_rested(status(cache_frames=0))
    assert _has_rested(status(cache_frames=7))  # less than a chunk of its own


def child(tmp_path, name, code):
    (tmp_path / "childish.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return Child(name, "childish", [], env, tmp_path / "child.log")


def test_a_child_that_fails_is_quoted(tmp_path):
    code = "import sys; print('out of coffee'); sys.exit(3)"
    with (  # noqa: PT012
        pytest.raises(ChildError, match=r"no_such_command ended[\s\S]*out of coffee"),
        child(tmp_path, "no_such_command", code) as broken,
    ):
        while True:
            broken.check_running()


def test_a_child_is_stopped_by_sigint_and_must_end_well(tmp_path):
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = (
        heed + "import time\ntry: print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: "
    )
    with child(tmp_path, "no_such_command", code + "pass") as good:
        while "up" not in (tmp_path / "child.log").read_text():
            good.check_running()
    with (  # noqa: PT012
        pytest.raises(ChildError, match="exit code 5"),
        child(tmp_path, "no_such_command", "import sys\n" + code + "sys.exit(5)") as bad,
    ):
        while "up" not in (tmp_path / "child.log").read_text():
            bad.check_running()


def test_node_player_and_recorder_map_a_bag_over_dds(tmp_path, tiny_checkpoint):
    pytest.importorskip("rclpy")
    recipe = Recipe(seconds=2.0, rate=10.0, width=160, height=120)
    make_sample_bag(tmp_path / "sample", recipe)
    folder = RunFolder(tmp_path / "out")
    folder.create()
    report = run_live(tmp_path / "sample", recipe.frames, folder, str(tiny_checkpoint), "cpu")
    assert report["frames_received"] == 20
    assert report["frames_lost_on_the_way"] == 0
    assert report["frames_received"] == sum(
        report[f"frames_{fate}"] for fate in ("used", "gated", "dropped", "rejected")
    )
    stamps, _ = read_tum(folder.path / "trajectory.tum")
    truth_stamps, _ = read_tum(tmp_path / "sample/groundtruth.tum")
    assert len(stamps) == report["frames_used"] > 5
    assert set(stamps) <= set(truth_stamps)
    assert len(read_ply(folder.path / "map.ply")[0]) == report["map_points"] > 100
    assert report["messages"]["/mapping/odometry"] >= len(stamps)
    assert json.loads((folder.path / "report.json").read_text()) == report
    _draw(folder, report, tmp_path / "sample", recipe.camera)
    for picture in ("map_top.png", "scene.png"):
        assert (folder.path / picture).read_bytes().startswith(b"\x89PNG")
    RunFolder(folder.path)  # takes the next run as well
