"""One camera's topics: images, raw or compressed, and camera_info."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from flashvggt_ros.config import Config
from flashvggt_ros.ros.images import image_converter
from flashvggt_ros.ros.qos_watch import endpoint_name
from flashvggt_ros.ros.stream_watch import StreamReport, StreamWatch, drift_problem
from flashvggt_ros.sensors.intake import CameraIntake, CheckedImage, Reduction
from flashvggt_ros.sensors.rejected_input import RejectedInput

logger = logging.getLogger(__name__)

TYPES = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}
LOST = (
    "; best effort loses images of many megabytes whole: set image.qos to reliable, here and at "
    "the driver, or publish compressed images, or enlarge the sockets' buffers (docs/operation.md)"
)
MOST_REFUSED = 8  # images in a row; five prove that stamps have jumped, and the next one is taken
MESSAGES = {"raw": Image, "compressed": CompressedImage}


class CameraInput:
    """Subscribes to an image topic, raw or compressed as it is carried, and checks images.

    ``transport`` auto begins with what the topic's name suggests, so that no first image is missed,
    and changes to the type of whoever publishes on the topic where that differs. Where nobody does,
    but somebody publishes compressed images on ``<topic>/compressed``, that topic is taken instead,
    until that is so the other way round.
    ``take(image)`` is called with every image, None in place of one that is rejected. Topic names
    are relative to the node's namespace and can be remapped. Nothing comes before open().
    """

    def __init__(
        self,
        node: Node,
        index: int,
        config: Config,
        take: Callable[[CheckedImage | None], None],
        reduction: Reduction,
        now_ns: Callable[[], int],
    ) -> None:
        self._node = node
        self._config = config
        self._take = take
        self._has_said_type = False
        transports = config.image.transports
        self._transport = transports[index] if len(transports) > 1 else transports[0]
        self._named = resolved_topic(node, "image_topics", config.image_topics[index])
        self.topic = self._named
        self.intake = CameraIntake(
            self.topic, config.image, image_converter(), reduction, now_ns
        )
        self.frame = ""  # frame_id of the newest image, empty before the first
        self.is_connected = False
        uses_info = config.predictor.use_camera_info
        self._info_topic = self._resolved_info_topic(index) if uses_info else ""
        self._info: Subscription | None = None
        self._stream = StreamWatch()
        self._subscription: Subscription | None = None
        self._subscribed = ("", "")
        self._polls = 0
        self._refused = 0  # images in a row
        self._refusal = ""  # why the newest of them was

    @property
    def problem(self) -> str:
        """Why no images come, or none is of use, in words; empty otherwise, and while closed."""
        if self._subscription is None:
            return ""
        if not self.is_connected and not self._stream.has_begun:
            return f"no image publisher on {self.topic} yet"
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        stream = self.stream
        silence = f"no image on {self.topic} for {stream.silence_s:.1f} s"
        if not publishers:
            return f"{silence}, and nobody publishes there: start the camera's driver"
        if not stream.is_stalled:
            is_refused = self._refused >= MOST_REFUSED
            return f"all images on {self.topic} are refused: {self._refusal}" if is_refused else ""
        may_be_lost = not self._stream.has_begun and self._config.image.qos == "sensor_data"
        return (
            f"{silence}, though it is published by {', '.join(map(endpoint_name, publishers))}: "
            f"check the camera, its driver and the network{LOST if may_be_lost else ''}"
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """What is subscribed to with the reliability that image.qos asks for, while open."""
        return (self.topic, self._info_topic) if self._info_topic else (self.topic,)

    @property
    def stream(self) -> StreamReport:
        """How its images come."""
        return self._stream.report(self.topic)

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing comes of a publisher of another type than the topic's name suggests.

        One process cannot listen for both types: who publishes the right one has to be looked for.
        """
        is_other = self._transport == "auto" and self._subscribed[1] != _suggested(self.topic)
        is_silent = not self._stream.has_begun or self.stream.is_stalled
        return self.is_connected and is_other and is_silent

    def open(self) -> None:
        """Begin to take images, also after close()."""
        self._refused = 0
        self.frame = ""
        self._stream = StreamWatch()
        if self._info_topic:
            self._info = self._node.create_subscription(
                CameraInfo, self._info_topic, self._on_camera_info, self._qos()
            )
        self.connect()

    def close(self) -> None:
        """Take no more images; counts, and the stamps that came, are kept."""
        for subscription in filter(None, (self._info, self._subscription)):
            self._node.destroy_subscription(subscription)
        self._info = self._subscription = None
        self._subscribed = ("", "")
        self._polls = 0
        self.is_connected = False
        self.intake.order.pause()

    def connect(self) -> None:
        """Subscribe, and follow the type of the topic's publisher; call it steadily.

        A driver that was started anew may have another type: it is looked for while nothing comes.
        """
        if self.is_connected and not (self.is_doubtful or self.stream.is_stalled):
            return
        transport = self._transport if self._transport != "auto" else self._published(self.topic)
        if not transport and self._polls > 0:  # raw and compressed appear together: raw goes first
            compressed = f"{self._named}/compressed"
            if self._published(compressed) == "compressed":
                self.topic, transport = compressed, "compressed"
            elif self.topic == compressed and (transport := self._published(self._named)):
                self.topic = self._named
        if transport and not (self.is_connected and self._subscribed == (self.topic, transport)):
            self._subscribe(transport)
            self.is_connected = True
            if not self._stream.has_begun:
                self._stream = StreamWatch()  # no silence of before counts
            logger.info("images from %s (%s)", self.topic, transport)
        elif self._polls == 0:
            self._subscribe(_suggested(self.topic))
            logger.info("waiting for a publisher on %s", self.topic)
        self._polls += 1

    def _subscribe(self, transport: str) -> None:
        if self._subscribed == (self.topic, transport):
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._node.create_subscription(
            MESSAGES[transport], self.topic, self._on_image, self._qos()
        )
        self._subscribed = (self.topic, transport)

    def _published(self, topic: str) -> str:
        """How images on ``topic`` are carried: raw, compressed or, if nobody publishes, empty."""
        publishers = self._node.get_publishers_info_by_topic(topic)
        carried = {TYPES[info.topic_type] for info in publishers if info.topic_type in TYPES}
        if publishers and not carried and not self._has_said_type:
            self._has_said_type = True
            logger.warning("%s carries %s, not images", topic, publishers[0].topic_type)
        return "raw" if "raw" in carried else next(iter(carried), "")

    def _resolved_info_topic(self, index: int) -> str:
        if self._config.image.camera_info_topics:
            topic = self._config.image.camera_info_topics[index]
            return resolved_topic(self._node, "image.camera_info_topics", topic)
        folder = self.topic.removesuffix("/compressed").rpartition("/")[0]
        return f"{folder}/camera_info"

    def _qos(self) -> QoSProfile:
        is_reliable = self._config.image.qos == "reliable"
        return QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=self._config.image.queue_size,
            reliability=QoSReliabilityPolicy.RELIABLE
            if is_reliable
            else QoSReliabilityPolicy.BEST_EFFORT,
        )

    def _on_image(self, message: Any) -> None:
        try:
            image = self.intake.check(message)
        except RejectedInput as rejection:  # the intake counts it and says it once
            self._refused, self._refusal = self._refused + 1, str(rejection)
            self._stream.arrived()
            self._take(None)
            return
        self._refused = 0
        self.frame = image.camera
        self._stream.arrived(image.stamp_ns)
        self._take(image)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self.intake.set_camera_info(message)
        except RejectedInput:  # the intake counts it and says it once
            return


def _suggested(topic: str) -> str:
    """How a topic's name says that its images are carried."""
    return "compressed" if topic.endswith("/compressed") else "raw"


def input_problems(cameras: Sequence[CameraInput], clock_problem: str) -> tuple[str, ...]:
    """Say what keeps images away: a clock that stands still keeps them all, and is said alone."""
    if clock_problem:
        return (clock_problem,)
    problems = [camera.problem for camera in cameras]
    problems.append(drift_problem([camera.stream for camera in cameras]))
    return tuple(filter(None, [*problems, *_shared_frames(cameras)]))


def _shared_frames(cameras: Sequence[CameraInput]) -> list[str]:
    """Say which topics bring images of one frame: all else tells cameras apart by it."""
    topics: dict[str, list[str]] = {}
    for camera in cameras:
        topics.setdefault(camera.frame, []).append(camera.topic)
    return [
        f"images of {' and '.join(named)} have the same frame_id '{frame}', and are taken for "
        "those of one camera: let each driver name its own optical frame"
        for frame, named in topics.items()
        if frame and len(named) > 1
    ]


def check_topics(node: Node, cameras: Sequence[CameraInput]) -> None:
    """Raise ValueError where cameras share a topic, or take one that the node has already.

    Ask before they open, and once the node has all else. camera_info may be that of several
    cameras.
    """
    images = [camera.topic for camera in cameras]
    for topic in images:
        if images.count(topic) > 1:
            raise ValueError(
                f"image_topics names {topic} twice, after remapping: name each camera once"
            )
    taken = topics_in_use(node)
    for camera in cameras:
        for topic in camera.topics:
            is_image_too = topic != camera.topic and topic in {other.topic for other in cameras}
            if topic in taken or is_image_too or camera.topics.count(topic) > 1:
                raise ValueError(
                    f"{topic} is to bring images or camera_info, but is in use here for something "
                    "else: correct image_topics, image.camera_info_topics or robot.*"
                )


def topics_in_use(node: Node) -> set[str]:
    """The full names of what a node publishes and subscribes to."""
    published = {publisher.topic_name for publisher in node.publishers}
    return published | {subscription.topic_name for subscription in node.subscriptions}


def resolved_topic(node: Node, parameter: str, topic: str) -> str:
    """The full name of a topic after remapping; ValueError for what is no topic name."""
    try:
        validate_topic_name(topic)
        return str(node.resolve_topic_name(topic))
    except (InvalidTopicNameException, RuntimeError) as error:  # of rcl: too long, {unknown}
        raise ValueError(f"{parameter} has '{topic}', which is no topic name: {error}") from None
