"""Processes that are killed beside the node, and the node itself killed and started again."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from flashvggt_ros.msg import MapStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros.node_bench import LATCHED, RELIABLE, NodeBench, image_message
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

from flashvggt_ros.worlds import make_world, walk

pytestmark = pytest.mark.usefixtures("ros")
WORLD = make_world(walk(16))
NODE = [sys.executable, "-m", "flashvggt_ros.ros.node_process"]
PEER = """
import rclpy
from flashvggt_ros.ros.environment import add_wheels_to_prefix_path
add_wheels_to_prefix_path()
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
rclpy.init()
node = rclpy.create_node("peer")
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
node.create_subscription(PointCloud2, "/mapping/map_cloud", lambda cloud: None, latched)
node.create_publisher(Image, "/image", 10)
rclpy.spin(node)
"""


def process(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def killed(child: subprocess.Popen[str]) -> str:
    child.kill()
    return child.communicate(timeout=20)[0]


def test_a_peer_that_is_killed_disturbs_nobody(bench: Any) -> None:
    it: NodeBench = bench()
    peer = process([sys.executable, "-c", PEER])
    try:
        it.spin_until(lambda: it.helper.count_publishers("/image") == 1, seconds=60.0)
        it.spin_until(lambda: it.helper.count_subscribers("/mapping/map_cloud") == 2)
    finally:
        killed(peer)
    images = it.publisher()
    begin = time.monotonic()
    for number in range(0, 16, 4):
        it.play(images, WORLD.frames[number : number + 4], period=0.01)
        assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=False)).success
    it.settle(16)
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    assert it.listener.status.frames_used == 16
    assert time.monotonic() - begin < 10.0  # a reader that is gone holds nobody up


class Watcher:
    """Feeds the walk round and round, and hears what comes of it."""

    def __init__(self) -> None:
        self.node = Node("watcher", use_global_arguments=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "/image", RELIABLE)
        self.status: list[MapStatus] = []
        self.transforms: list[TFMessage] = []
        self.node.create_subscription(MapStatus, "/mapping/status", self.status.append, LATCHED)
        self.node.create_subscription(TFMessage, "/tf", self.transforms.append, RELIABLE)
        self._rounds = enumerate(itertools.cycle(WORLD.frames))

    def feed_until(
        self, is_reached: Callable[[], Any], child: subprocess.Popen[str], seconds: float = 60.0
    ) -> None:
        end = time.monotonic() + seconds
        while not is_reached():
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < end, self.status[-1:]
            number, frame = next(self._rounds)
            stamp_ns = WORLD.frames[0].stamp_ns + number * 50_000_000
            self.images.publish(image_message(dataclasses.replace(frame, stamp_ns=stamp_ns)))
            self.spin(0.03)

    def late_clouds(self) -> list[PointCloud2]:
        """What somebody is given who asks for the map now."""
        clouds: list[PointCloud2] = []
        late = self.node.create_subscription(
            PointCloud2, "/mapping/map_cloud", clouds.append, LATCHED
        )
        self.spin(0.3)
        self.node.destroy_subscription(late)
        return clouds

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def watcher(ros: None) -> Any:
    made = Watcher()
    yield made
    made.close()


def test_a_node_that_is_killed_and_started_again_maps_on(watcher: Watcher) -> None:
    command = [
        *NODE, "--ros-args", "-p", "chunk.size:=4", "-p", "device:=cpu",
        "-p", "publish.map_cloud_period:=0.1",
    ]  # fmt: skip
    first = process(command)
    try:
        watcher.feed_until(lambda: watcher.transforms, first)
        watcher.feed_until(watcher.late_clouds, first)
    finally:
        killed(first)
    watcher.status.clear()
    watcher.transforms.clear()
    assert watcher.late_clouds() == []  # what the dead one published is not given to anybody
    second = process(command)
    try:
        watcher.feed_until(lambda: watcher.transforms, second)
        second.send_signal(signal.SIGTERM)
        output = second.communicate(timeout=20)[0]
    finally:
        second.kill()
        second.wait()
    assert second.returncode == 0, output
    assert watcher.status[0].frames_used == 0


LOSING = """
import sys
from flashvggt_ros.ros import node_lifetime
from flashvggt_ros.ros.node_process import main

load = node_lifetime.load_model

def load_failing(config):
    model = load(config)
    def lost(frames, cache):
        raise RuntimeError("CUDA error: unspecified launch failure")
    model.predictor.predict = lost
    return model

node_lifetime.load_model = load_failing
sys.exit(main(["--ros-args", "-p", "device:=cpu", "-p", "chunk.size:=4"]))
"""


def test_a_process_that_loses_its_gpu_says_so_and_exits_with_75(watcher: Watcher) -> None:
    child = process([sys.executable, "-c", LOSING])
    try:
        watcher.feed_until(
            lambda: watcher.status and watcher.status[-1].state == MapStatus.ERROR, child
        )
        output = child.communicate(timeout=20)[0]
    finally:
        child.kill()
        child.wait()
    assert child.returncode == os.EX_TEMPFAIL == 75, output
    assert "the GPU is lost to this process" in output
    assert "the GPU is lost to this process" in watcher.status[-1].message
