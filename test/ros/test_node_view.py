"""A real node, and the live view beside it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from ros.node_bench import image_message

from flashvggt_ros.worlds import make_world, walk

viewer = pytest.importorskip("viser")
from flashvggt_ros.ros.node_view import NodeView  # noqa: E402
from flashvggt_ros.viewer.page import Page  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
WORLD = make_world(walk(16))


@pytest.fixture
def page():
    with Page("127.0.0.1", 8400, 2_000_000) as page:
        yield page


class Watched:
    """The view of a bench's node; both are spun together."""

    def __init__(self, bench, page, image_topic=""):
        self.bench = bench
        self.node = rclpy.create_node("view", use_global_arguments=False)
        self.view = NodeView(self.node, "/mapping", image_topic, page)

    def spin_until(self, is_done, seconds=15.0):
        end = time.monotonic() + seconds
        while not is_done():
            assert time.monotonic() < end, f"not reached: {self.bench.listener.status}"
            self.bench.executor.spin_once(timeout_sec=0.0)
            self.view.spin_once()

    def play(self, frames):
        publisher = self.bench.publisher()
        self.spin_until(lambda: publisher.get_subscription_count() >= 2)
        for frame in frames:
            publisher.publish(image_message(frame))
            for _ in range(3):
                self.bench.executor.spin_once(timeout_sec=0.0)
                self.view.spin_once()


@pytest.fixture
def watched(bench, page):
    made = Watched(bench(submap__max_frames=8, publish_unscaled=True), page, "/image")
    yield made
    made.node.destroy_node()


def test_the_map_path_pictures_and_status_of_a_node_reach_the_page(watched, page):
    scene = page._server.scene._handle_from_node_name
    watched.play(WORLD.frames)
    watched.spin_until(lambda: watched.bench.listener.status.frames_used == len(WORLD.frames))
    heard = watched.bench.listener.heard
    watched.spin_until(lambda: page.cloud.shown_points == heard["/mapping/map_cloud"][-1].width > 0)
    count = len(heard["/mapping/path"][-1].poses)
    watched.spin_until(lambda: len([n for n in scene if n.startswith("/frustums/1")]) >= count > 3)
    frustums = [scene[name] for name in scene if name.startswith("/frustums/1")]
    assert all(frustum.image is not None for frustum in frustums)
    assert len({tuple(frustum.color) for frustum in frustums}) >= 2, "submaps have colors"
    watched.spin_until(lambda: f"| frames used | {len(WORLD.frames)} |" in page._status.content)
    assert "| state | mapping |" in page._status.content
    watched.spin_until(lambda: "the unit of the map is not a meter" in page._status.content)
    lines = scene["/path/line"].points
    assert np.allclose(lines[1:, 0], lines[:-1, 1])


def test_buttons_call_the_services_of_the_node_and_say_what_came_of_it(watched, page):
    watched.view.pause(is_paused=True)
    watched.spin_until(lambda: page._answer.content == "pause: paused: images are dropped")
    assert watched.bench.session.is_paused
    watched.view.pause(is_paused=False)
    watched.spin_until(lambda: not watched.bench.session.is_paused)
    watched.view.save("live_view")
    watched.spin_until(lambda: "no map yet" in page._answer.content)
    watched.view.reset()
    watched.spin_until(lambda: page._answer.content == "reset: the map is empty")


def test_a_node_that_is_not_there_is_said(ros, page):
    node = rclpy.create_node("view", use_global_arguments=False)
    view = NodeView(node, "/nobody", "", page)
    view.reset()
    view.spin_once()
    assert "is the node running?" in page._answer.content
    node.destroy_node()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_a_page_until_a_signal_and_ends_well(tmp_path, number):
    log = tmp_path / "view.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flashvggt_ros.view", "--port", "8450"], cwd=ROOT,
            stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    end = time.monotonic() + 30
    while "until Ctrl-C" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait(20) == 0, log.read_text()
    assert "live view: http://127.0.0.1:84" in log.read_text()
