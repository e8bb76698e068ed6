"""How a mapping node answers from outside: TF, status, services and saves, measured over DDS.

python -m flashvggt_ros.ros.node_probe --json probe.json --seconds 60
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.task import Future
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.messages import stamp_ns
from flashvggt_ros.ros.stoppable_node import stoppable_node
from flashvggt_ros.srv import SaveMap

PROGRAM = "node_probe"
CALL_PERIOD_S = 0.25
MAP_FRAME = "map"
GIVE_UP_S = 10.0  # on an answer: the node is gone
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
FEW = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class NodeProbe:
    """Listens to the node ``target`` and calls its services; ``report`` sums up what was heard.

    ``info_topic``: camera_info that comes with each image, for the stamps alone. ``clouds``: so
    many subscribers of map_cloud. ``save``: name of a map to save again and again; empty: none.
    ``saves``: how often that was confirmed. Prints "saved", and how many images are "waiting".
    """

    def __init__(self, node: Node, target: str, info_topic: str, clouds: int, save: str) -> None:
        self.saves = 0
        self.answers: list[float] = []  # seconds until ~/pause answered
        self._node = node
        self._save_name = save
        self._statuses: list[tuple[float, MapStatus]] = []
        self._diagnostics: list[float] = []
        self._waiting: list[tuple[int, float]] = []  # stamps of images, and when they came
        self._tf_ns = 0
        self._tf_delays: list[float] = []
        self._tf_late: list[float] = []  # by which the tolerance of the time was exceeded
        self._tf_ages: list[float] = []
        self._clouds = [0] * clouds
        self._calls: dict[str, tuple[Future, float]] = {}  # in progress, and when they began
        base = "/" + target.strip("/")
        node.create_subscription(MapStatus, f"{base}/status", self._on_status, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_subscription(TFMessage, "/tf", self._on_tf, 100)
        if info_topic:
            node.create_subscription(CameraInfo, info_topic, self._on_image, FEW)
        for number in range(clouds):
            node.create_subscription(
                PointCloud2, f"{base}/map_cloud",
                lambda _, number=number: self._count_cloud(number), LATCHED,
                raw=True,  # reading them would delay all that is timed here
            )
        self._pause: Client = node.create_client(SetBool, f"{base}/pause")
        self._save: Client = node.create_client(SaveMap, f"{base}/save_map")
        node.create_timer(CALL_PERIOD_S, self._call)

    @property
    def status(self) -> MapStatus | None:
        """The newest one."""
        return self._statuses[-1][1] if self._statuses else None

    def report(self) -> dict[str, Any]:
        """Return all numbers; times in seconds, of the worst and of the 95th percentile."""
        counts = [status for _, status in self._statuses]
        times = [when for when, _ in self._statuses]
        last = self.status
        return {
            "saves": self.saves,
            "statuses": len(times),
            "status_period": _spread(np.diff(times)),
            "diagnostics_period": _spread(np.diff(self._diagnostics)),
            "queue_most": max((status.queue_length for status in counts), default=0),
            "unaccounted": max((abs(_balance(status)) for status in counts), default=0),
            "received": last.frames_received if last else 0,
            "used": last.frames_used if last else 0,
            "dropped": last.frames_dropped if last else 0,
            "waiting": last.queue_length if last else 0,
            "errors": sum(status.state == MapStatus.ERROR for status in counts),
            "message": last.message if last else "",
            "chunk_latency_p95": last.chunk_latency_p95_s if last else 0.0,
            "images": len(self._tf_delays),
            "tf_delay": _spread(self._tf_delays),
            "tf_late": self._tf_late,
            "tf_tolerance": last.tf_tolerance_s if last else 0.0,
            "tf_latency_p50": last.tf_latency_p50_s if last else 0.0,
            "tf_latency_p95": last.tf_latency_p95_s if last else 0.0,
            "tf_age": _spread(self._tf_ages),
            "tf_uncovered": len(self._waiting),
            "answers": len(self.answers),
            "answer": _spread(self.answers),
            "unanswered": len(self._calls),
            "clouds": self._clouds,
        }

    def _on_status(self, message: MapStatus) -> None:
        last = self.status
        if last is None or last.queue_length != message.queue_length:
            print(f"waiting {message.queue_length}", flush=True)
        self._statuses.append((time.monotonic(), message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnostics.append(time.monotonic())

    def _on_image(self, message: CameraInfo) -> None:
        """Wait for TF at the stamp of an image, from the first pose on."""
        now_ns = stamp_ns(message.header.stamp)
        if not self._tf_ns:
            return
        self._tf_ages.append((now_ns - self._tf_ns) * 1e-9)
        if self._tf_ns >= now_ns:
            self._tf_delays.append(0.0)
        else:
            self._waiting.append((now_ns, time.monotonic()))

    def _on_tf(self, message: TFMessage) -> None:
        stamps = [stamp_ns(entry.header.stamp) for entry in message.transforms
                  if entry.header.frame_id == MAP_FRAME]
        self._tf_ns = max([self._tf_ns, *stamps])
        now = time.monotonic()
        delays = [now - since for stamp, since in self._waiting if stamp <= self._tf_ns]
        tolerance = self.status.tf_tolerance_s if self.status else 0.0
        self._tf_delays += delays
        self._tf_late += [delay - tolerance for delay in delays if delay > tolerance]
        self._waiting = [entry for entry in self._waiting if entry[0] > self._tf_ns]

    def _count_cloud(self, number: int) -> None:
        self._clouds[number] += 1

    def _call(self) -> None:
        """Call ~/pause with false, which changes nothing, and ~/save_map; one of each at a time.

        Not while the node loads its model: of that time it promises nothing.
        """
        now = time.monotonic()
        if self.status is None or self.status.state == MapStatus.STARTING:
            return
        self._calls = {kind: (call, since) for kind, (call, since) in self._calls.items()
                       if not call.done() and now < since + GIVE_UP_S}
        if "pause" not in self._calls and self._pause.service_is_ready():
            call = self._pause.call_async(SetBool.Request(data=False))
            self._calls["pause"] = call, now
            call.add_done_callback(lambda _: self.answers.append(time.monotonic() - now))
        if self._save_name and "save" not in self._calls and self._save.service_is_ready():
            call = self._save.call_async(SaveMap.Request(name=self._save_name, overwrite=True))
            self._calls["save"] = call, now
            call.add_done_callback(self._on_saved)

    def _on_saved(self, call: Future) -> None:
        answer: Any = call.result()
        self.saves += answer.success
        print(f"saved {self.saves}" if answer.success else f"not saved: {answer.message}",
              flush=True)


def _balance(status: MapStatus) -> int:
    settled = (status.frames_used + status.frames_gated + status.frames_dropped
               + status.frames_rejected + status.queue_length)
    return int(status.frames_received - settled)


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    if not len(values):
        return {"p50": 0.0, "p95": 0.0, "most": 0.0}
    p50, p95, most = np.percentile(values, [50, 95, 100]).tolist()
    return {"p50": p50, "p95": p95, "most": most}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until the time is over, SIGINT or SIGTERM; return 0."""
    given = list(sys.argv if argv is None else [PROGRAM, *argv])
    arguments = _parser().parse_args(remove_ros_args(given)[1:])
    with stoppable_node(PROGRAM, given) as (node, stop):
        probe = NodeProbe(node, arguments.node, arguments.camera_info, arguments.clouds,
                          arguments.save)
        end = time.monotonic() + arguments.seconds
        while not stop.is_set and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)
        Path(arguments.json).write_text(json.dumps(probe.report()), "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--json", required=True, metavar="FILE", help="for what was measured")
    parser.add_argument("--node", default="mapping", help="name of the node, with its namespace")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S")
    parser.add_argument("--camera-info", default="", metavar="TOPIC",
                        help="that tells the stamps of images")
    parser.add_argument("--clouds", type=int, default=0, metavar="N",
                        help="subscribers of map_cloud")
    parser.add_argument("--save", default="", metavar="NAME", help="save the map again and again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
