"""A replay on the page, and afterwards what it wrote."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from recorded_bag import record

from flashvggt_ros.config import build_config
from flashvggt_ros.model.checkpoint import CheckpointCard
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.replay import Replay, main
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

pytest.importorskip("viser")
from flashvggt_ros.tools.replay_view import ReplayView
from flashvggt_ros.tools.saved_view import show_folder
from flashvggt_ros.viewer.page import Page

ROOT = Path(__file__).resolve().parents[2]
CARD = CheckpointCard("truth", "0" * 64, is_trained=True, parameters=0, revision="")
WORLD = make_world(walk(16))
VALUES = {
    "image_topics": ["/camera/image_raw"], "bundle_adjustment.enabled": False, "chunk.size": 4,
    "submap.max_frames": 8, "publish_unscaled": True,
}


class Growth(ReplayView):
    """Notes how many points were on the page after each image."""

    def __init__(self, page):
        super().__init__(page)
        self.points = []

    def show(self, replay, state="mapping"):
        self._due = 0.0
        super().show(replay, state)
        self.points.append(self._page.cloud.shown_points)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bag") / "bag", WORLD.frames)


@pytest.fixture
def page():
    with Page("127.0.0.1", 8600, 2_000_000) as page:
        yield page


@pytest.fixture
def replay(bag, page):
    with Bag(bag) as opened:
        yield Replay(opened, build_config(VALUES), TruthPredictor(WORLD), CARD,
                     observer=Growth(page))


def frustums(page):
    handles = page._server.scene._handle_from_node_name
    return [handles[name] for name in handles if name.startswith("/frustums/")]


def test_the_map_grows_on_the_page_and_a_saved_run_looks_like_its_end(replay, page, tmp_path):
    replay.run()
    points = replay._observer.points
    assert 0 < points[8] < points[-1] == len(replay.slam.map.cloud()[0])
    assert len(frustums(page)) == len(WORLD.frames)
    assert all(frustum.image is not None for frustum in frustums(page))
    assert len({tuple(frustum.color) for frustum in frustums(page)}) > 1
    assert "| state | finished: end of bag |" in page._status.content
    assert f"| frames used | {len(WORLD.frames)} |" in page._status.content
    folder = RunFolder(tmp_path / "run")
    folder.create()
    replay.write(folder)
    with Page("127.0.0.1", 8600, 2_000_000) as saved:
        for shown in (folder.path, folder.path / "map"):
            show_folder(shown, saved)
            assert saved.cloud.shown_points == points[-1]
            assert len(frustums(saved)) == len(WORLD.frames)
        places = {frustum.name: frustum.position for frustum in frustums(page)}
        for frustum in frustums(saved):
            assert np.allclose(places[frustum.name], frustum.position, atol=1e-6)
        assert "| submaps | " in saved._status.content


def test_a_run_without_a_map_folder_is_shown_too(replay, page, tmp_path):
    replay.run()
    folder = RunFolder(tmp_path / "run")
    folder.create()
    replay.write(folder)
    (folder.path / "map").rename(tmp_path / "elsewhere")
    page.show_cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    show_folder(folder.path, page)
    assert page.cloud.shown_points > 0
    assert f"| frames used | {len(WORLD.frames)} |" in page._status.content


def test_a_pause_stops_the_bag_until_it_is_over(replay):
    replay._observer.pause(is_paused=True)
    thread = threading.Timer(0.5, lambda: replay._observer.pause(is_paused=False))
    thread.start()
    begin = time.monotonic()
    replay.run()
    assert time.monotonic() - begin > 0.5
    assert replay.frames.read == len(WORLD.frames)
    thread.join()


def test_a_replay_needs_a_folder_or_a_view(bag, capsys):
    assert main([str(bag)]) == 2
    assert "--output" in capsys.readouterr().err


def test_the_command_shows_a_bag_until_a_signal_and_writes_nothing(bag, tiny_checkpoint, tmp_path):
    log = tmp_path / "view.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flashvggt_ros.view", str(bag), "--port", "8650",
             "--checkpoint", str(tiny_checkpoint), "--device", "cpu"],
            cwd=tmp_path, stdout=output, stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
    end = time.monotonic() + 60
    while "stays until Ctrl-C" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, log.read_text()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["view.log"]
