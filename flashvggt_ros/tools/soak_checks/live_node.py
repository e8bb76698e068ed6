"""The real node in a process of its own, images for it, and a probe that measures it from outside.

All speak DDS on loopback, in a ROS domain that nobody else uses.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flashvggt_ros.tools.child_process import Child, loopback_environment
from flashvggt_ros.tools.sample_bag import Recipe, make_sample_bag

WARM_UP, LAST_PART = 0.3, 0.65  # shares of a run, after which memory is looked at
START_TIMEOUT_S = 120.0
SETTLE_S = 2.5  # for the last images to come, and a chunk that is not full to be mapped
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What a node is given, for ``seconds``: see image_feed and node_probe for the rest.

    ``arrival``: an image may take that much longer than its camera_info, by which the probe learns
    of it [s].
    """

    seconds: float
    rate: float = 30.0
    cameras: int = 1
    feed: tuple[str, ...] = ()
    clouds: int = 0
    arrival: float = 0.0
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> list[str]:
        """Image topics."""
        return [f"/camera_{number}/image" for number in range(self.cameras)]


def sample_images(folder: Path) -> Path:
    """Render the walk whose images the feed repeats: half a minute on two cores."""
    bag = folder / "images"
    make_sample_bag(bag, Recipe(seconds=6.0, rate=10.0, width=320, height=240))
    return bag


def measure(load: Load, bag: Path, folder: Path) -> dict[str, Any]:
    """Run a node under load; return what the probe measured and memory [bytes] by time.

    Raises ChildError where a process ends badly, also the node when it is asked to stop.
    """
    folder.mkdir()
    env = own_environment()
    report = folder / "probe.json"
    arguments = ["--json", str(report), "--clouds", str(load.clouds), "--camera-info",
                 load.topics[0].rpartition("/")[0] + "/camera_info"]
    with ExitStack() as stack:
        node = stack.enter_context(start_node(load.topics, load.parameters, env, folder))
        feed = stack.enter_context(start_feed(bag, load, env, folder))
        probe = stack.enter_context(start_probe(arguments, env, folder))
        wait(lambda: "mapping with" in _text(folder / "node.log"), (node, feed, probe))
        memory, begun = [], time.monotonic()
        while not feed.has_ended():
            for child in (node, probe):
                child.check_running()
            memory.append((time.monotonic() - begun, resident(node.pid)))
            time.sleep(POLL_S)
        time.sleep(SETTLE_S)
        wait(lambda: _waiting(folder / "probe.log") == 0, (node, probe))
    measured: dict[str, Any] = json.loads(report.read_text("utf-8"))
    sent = int((folder / "feed.log").read_text("utf-8").split()[-1])
    return {**measured, "sent": sent * load.cameras, "memory": memory}


def own_environment() -> dict[str, str]:
    """Return an environment in which children run this very source, installed or not."""
    return {**loopback_environment(), "PYTHONPATH": os.pathsep.join(sys.path)}


def start_node(
    topics: Sequence[str], parameters: Mapping[str, str], env: Mapping[str, str], folder: Path
) -> Child:
    """Start a node with odometry on TF; its log is node.log."""
    values = {"image_topics": str(list(topics)), "tf.base_frame": "base_link",
              "tf.odom_frame": "odom", **parameters}
    arguments = ["--ros-args"]
    for name, value in values.items():
        arguments += ["-p", f"{name}:={value}"]
    return Child("node_process", "flashvggt_ros.ros.node_process", arguments, env,
                 folder / "node.log")


def start_feed(bag: Path, load: Load, env: Mapping[str, str], folder: Path) -> Child:
    """Start the images, which wait for the node; the log is feed.log."""
    arguments = [str(bag), "--topics", *load.topics, "--rate", str(load.rate), "--seconds",
                 str(load.seconds), *load.feed]
    return Child("image_feed", "flashvggt_ros.ros.image_feed", arguments, env, folder / "feed.log")


def start_probe(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> Child:
    """Start the probe; its log is probe.log."""
    return Child("node_probe", "flashvggt_ros.ros.node_probe", arguments, env,
                 folder / "probe.log")


def wait(is_reached: Callable[[], bool], children: Sequence[Child]) -> None:
    """Wait for something to happen; ChildError where a process ends, or nothing happens."""
    end = time.monotonic() + START_TIMEOUT_S
    while not is_reached():
        for child in children:
            child.check_running()
        if time.monotonic() > end:
            children[0].kill()
            children[0].check_running()
        time.sleep(0.05)


def resident(pid: int) -> int:
    """Memory of a process that is in RAM now [bytes]; Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return 0


def growth(memory: Sequence[tuple[float, int]]) -> float:
    """How much higher memory rose in the last part of a run than in the middle one [bytes].

    The highest of each counts: images that wait come and go.
    """
    last = memory[-1][0]
    middle = [size for when, size in memory if WARM_UP < when / last <= LAST_PART]
    end = [size for when, size in memory if when / last > LAST_PART]
    return float(max(end) - max(middle or end))


def _waiting(log: Path) -> int:
    lines = [line for line in _text(log).splitlines() if line.startswith("waiting ")]
    return int(lines[-1].split()[1]) if lines else 0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
