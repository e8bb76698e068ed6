"""A running node in the live view: its topics on the page, its services behind the buttons."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import cv2
import numpy as np
import rclpy
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from numpy.typing import NDArray
from rclpy.client import Client
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.mapping.map_graph import MERGED
from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.msg import MapGraph, MapStatus
from flashvggt_ros.ros.clouds import read_cloud
from flashvggt_ros.ros.messages import matrix, stamp_ns
from flashvggt_ros.ros.stoppable_node import stoppable_node
from flashvggt_ros.sensors.compressed_images import check_compressed
from flashvggt_ros.sensors.image_decoding import decode_image
from flashvggt_ros.srv import SaveMap
from flashvggt_ros.viewer.camera_path import CameraPath
from flashvggt_ros.viewer.options import PROGRAM, open_page, view_parser
from flashvggt_ros.viewer.page import Page
from flashvggt_ros.viewer.status_lines import FrameRate, status_lines

PERIOD_S = 0.5  # least time between two pictures of the same topic
WORK_SHARE = 2.0  # drawing a topic takes no more than one part in so many, and one
SPIN_S = 0.02
SETTLED = ("used", "gated", "dropped", "rejected")
STATES = {
    getattr(MapStatus, name): name.lower()
    for name in ("STARTING", "WAITING", "MAPPING", "PAUSED", "ERROR", "UNCONFIGURED", "INACTIVE")
}
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
IMAGES = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
MOST_PICTURES, PICTURE_WIDTH = 2000, 160  # kept for the frustums, of so many pixels
MOST_MEGAPIXELS = 50.0  # of an image that is decoded


class NodeView:
    """Shows what the node ``target`` publishes, at a bounded rate. ``spin_once`` does all work."""

    def __init__(self, node: Node, target: str, image_topic: str, page: Page) -> None:
        self._node = node
        self._page = page
        self._target = target
        self._rate = FrameRate()
        self._wanted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._graph = MapGraph()
        self._pictures: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        namespace = target.rpartition("/")[0]
        self._newest = {
            topic: _Newest(node, kind, topic, show) for kind, topic, show in (
                (MapStatus, f"{target}/status", self._show_status),
                (PointCloud2, f"{target}/map_cloud", self._show_cloud),
                (MapGraph, f"{target}/graph", self._keep_graph),
                (Path, f"{target}/path", self._show_path),
                (OccupancyGrid, f"{namespace}/map", self._show_grid),
            )
        }
        node.create_subscription(Odometry, f"{target}/odometry", self._show_pose, 10)
        if image_topic:
            kind = CompressedImage if image_topic.endswith("/compressed") else Image
            node.create_subscription(kind, image_topic, self._keep_picture, IMAGES)
        self._pause: Client = node.create_client(SetBool, f"{target}/pause")
        self._reset: Client = node.create_client(Trigger, f"{target}/reset")
        self._save: Client = node.create_client(SaveMap, f"{target}/save_map")
        page.add_buttons(self)

    def spin_once(self) -> None:
        """Take messages, show what is due, and call the services that buttons ask for."""
        rclpy.spin_once(self._node, timeout_sec=SPIN_S)
        for newest in self._newest.values():
            newest.show_due()
        with contextlib.suppress(Empty):
            self._wanted.get_nowait()()

    def pause(self, *, is_paused: bool) -> None:
        """Call ~/pause."""
        self._call("pause", self._pause, SetBool.Request(data=is_paused))

    def reset(self) -> None:
        """Call ~/reset."""
        self._call("reset", self._reset, Trigger.Request())

    def save(self, name: str) -> None:
        """Call ~/save_map; a map of that name is not replaced."""
        self._call("save_map", self._save, SaveMap.Request(name=name))

    def _call(self, name: str, client: Client, request: Any) -> None:
        """Let the thread that spins call a service, and the page say what came of it."""
        def begin() -> None:
            if not client.service_is_ready():
                self._page.say(f"{name}: {self._target}/{name} is not there; is the node running?")
                return
            self._page.say(f"{name}: waiting for the node")
            client.call_async(request).add_done_callback(answered)

        def answered(call: Future) -> None:
            response: Any = call.result()
            self._page.say(f"{name}: {response.message}")

        self._wanted.put(begin)

    def _show_cloud(self, message: PointCloud2) -> None:
        self._page.show_cloud(*read_cloud(message))

    def _keep_graph(self, message: MapGraph) -> None:
        self._graph = message

    def _show_path(self, message: Path) -> None:
        frames = tuple(FrameStamp(stamp_ns(pose.header.stamp), "") for pose in message.poses)
        T_map_camera = np.array([matrix(pose.pose) for pose in message.poses]).reshape(-1, 4, 4)
        numbers = np.full(len(frames), MERGED)  # of an older node, and of poses newer than these
        known = np.array(self._graph.submaps, np.int64)[: len(frames)]
        numbers[: len(known)] = known
        loops = np.array(self._graph.loops, np.int64).reshape(-1, 2)
        path = CameraPath(frames, T_map_camera, numbers, loops)
        self._page.show_path(path, lambda frame: self._pictures.get(frame.stamp_ns))

    def _show_grid(self, message: OccupancyGrid) -> None:
        place, info = message.info.origin.position, message.info
        cells = np.array(message.data, np.int8).reshape(info.height, info.width)
        self._page.show_grid(Grid(info.resolution, np.array([place.x, place.y]), cells))

    def _show_pose(self, message: Odometry) -> None:
        self._page.show_pose(matrix(message.pose.pose))

    def _show_status(self, message: MapStatus) -> None:
        counts = {name: getattr(message, f"frames_{name}") for name in ("received", *SETTLED)}
        state = STATES.get(message.state, "unknown")
        words = "" if message.message == state else message.message
        memory = {"memory": message.host_memory_bytes, "GPU memory": message.gpu_memory_bytes}
        self._page.show_status(status_lines(
            state=state, frames=counts,
            rate=self._rate.update(sum(counts[name] for name in SETTLED)),
            chunk_latency_s=message.chunk_latency_s, submaps=message.submaps, loops=message.loops,
            scale=message.scale, scale_source=message.scale_source, is_metric=message.is_metric,
            memory={name: size for name, size in memory.items() if size},
        ), words)

    def _keep_picture(self, message: Image | CompressedImage) -> None:
        """Keep a small copy of an image; one that cannot be decoded is left out: the node says."""
        try:
            if isinstance(message, Image):
                image = decode_image(message, MOST_MEGAPIXELS)
            else:
                image = check_compressed(message, MOST_MEGAPIXELS).decode()
        except ValueError:
            return
        size = PICTURE_WIDTH, max(1, image.shape[0] * PICTURE_WIDTH // image.shape[1])
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        self._pictures[stamp_ns(message.header.stamp)] = small
        if len(self._pictures) > MOST_PICTURES:
            self._pictures.popitem(last=False)


class _Newest:
    """The newest message of a latched topic; it is shown when it is due."""

    def __init__(self, node: Node, kind: type, topic: str, show: Callable[[Any], None]) -> None:
        self._message: Any = None
        self._show = show
        self._due = 0.0
        node.create_subscription(kind, topic, self._keep, LATCHED)

    def _keep(self, message: Any) -> None:
        self._message = message

    def show_due(self) -> None:
        now = time.monotonic()
        if self._message is None or now < self._due:
            return
        message, self._message = self._message, None
        self._show(message)
        cost = time.monotonic() - now
        self._due = now + cost + max(PERIOD_S, WORK_SHARE * cost)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until SIGINT or SIGTERM; return 0, or 2 (misuse)."""
    given = list(sys.argv if argv is None else [PROGRAM, *argv])
    arguments = view_parser().parse_args(remove_ros_args(given)[1:])
    target = "/" + arguments.node.strip("/")
    try:
        with (
            stoppable_node(PROGRAM, given) as (node, stop),
            open_page(arguments) as page,
        ):
            view = NodeView(node, target, arguments.image, page)
            print(f"{PROGRAM}: listening to {target}, until Ctrl-C", flush=True)
            while not stop.is_set:
                view.spin_once()
    except ValueError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except NameValidationException as error:
        print(f"{PROGRAM}: --node or --image is no name in ROS: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
