"""The mapping node on a bench: real DDS on loopback, and a predictor that knows the world."""

from __future__ import annotations

import array
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from flashvggt_ros.msg import MapStatus
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry, Path
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage

from flashvggt_ros.chunk_predictor import ChunkPredictor
from flashvggt_ros.config import Config
from flashvggt_ros.frame import Frame
from flashvggt_ros.ros.loading import LoadedModel
from flashvggt_ros.ros.messages import stamp_ns, time_message
from flashvggt_ros.ros.node import MappingNode
from flashvggt_ros.ros.node_state import ModelIdentity
from flashvggt_ros.ros.session import MappingSession
from flashvggt_ros.sensors.intake import Reduction, unreduced
from flashvggt_ros.worlds import World

RELIABLE = QoSProfile(depth=1000)
LATCHED = QoSProfile(
    depth=10,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
TRUTH = ModelIdentity("truth", "", "", True, "cpu")


def takes_all(config: Config) -> None:
    """Find nothing wrong with any configuration."""


def image_message(frame: Frame) -> Image:
    """The frame as a driver would publish it, rgb8."""
    height, width = frame.image.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame.camera
    message.header.stamp = time_message(frame.stamp_ns)
    message.data = array.array("B", frame.image.tobytes())
    return message


def depth_message(world: World, number: int) -> Image:
    """The depth of a frame of the world, with its stamp, 32FC1."""
    frame, depth = world.frames[number], world.depth_images([number])[0]
    height, width = depth.shape
    message = Image(height=height, width=width, encoding="32FC1", step=4 * width)
    message.header.frame_id = frame.camera
    message.header.stamp = time_message(frame.stamp_ns)
    message.data.frombytes(depth.astype("<f4").tobytes())
    return message


def total(status: MapStatus) -> int:
    """How many images the status accounts for."""
    return (
        status.frames_used
        + status.frames_gated
        + status.frames_dropped
        + status.frames_rejected
        + status.queue_length
    )


class Listener:
    """A node beside the mapping node that publishes images and keeps all that it hears."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.heard: dict[str, list[Any]] = defaultdict(list)
        for name, kind, qos in (
            ("/mapping/odometry", Odometry, RELIABLE),
            ("/mapping/path", Path, LATCHED),
            ("/mapping/cloud", PointCloud2, RELIABLE),
            ("/mapping/map_cloud", PointCloud2, LATCHED),
            ("/mapping/status", MapStatus, LATCHED),
            ("/diagnostics", DiagnosticArray, RELIABLE),
            ("/tf", TFMessage, RELIABLE),
        ):
            self.node.create_subscription(kind, name, self.heard[name].append, qos)

    @property
    def status(self) -> MapStatus | None:
        heard = self.heard["/mapping/status"]
        return heard[-1] if heard else None

    @property
    def transforms(self) -> list[TransformStamped]:
        """Everything that the node said on /tf."""
        return [
            transform
            for message in self.heard["/tf"]
            for transform in message.transforms
            if transform.header.frame_id == "map"
        ]

    def stamps(self, topic: str) -> list[int]:
        return [stamp_ns(message.header.stamp) for message in self.heard[topic]]


class NodeBench:
    """The mapping node and a listener, spun together; parameters as ``chunk__size=4``.

    ``is_started``: the node is active, else unconfigured. ``load`` stands in for ``predictor``.
    """

    def __init__(
        self,
        predictor: ChunkPredictor,
        reduction: Reduction = unreduced,
        is_started: bool = True,
        load: Callable[[Config], LoadedModel] | None = None,
        **parameters: Any,
    ) -> None:
        values = {
            "chunk__size": 4,
            "chunk__overlap": 1,
            "chunk__max_wait": 0.4,
            "publish__status_period": 0.05,
            "publish__map_cloud_period": 0.1,
            "bundle_adjustment__enabled": False,  # the predictor knows the world
        }
        overrides = [
            Parameter(name.replace("__", "."), value=value)
            for name, value in (values | parameters).items()
        ]
        self.node = MappingNode(
            load or (lambda config: LoadedModel(predictor, TRUTH, reduction, takes_all)),
            use_global_arguments=False,
            parameter_overrides=overrides,
        )
        self.helper = Node("helper", use_global_arguments=False)
        self.listener = Listener(self.helper)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.helper)
        if is_started:
            assert self.node.trigger_configure() == TransitionCallbackReturn.SUCCESS, self.failure
            assert self.node.trigger_activate() == TransitionCallbackReturn.SUCCESS, self.failure

    @property
    def session(self) -> MappingSession:
        """What the node has while it is configured."""
        assert self.node.session is not None
        return self.node.session

    @property
    def failure(self) -> str:
        """Why the node's last transition failed."""
        return self.node.failure

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def spin_until(self, condition: Callable[[], Any], seconds: float = 15.0) -> None:
        """Spin until ``condition`` holds; fails the test when it does not in time.

        A condition on the newest of what was heard does not hold while nothing was.
        """
        def holds() -> Any:
            try:
                return condition()
            except IndexError:
                return False

        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not reached in {seconds} s: {self.listener.status}"
            self.executor.spin_once(timeout_sec=0.01)

    def publisher(self, topic: str = "/image", kind: type = Image) -> Any:
        """A publisher that the node has subscribed to already."""
        publisher = self.helper.create_publisher(kind, topic, RELIABLE)
        self.spin_until(publisher.get_subscription_count)
        return publisher

    def play(self, publisher: Any, frames: Sequence[Frame], period: float = 0.0) -> None:
        for frame in frames:
            publisher.publish(image_message(frame))
            self.spin(period) if period else self.executor.spin_once(timeout_sec=0.0)

    def settle(self, received: int) -> MapStatus:
        """Wait until ``received`` images have come and none waits; return the status."""
        self.spin_until(
            lambda: (
                (status := self.listener.status) is not None
                and status.frames_received >= received
                and status.queue_length == 0
            )
        )
        status = self.listener.status
        assert status is not None
        return status

    def diagnosed(self, name: str) -> DiagnosticStatus:
        """What /diagnostics says next under this name."""
        found: list[DiagnosticStatus] = []
        heard = self.listener.heard["/diagnostics"]

        def is_heard() -> bool:
            parts = [part for message in heard for part in message.status]
            found[:] = [part for part in parts if part.name == f"/mapping: {name}"]
            return bool(found)

        heard.clear()
        self.spin_until(is_heard)
        return found[-1]

    def call(self, kind: type, name: str, request: Any) -> Any:
        """Call a service and return its response."""
        client = self.helper.create_client(kind, name)
        self.spin_until(client.service_is_ready)
        future = client.call_async(request)
        self.spin_until(future.done)
        self.helper.destroy_client(client)
        return future.result()

    def close(self) -> None:
        has_stopped = self.node.stop()
        self.executor.shutdown()
        self.helper.destroy_node()
        self.node.destroy_node()
        assert has_stopped
