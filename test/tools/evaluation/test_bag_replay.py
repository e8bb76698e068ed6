import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded_bag import raw_image, record, write_bag

from flashvggt_ros.tools.evaluation.bag_replay import replay_bag
from flashvggt_ros.worlds import make_world, walk

ORPHAN = """
import os, signal, time
from pathlib import Path
from flashvggt_ros.tools.evaluation.bag_replay import ProgressLines
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a job that a shell's script starts
signal.signal(signal.SIGTERM, lambda number, frame: Path("stopped").touch())
lines, parent = ProgressLines(5), os.getppid()
lines.update()
Path("started").touch()
while os.getppid() == parent:
    time.sleep(0.02)
time.sleep(0.25)
lines.update()
"""
PARENT = """
import subprocess, sys, time
from pathlib import Path
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
while not Path("started").exists():
    time.sleep(0.02)
"""


def test_the_log_keeps_what_is_said_and_progress_is_watched(tmp_path, tiny_checkpoint):
    bag = record(tmp_path / "bag", make_world(walk(9)).frames)
    steps = []
    replay_bag([str(bag), "--output", str(tmp_path / "run"), "--checkpoint", str(tiny_checkpoint)],
               tmp_path / "walk.log", lambda read, total: steps.append((read, total)))
    said = (tmp_path / "walk.log").read_text()
    assert "9 frames read" in said and "progress 9 of 9" in said
    assert steps == sorted(steps) and all(total == 9 for _, total in steps)


def test_a_bag_whose_images_are_all_rejected_says_what_is_wrong_with_them(
    tmp_path, tiny_checkpoint
):
    messages = [raw_image(frame) for frame in make_world(walk(3)).frames]
    for message in messages:
        message.encoding = "teapot"
    bag = write_bag(tmp_path / "bag", [("/image", n, m) for n, m in enumerate(messages)])
    with pytest.raises(ValueError, match=r"none of 3 frames .* 3 were rejected: 3 unknown_encodin"):
        replay_bag([str(bag), "--output", str(tmp_path / "run"), "--checkpoint",
                    str(tiny_checkpoint)], tmp_path / "walk.log")


def test_a_replay_whose_caller_is_gone_stops(tmp_path):
    root = str(Path(__file__).resolve().parents[3])
    subprocess.run([sys.executable, "-c", PARENT, ORPHAN], cwd=tmp_path, check=True, timeout=60,
                   env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not (tmp_path / "stopped").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
