"""The robot as the node hears it: its topics and TF."""

from __future__ import annotations

from functools import partial

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, Imu

from flashvggt_ros.config import Config
from flashvggt_ros.ros.camera_input import resolved_topic, topics_in_use
from flashvggt_ros.ros.transforms import PatientTransforms
from flashvggt_ros.sensors.sensed_robot import SensedRobot

# Best effort matches every publisher; a lost measurement lies between two others.
QOS = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=100, reliability=QoSReliabilityPolicy.BEST_EFFORT
)


class RosRobot(SensedRobot):
    """Subscribes to the topics that ``config.robot`` names; the worker's thread asks it.

    Messages come in the executor's thread. Answers wait for messages and transforms on their way,
    ``tf.lookup_timeout`` for a chunk together. Topic names are relative to the node's namespace and
    can be remapped. Raises ValueError for a name that is none, or that the node uses already.
    """

    def __init__(self, node: Node, config: Config, transforms: PatientTransforms) -> None:
        super().__init__(config, transforms.lookup, transforms.wait)
        self._node = node
        self._resolved: list[str] = []
        robot = config.robot
        for topic in self.topics:
            kind: type = Odometry if topic == robot.odometry_topic else Imu
            if topic in robot.depth_topics:
                kind = CompressedImage if topic.endswith("/compressedDepth") else Image
            name = resolved_topic(node, "a topic of the robot", topic)
            if name in topics_in_use(node):
                raise ValueError(
                    f"{name} is to be a topic of the robot, but is in use here for something else: "
                    "correct robot.odometry_topic, robot.imu_topic or robot.depth_topics"
                )
            node.create_subscription(kind, name, partial(self.take, topic), QOS)
            self._resolved.append(name)

    @property
    def problems(self) -> tuple[str, ...]:
        """Which of the topics nobody publishes, in words."""
        return tuple(
            f"nobody publishes on {topic}"
            for topic in self._resolved
            if not self._node.count_publishers(topic)
        )
