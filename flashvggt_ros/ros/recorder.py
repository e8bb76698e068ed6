"""flashvggt_record: write down what a mapping node publishes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from numpy.typing import NDArray
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.counts import number
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map_io import write_ply, write_tum
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.clouds import read_cloud
from flashvggt_ros.ros.messages import matrix, stamp_ns
from flashvggt_ros.ros.recording_folder import RecordingFolder
from flashvggt_ros.ros.stop_request import StopRequest
from flashvggt_ros.ros.stoppable_node import stoppable_node

PROGRAM = "flashvggt_record"
QUEUE_DEPTH = 1000
STATUS_TYPE = "flashvggt_ros/msg/MapStatus"
TF = "/tf"  # which others publish, too
NOTICE_S = 10.0  # without a message, until it is said that none came
EXAMPLES = """example:
  flashvggt_record --output out/live --node mapping

Stop it with Ctrl-C. Writes trajectory.tum (the newest path: poses as corrected since),
odometry.tum (the last odometry of each stamp: poses as a robot was told them), map.ply (the newest
map cloud), status.jsonl (each status as it comes) and report.json (messages by topic)."""


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until SIGINT, SIGTERM or the duration's end.

    Return 0, 1 (nothing came, so nothing was written) or 2 (misuse, or it cannot be written).
    """
    given = list(sys.argv if argv is None else [PROGRAM, *argv])
    arguments = _parser().parse_args(remove_ros_args(given)[1:])
    folder = expanded(arguments.output)
    with stoppable_node("flashvggt_record", given) as (node, stop):
        try:
            with RecordingFolder(folder) as recording:
                recorder = Recorder(node, arguments.node, recording)
                _spin(recorder, stop, arguments.duration or float("inf"))
                if not recording.has_begun:
                    print(f"{PROGRAM}: {recorder.nothing_came()}; nothing was written to {folder}",
                          file=sys.stderr)
                    return 1
                print(f"{PROGRAM}: {recorder.write()}")
        except OSError as error:
            print(f"{PROGRAM}: cannot write to {folder}: {error}", file=sys.stderr)
            return 2
        except NameValidationException as error:
            print(f"{PROGRAM}: --node {arguments.node}: {error}", file=sys.stderr)
            return 2
        except ValueError as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return 2
    return 0


class Recorder:
    """Keeps what the node ``target`` publishes; status lines go to ``folder`` as they come."""

    def __init__(self, node: Node, target: str, folder: RecordingFolder) -> None:
        self.node = node
        self.folder = folder
        self.messages: Counter[str] = Counter()
        self._odometry: dict[tuple[int, str], NDArray[np.float64]] = {}
        self._odometry_rejected = 0
        self._children: set[str] = set()
        self._transforms: set[str] = set()
        self._path: PathMessage | None = None
        self._cloud: PointCloud2 | None = None
        self._base = base = "/" + target.strip("/")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, kind, keep, qos in (
            (f"{base}/odometry", Odometry, self._keep_odometry, QUEUE_DEPTH),
            (f"{base}/path", PathMessage, self._keep_path, 10),
            (f"{base}/cloud", PointCloud2, self._count_only, 10),
            (f"{base}/map_cloud", PointCloud2, self._keep_cloud, latched),
            (f"{base}/status", MapStatus, self._keep_status, QUEUE_DEPTH),
            (TF, TFMessage, self._keep_transforms, QUEUE_DEPTH),
        ):
            self.messages[topic] = 0
            node.create_subscription(kind, topic, self._counted(topic, keep), qos)

    def nothing_came(self) -> str:
        """Say that the node published nothing, and which nodes could be meant instead."""
        mapping = sorted(
            topic.removesuffix("/status")
            for topic, types in self.node.get_topic_names_and_types()
            if STATUS_TYPE in types and self.node.count_publishers(topic)
        )
        return (f"nothing came from {self._base}; mapping nodes that are seen: "
                f"{', '.join(mapping) or 'none'} (--node NAME names one)")

    def write(self) -> str:
        """Write the files and return a line that sums them up."""
        folder = self.folder.path
        keys = sorted(self._odometry)
        told = np.array([self._odometry[key] for key in keys]).reshape(-1, 4, 4)
        write_tum(folder / "odometry.tum", [stamp for stamp, _ in keys], told)
        path = {stamp_ns(entry.header.stamp): _pose(entry.pose)
                for entry in (self._path.poses if self._path else ())}
        stamps = sorted(stamp for stamp, T in path.items() if T is not None)
        poses = np.array([path[stamp] for stamp in stamps]).reshape(-1, 4, 4)
        write_tum(folder / "trajectory.tum", stamps, poses)
        points, colors = np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8)
        if self._cloud is not None:
            points, colors = read_cloud(self._cloud)
        write_ply(folder / "map.ply", points, colors)
        report = {
            "tool": PROGRAM,
            "messages": dict(self.messages),
            "poses": len(stamps),
            "poses_rejected": len(path) - len(stamps),
            "odometry_rejected": self._odometry_rejected,
            "map_points": len(points),
            "odometry_child_frames": sorted(self._children),
            "transforms": sorted(self._transforms),
        }
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        return f"{len(stamps)} poses, {len(points)} points in {folder}"

    def _counted(self, topic: str, keep: Any) -> Any:
        def callback(message: Any) -> None:
            self.messages[topic] += 1
            if topic != TF:
                self.folder.begin()
            keep(message)

        return callback

    def _keep_odometry(self, message: Odometry) -> None:
        key = (stamp_ns(message.header.stamp), message.child_frame_id)
        T_map_child = _pose(message.pose.pose)
        if T_map_child is None:
            self._odometry_rejected += 1
            return
        self._odometry[key] = T_map_child
        self._children.add(message.child_frame_id)

    def _keep_path(self, message: PathMessage) -> None:
        self._path = message

    def _keep_cloud(self, message: PointCloud2) -> None:
        self._cloud = message

    def _keep_status(self, message: MapStatus) -> None:
        self.folder.add_status(json.dumps(_plain(message)))

    def _keep_transforms(self, message: TFMessage) -> None:
        for entry in message.transforms:
            self._transforms.add(f"{entry.header.frame_id}->{entry.child_frame_id}")

    def _count_only(self, message: Any) -> None:
        """Keep nothing: the newest chunk's cloud is part of the map cloud."""


def _spin(recorder: Recorder, stop: StopRequest, duration_s: float) -> None:
    """Record until a signal comes or the time is over; say once where nothing comes at all."""
    start = time.monotonic()
    is_said = False
    while not stop.is_set and time.monotonic() - start < duration_s:
        rclpy.spin_once(recorder.node, timeout_sec=0.1)
        if not is_said and time.monotonic() - start > NOTICE_S:
            is_said = True
            if not recorder.folder.has_begun:
                print(f"{PROGRAM}: {recorder.nothing_came()}; waiting", file=sys.stderr, flush=True)


def _pose(message: Any) -> NDArray[np.float64] | None:
    """T (4, 4) of a Pose; None where it is not finite or no rotation."""
    try:
        T = matrix(message)
    except ValueError:
        return None
    return T if np.isfinite(T).all() else None


def _plain(value: Any) -> Any:
    """Turn a message into JSON: messages are objects, arrays are lists, NaN is null."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: _plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (str, int, bool)):
        return value
    return [_plain(entry) for entry in value]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write down what a mapping node publishes: trajectory, map, status.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--node", default="mapping", help="name of the node, with its namespace")
    parser.add_argument("--duration", type=number, default=0.0, metavar="S",
                        help="stop after S seconds; 0: at Ctrl-C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
