"""flashvggt_play: publish a rosbag2 over DDS in real time, where ros2 bag is not installed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.counts import positive_number
from flashvggt_ros.sensors.bag_reader import Bag, BagError, BagTopic

PROGRAM = "flashvggt_play"
QUEUE_DEPTH = 100
CLOCK_PERIOD_S = 0.01
SETTLE_S = 0.5  # discovery of the other topics, and delivery of the last messages
EXAMPLES = """examples:
  flashvggt_play office_bag --wait-for-subscribers 30
  flashvggt_play walk.mcap --rate 0.5 --topics /camera/image_raw /camera/camera_info

Messages are published as they were recorded, byte for byte: header stamps are untouched."""


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 (misuse, or nobody subscribed) or 130 (stopped)."""
    given = list(sys.argv if argv is None else [PROGRAM, *argv])
    arguments = _parser().parse_args(remove_ros_args(given)[1:])
    rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("flashvggt_play")
    try:
        with Bag(arguments.bag) as bag:
            player = BagPlayer(node, bag, arguments.topics)
            if arguments.wait_for_subscribers:
                player.wait_for_subscribers(arguments.wait_for_subscribers)
            count = player.play(arguments.rate, with_clock=arguments.clock)
        print(f"{PROGRAM}: {count} messages played")
    except BagError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


class BagPlayer:
    """Publishes the topics of a bag on a node, byte for byte.

    Topics whose message type is not installed here are left out with a warning. Raises BagError
    when a topic asked for is not in the bag, or nothing is left to play.
    """

    def __init__(self, node: Node, bag: Bag, topics: Sequence[str] = ()) -> None:
        self._node = node
        self._bag = bag
        self._publishers: dict[str, Publisher] = {}
        self._awaited: list[str] = []
        for topic in _chosen(bag, topics):
            message_class = _message_class(topic.type)
            if message_class is None:
                node.get_logger().warning(f"{topic.name} is left out: no {topic.type} here")
                continue
            qos = QoSProfile(depth=QUEUE_DEPTH)
            if topic.is_latched or topic.name == "/tf_static":
                qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            self._publishers[topic.name] = node.create_publisher(message_class, topic.name, qos)
            if topic.is_image:
                self._awaited.append(topic.name)
        if not self._publishers:
            raise BagError(f"{bag.path} has no topic that can be played")

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Wait until every image topic (any topic in a bag without images) has a subscriber.

        Raises BagError that names the topics that nobody wants after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            missing = self._without_subscriber()
            if not missing:
                time.sleep(SETTLE_S)
                return
            if time.monotonic() > deadline:
                raise BagError(
                    f"nobody subscribed to {', '.join(missing)} within {timeout_s:g} s: is the "
                    "node running, with these image_topics and the same ROS_DOMAIN_ID?"
                )
            time.sleep(0.05)

    def play(self, rate: float = 1.0, *, with_clock: bool = False) -> int:
        """Publish everything at ``rate`` times the speed of recording; return the count."""
        clock = self._node.create_publisher(Clock, "/clock", 10) if with_clock else None
        start, first_ns, count = time.monotonic(), self._bag.start_ns, 0
        for message in self._bag.messages(tuple(self._publishers)):
            _sleep_until(start + (message.log_ns - first_ns) * 1e-9 / rate, clock, message.log_ns)
            self._publishers[message.topic].publish(message.raw)
            count += 1
        time.sleep(SETTLE_S)
        return count

    def _without_subscriber(self) -> list[str]:
        if self._awaited:
            return [topic for topic in self._awaited
                    if not self._publishers[topic].get_subscription_count()]
        if any(publisher.get_subscription_count() for publisher in self._publishers.values()):
            return []
        return list(self._publishers)


def _sleep_until(deadline: float, clock: Publisher | None, log_ns: int) -> None:
    """Sleep, and meanwhile publish the bag's time, which reaches ``log_ns`` at the deadline."""
    while True:
        rest = deadline - time.monotonic()
        if clock is not None:
            now_ns = log_ns - max(0, int(rest * 1e9))
            clock.publish(Clock(clock=Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)))
        if rest <= 0:
            return
        time.sleep(min(rest, CLOCK_PERIOD_S) if clock is not None else rest)


def _chosen(bag: Bag, names: Sequence[str]) -> list[BagTopic]:
    known = {topic.name: topic for topic in bag.topics}
    wanted = ["/" + name.strip("/") for name in names] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BagError(f"{bag.path} has no {', '.join(unknown)}; it has: {', '.join(known)}")
    return [known[name] for name in wanted]


def _message_class(type_name: str) -> Any:
    """Return the class of ``package/msg/Name``, or None when it is not installed."""
    package, _, name = type_name.replace("/msg/", "/").partition("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Publish a recorded rosbag2 (MCAP or sqlite3) over DDS in real time.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", help="folder of a rosbag2, or a single .mcap or .db3 file")
    parser.add_argument("--rate", type=positive_number, default=1.0, metavar="R",
                        help="speed, as a multiple of the recording's")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="default: all")
    parser.add_argument("--clock", action="store_true", help="publish /clock (for use_sim_time)")
    parser.add_argument("--wait-for-subscribers", type=positive_number, default=0.0, metavar="S",
                        help="wait up to S seconds for a subscriber of every image topic")
    return parser


if __name__ == "__main__":
    sys.exit(main())
