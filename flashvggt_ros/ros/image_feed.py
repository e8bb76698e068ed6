"""The images of a bag, there and back again without end, at any rate and size: load for a node.

python -m flashvggt_ros.ros.image_feed BAG --topics /left/image /right/image --rate 30
"""

from __future__ import annotations

import argparse
import itertools
import struct
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.messages import matrix, transform_stamped
from flashvggt_ros.ros.stop_request import StopRequest
from flashvggt_ros.ros.stoppable_node import stoppable_node
from flashvggt_ros.sensors.bag_reader import Bag, BagError
from flashvggt_ros.sensors.compressed_images import check_compressed

PROGRAM = "image_feed"
MOST_BYTES = 600_000_000  # of the images kept ready
STAMP = struct.Struct("<iI")
STAMP_AT = 4  # of a message that begins with a header, behind the encapsulation of its CDR
CAMERA_FRAME = "camera_optical"
R_BASE_CAMERA = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # base: x ahead, z up (REP-103)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
FEW = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class ImageFeed:
    """Publishes images on each topic, all with one stamp, and camera_info beside them.

    ``size``: (width, height) they are scaled to, or None; ``is_raw``: as Image, not as JPEG;
    ``is_still``: the first one only; ``is_reliable``: not best effort. Messages
    are ready as bytes in which only the stamp changes.
    camera_info has no calibration: who is interested in stamps alone can listen to it. Where the
    bag knows the camera's pose, the robot's odometry is on TF: odom->base_link->camera_optical.
    """

    def __init__(
        self, node: Node, bag: Bag, topics: Sequence[str], size: tuple[int, int] | None,
        *, is_raw: bool, is_still: bool, is_reliable: bool,
    ) -> None:
        self._images = _messages(bag, size, is_raw=is_raw, most=1 if is_still else None)
        kind = Image if is_raw else CompressedImage
        qos = QoSProfile(depth=2) if is_reliable else FEW
        self._publishers = [node.create_publisher(kind, topic, qos) for topic in topics]
        self._infos = [
            node.create_publisher(CameraInfo, f"{topic.rpartition('/')[0]}/camera_info", FEW)
            for topic in topics
        ]
        self._info = bytearray(serialize_message(CameraInfo()))
        self._tf = node.create_publisher(TFMessage, "/tf", 100)
        self._static = node.create_publisher(TFMessage, "/tf_static", LATCHED)
        self._T_odom_base = _robot(bag, len(self._images))
        if self._T_odom_base:
            T_base_camera = se3.pose(R_BASE_CAMERA, np.zeros(3))
            mount = transform_stamped("base_link", CAMERA_FRAME, T_base_camera, 0)
            self._static.publish(TFMessage(transforms=[mount]))

    @property
    def is_heard(self) -> bool:
        """Whether somebody has subscribed to every image topic."""
        return all(publisher.get_subscription_count() for publisher in self._publishers)

    def run(self, rate: float, seconds: float, stop: StopRequest) -> int:
        """Publish for some seconds; return how many images of each topic. Late ones are skipped."""
        count = len(self._images)
        order = itertools.cycle([*range(count), *range(count - 2, 0, -1)])
        start, sent = time.monotonic(), 0
        for due in itertools.count():
            wait = start + due / rate - time.monotonic()
            if due / rate >= seconds or stop.is_set:
                return sent
            number = next(order)
            if wait < -1 / rate:
                continue
            time.sleep(max(0.0, wait))
            stamp_ns = time.time_ns()
            stamp = STAMP.pack(*divmod(stamp_ns, 10**9))
            if self._T_odom_base:
                T = self._T_odom_base[number]
                edge = transform_stamped("odom", "base_link", T, stamp_ns)
                self._tf.publish(TFMessage(transforms=[edge]))
            for publisher, info in zip(self._publishers, self._infos, strict=True):
                self._publish(publisher, self._images[number], stamp)
                self._publish(info, self._info, stamp)
            sent += 1
        return sent

    @staticmethod
    def _publish(publisher: Publisher, message: bytearray, stamp: bytes) -> None:
        message[STAMP_AT : STAMP_AT + STAMP.size] = stamp
        publisher.publish(bytes(message))


def _robot(bag: Bag, count: int) -> list[NDArray[np.float64]]:
    """Return T_odom_base (4, 4) for as many images; empty where the bag has no poses."""
    topics = [topic.name for topic in bag.topics if topic.type == "geometry_msgs/msg/PoseStamped"]
    recorded = itertools.islice(bag.messages(topics[:1]), count) if topics else ()
    T_camera_base = se3.inverse(se3.pose(R_BASE_CAMERA, np.zeros(3)))
    return [matrix(bag.decode(message).pose) @ T_camera_base for message in recorded]


def _messages(
    bag: Bag, size: tuple[int, int] | None, *, is_raw: bool, most: int | None
) -> list[bytearray]:
    topic = bag.choose_image_topics()[0].name
    messages: list[bytearray] = []
    for recorded in itertools.islice(bag.messages([topic]), most):
        image = check_compressed(bag.decode(recorded), np.inf).decode()
        if size is not None:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        messages.append(bytearray(serialize_message(_message(image, is_raw=is_raw))))
        if sum(map(len, messages)) > MOST_BYTES:
            break
    return messages


def _message(image: NDArray[np.uint8], *, is_raw: bool) -> Image | CompressedImage:
    height, width = image.shape[:2]
    if is_raw:
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.data.frombytes(image.tobytes())
    else:
        _, stream = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        message = CompressedImage(format="jpeg")
        message.data.frombytes(stream.tobytes())
    message.header.frame_id = CAMERA_FRAME
    return message


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until the time is over, SIGINT or SIGTERM; return 0, or 2."""
    given = list(sys.argv if argv is None else [PROGRAM, *argv])
    arguments = _parser().parse_args(remove_ros_args(given)[1:])
    with stoppable_node(PROGRAM, given) as (node, stop):
        try:
            with Bag(arguments.bag) as bag:
                size = tuple(arguments.size) if arguments.size else None
                feed = ImageFeed(node, bag, arguments.topics, size, is_raw=arguments.raw,
                                 is_still=arguments.still, is_reliable=arguments.reliable)
            while not (feed.is_heard or stop.is_set):
                time.sleep(0.05)
            time.sleep(0.5)  # for the discovery of camera_info
            print(feed.run(arguments.rate, arguments.seconds, stop), flush=True)
        except BagError as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("bag", help="a bag with compressed images, as flashvggt_sample_bag makes")
    parser.add_argument("--topics", nargs="+", required=True, metavar="TOPIC")
    parser.add_argument("--rate", type=float, default=30.0, metavar="HZ")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S")
    parser.add_argument("--size", type=int, nargs=2, metavar=("W", "H"))
    parser.add_argument("--raw", action="store_true", help="sensor_msgs/Image instead of JPEG")
    parser.add_argument("--reliable", action="store_true", help="instead of best effort")
    parser.add_argument("--still", action="store_true", help="the first image again and again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
