"""What the node hears of the robot, over real DDS: scale, gravity and a glide after corrections."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flashvggt_ros.msg import MapStatus
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from ros.node_bench import NodeBench, depth_message
from sensor_msgs.msg import CompressedImage, Image, Imu, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.backends import sensor_msgs_py
from flashvggt_ros.ros.messages import (
    matrix,
    odometry_message,
    stamp_ns,
    time_message,
    transform_stamped,
)
from flashvggt_ros.worlds import TruthCache, TruthPredictor, look, make_world, walk

WORLD = make_world(walk(24))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
T_BASE_CAMERA = look((0.2, 0.1, 0.4), 0.1, 0.2)
T_WORLD_BASE = WORLD.T_world_camera @ se3.inverse(T_BASE_CAMERA)
BEST_EFFORT = QoSProfile(depth=200, reliability=QoSReliabilityPolicy.BEST_EFFORT)
STATIC = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def say_static(it: NodeBench, *edges: tuple[str, str, NDArray[np.float64]]) -> None:
    """Publish transforms on /tf_static; the publisher must live on."""
    static = it.helper.create_publisher(TFMessage, "/tf_static", STATIC)
    static.publish(TFMessage(transforms=[transform_stamped(*edge, 0) for edge in edges]))
    it.spin(0.3)


def odometry(number: int) -> Odometry:
    return odometry_message(T_WORLD_BASE[number], STAMPS[number], "odom", "base_link")


def test_odometry_of_a_topic_makes_the_map_metric(bench: Any) -> None:
    it = bench(tf__base_frame="base_link", robot__odometry_topic="odom", scale__source="odometry")
    say_static(it, ("base_link", "camera", T_BASE_CAMERA))
    moving = it.helper.create_publisher(Odometry, "/odom", BEST_EFFORT)
    images = it.publisher()
    it.spin_until(moving.get_subscription_count)
    for number, frame in enumerate(WORLD.frames):
        moving.publish(odometry(number))
        it.play(images, [frame])
    it.settle(24)
    it.spin_until(lambda: it.listener.status.is_metric)
    status = it.listener.status
    assert status.scale_source == "odometry"
    assert 0 < status.scale_sigma < 0.1
    assert (status.up_source, status.loops, status.is_localized) == ("tf", 0, True)
    assert "not a meter" not in status.message
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 24)
    poses = [matrix(pose.pose) for pose in it.listener.heard["/mapping/path"][-1].poses]
    steps = np.linalg.norm(np.diff([T[:3, 3] for T in poses], axis=0), axis=1)
    true_steps = np.linalg.norm(np.diff(WORLD.T_world_camera[:, :3, 3], axis=0), axis=1)
    assert steps.sum() == pytest.approx(true_steps.sum(), rel=0.05)


def test_a_map_without_a_measured_scale_says_so(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames[:8])
    it.settle(8)
    it.spin_until(lambda: "the unit of the map is not a meter" in it.listener.status.message)
    status = it.listener.status
    assert (status.scale_source, status.is_metric, status.scale_sigma) == ("fixed", False, -1.0)
    scale = next(part for part in it.listener.heard["/diagnostics"][-1].status
                 if part.name.endswith("scale"))
    assert scale.level == b"\x01"
    assert "not a meter" in scale.message


def test_a_scale_that_is_fixed_on_purpose_is_no_problem(bench: Any) -> None:
    it = bench(scale__source="fixed")
    it.play(it.publisher(), WORLD.frames[:8])
    assert "not a meter" not in it.settle(8).message


def test_a_topic_that_nobody_publishes_is_named(bench: Any) -> None:
    it = bench(robot__imu_topic="imu/data")
    it.play(it.publisher(), WORLD.frames[:4])
    it.settle(4)
    assert "nobody publishes on /imu/data" in it.listener.status.message


def imu(number: int) -> Imu:
    """The reading of an IMU whose axes are those of the camera but for a turn about z."""
    message = Imu()
    message.header.frame_id = "imu_link"
    message.header.stamp = time_message(STAMPS[number])
    message.orientation_covariance[0] = -1.0
    up_camera = WORLD.T_world_camera[number, 2, :3]
    acceleration = message.linear_acceleration
    acceleration.x, acceleration.y, acceleration.z = (9.81 * R_CAMERA_IMU.T @ up_camera).tolist()
    return message


R_CAMERA_IMU = se3.matrix_from_quaternion(np.array([0.0, 0.0, 0.6, 0.8]))


def ask(it: NodeBench, number: int, what: str) -> Any:
    """Ask the node's robot as its slam does, but from this thread, where messages come too."""
    robot = it.session.robot
    if what == "up":
        return robot.up_camera("camera", STAMPS[number])
    return robot.depth("camera", STAMPS[number])


def test_an_imu_says_which_way_is_up(bench: Any) -> None:
    it = bench(robot__imu_topic="/imu", gravity__source="imu")
    say_static(it, ("camera", "imu_link", se3.pose(R_CAMERA_IMU, np.array([0.1, 0, 0]))))
    readings = it.helper.create_publisher(Imu, "/imu", BEST_EFFORT)
    images = it.publisher()
    it.spin_until(readings.get_subscription_count)
    for number, frame in enumerate(WORLD.frames[:8]):
        for step in range(5):
            message = imu(number)
            message.header.stamp = time_message(STAMPS[number] + (step - 2) * 10_000_000)
            readings.publish(message)
        it.play(images, [frame])
    it.settle(8)
    it.spin_until(lambda: it.listener.status.up_source == "imu")
    up = ask(it, 3, "up")
    np.testing.assert_allclose(up, WORLD.T_world_camera[3, 2, :3], atol=0.1)


def test_depth_images_make_the_map_metric(bench: Any) -> None:
    it = bench(robot__depth_topics=["/depth/image"], scale__source="depth")
    depths = it.helper.create_publisher(Image, "/depth/image", BEST_EFFORT)
    images = it.publisher()
    it.spin_until(depths.get_subscription_count)
    for number, frame in enumerate(WORLD.frames[:8]):
        depths.publish(depth_message(WORLD, number))
        it.play(images, [frame], period=0.02)
    it.settle(8)
    it.spin_until(lambda: it.listener.status.is_metric)
    assert it.listener.status.scale_source == "depth"
    assert ask(it, 3, "depth").max() == pytest.approx(WORLD.depth_images([3]).max(), rel=0.01)


def test_a_compressed_depth_topic_is_taken_as_what_it_carries(bench: Any) -> None:
    it = bench(robot__depth_topics=["/depth/image/compressedDepth"])
    publisher = it.helper.create_publisher(
        CompressedImage, "/depth/image/compressedDepth", BEST_EFFORT
    )
    it.spin_until(publisher.get_subscription_count)


def test_bad_messages_of_the_robot_are_counted_and_stop_nothing(bench: Any) -> None:
    it = bench(tf__base_frame="base_link", robot__odometry_topic="/odom")
    moving = it.helper.create_publisher(Odometry, "/odom", BEST_EFFORT)
    images = it.publisher()
    it.spin_until(moving.get_subscription_count)
    broken = odometry(0)
    broken.pose.pose.position.x = float("nan")
    for _ in range(3):
        moving.publish(broken)
    it.play(images, WORLD.frames[:4])
    it.settle(4)

    def robot_part() -> Any:
        parts = it.listener.heard["/diagnostics"][-1].status
        return next(part for part in parts if part.name.endswith("robot"))

    it.spin_until(lambda: "3 messages on /odom rejected" in robot_part().message)
    assert {value.key: value.value for value in robot_part().values} == {
        "/odom, rejected: not_finite [messages]": "3"
    }
    assert it.listener.status.frames_used == 4


def test_reset_lets_the_robot_s_stamps_begin_anew(bench: Any) -> None:
    it = bench(tf__base_frame="base_link", robot__odometry_topic="/odom")
    moving = it.helper.create_publisher(Odometry, "/odom", BEST_EFFORT)
    it.spin_until(moving.get_subscription_count)
    moving.publish(odometry(5))
    it.spin(0.2)
    assert it.session.robot.T_odom_base(STAMPS[5]) is not None
    it.call(Trigger, "/mapping/reset", Trigger.Request())
    moving.publish(odometry(0))
    it.spin(0.2)
    assert it.session.robot.rejected == {"/odom": {}}
    assert it.session.robot.T_odom_base(STAMPS[0]) is not None
    assert it.session.robot.T_odom_base(STAMPS[5]) is None


class Stretching(TruthPredictor):
    """From its second chunk on it believes that all it has seen is half as large again."""

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        prediction = super().predict(frames, cache)
        if len(cache.seen) == len(frames):
            return prediction
        T = prediction.T_submap_camera.copy()
        T[:, :3, 3] = T[0, :3, 3] + 1.5 * (T[:, :3, 3] - T[0, :3, 3])
        return replace(prediction, T_submap_camera=T, depth=1.5 * prediction.depth)


def test_a_correction_of_the_map_glides_on_tf_and_is_at_once_in_the_path(bench: Any) -> None:
    rate = 0.05
    it = bench(Stretching(WORLD), tf__rate=1.0, gravity__source="none", scale__source="fixed",
               tf__max_correction_rate=rate, tf__base_frame="base_link", publish_unscaled=True)
    say_static(it, ("base_link", "camera", T_BASE_CAMERA))
    obstacles: list[PointCloud2] = []
    it.helper.create_subscription(
        PointCloud2, "/mapping/obstacles", obstacles.append, BEST_EFFORT
    )
    it.play(it.publisher(), WORLD.frames[:8], period=0.15)
    it.settle(8)
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 8)
    shown = {stamp_ns(t.header.stamp): matrix(t.transform) for t in it.listener.transforms}
    path = it.listener.heard["/mapping/path"][-1].poses
    mapped = [matrix(pose.pose) @ se3.inverse(T_BASE_CAMERA) for pose in path]
    jump = np.linalg.norm(mapped[3][:3, 3] - shown[STAMPS[3]][:3, 3])
    seconds = (STAMPS[4] - STAMPS[3]) * 1e-9
    motion = np.linalg.norm(mapped[4][:3, 3] - mapped[3][:3, 3])
    step = np.linalg.norm(shown[STAMPS[4]][:3, 3] - shown[STAMPS[3]][:3, 3])
    assert jump > 2 * rate * seconds  # the map has moved farther than TF may follow
    assert step <= motion + rate * seconds + 1e-9
    left = [np.linalg.norm(shown[STAMPS[n]][:3, 3] - mapped[n][:3, 3]) for n in range(4, 8)]
    np.testing.assert_allclose(-np.diff(left), rate * seconds, rtol=1e-6)  # it goes there
    # Obstacles are where they are from the robot on TF.
    it.spin_until(lambda: obstacles and stamp_ns(obstacles[-1].header.stamp) == STAMPS[7])
    read = sensor_msgs_py().module.read_points(obstacles[-1], ["x", "y", "z"])
    from_shown = se3.transform_points(
        se3.inverse(shown[STAMPS[7]]), np.stack([read[axis] for axis in "xyz"], axis=1)
    )
    slam = it.session.worker.submit(lambda slam: slam).result(5)
    from_mapped = se3.transform_points(se3.inverse(mapped[7]), slam.map.obstacles())
    np.testing.assert_allclose(from_shown, from_mapped, atol=1e-4)


def test_the_first_measured_scale_may_jump(bench: Any) -> None:
    it = bench(robot__depth_topics=["/depth"], scale__source="depth", gravity__source="none")
    depths = it.helper.create_publisher(Image, "/depth", BEST_EFFORT)
    images = it.publisher()
    it.spin_until(depths.get_subscription_count)
    it.play(images, WORLD.frames[:4])
    assert not it.settle(4).is_metric
    for number in range(4, 8):
        depths.publish(depth_message(WORLD, number))
        it.play(images, [WORLD.frames[number]], period=0.02)
    it.settle(8)
    it.spin_until(lambda: it.listener.status.is_metric)
    it.spin_until(lambda: len(it.listener.heard["/mapping/path"][-1].poses) == 8)
    shown = {stamp_ns(t.header.stamp): matrix(t.transform) for t in it.listener.transforms}
    mapped = [matrix(pose.pose) for pose in it.listener.heard["/mapping/path"][-1].poses]
    np.testing.assert_allclose(shown[STAMPS[4]], mapped[4], atol=1e-9)
    assert it.listener.status.state == MapStatus.MAPPING
