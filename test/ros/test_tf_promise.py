"""A listener that asks for the pose at each image's stamp, and waits as long as documented."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from ros.node_bench import NodeBench
from ros.test_robot import say_static
from tf2_msgs.msg import TFMessage

from flashvggt_ros.geometry import se3
from flashvggt_ros.ros.messages import stamp_ns, transform_stamped
from flashvggt_ros.ros.transforms import TransformTree, TransformUnavailable
from flashvggt_ros.worlds import TruthPredictor, World, look, make_world, walk

WORLD = make_world(walk(16))
T_BASE_CAMERA = look((0.2, 0.1, 0.4), 0.1, 0.2)


class Listener:
    """Asks for ``child`` in the map at stamps; counts those that have no answer in time.

    Waits as long as ``tolerance_s``, or as ~/status says if that is 0.
    """

    def __init__(self, it: NodeBench, child: str, tolerance_s: float = 0.0) -> None:
        self.it = it
        self.child = child
        self.tolerance_s = tolerance_s
        self.tree = TransformTree(it.helper, cache_s=60.0)
        self.asked: list[tuple[int, float]] = []
        self.answered = 0
        self.unanswered: list[str] = []

    def ask(self, stamp_ns: int) -> None:
        self.asked.append((stamp_ns, time.monotonic()))

    def listen(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.it.spin(0.01)
            self.check()

    def listen_on(self) -> None:
        """Listen until each question has its answer, or has waited too long."""
        while self.asked:
            self.listen(0.01)

    def check(self) -> None:
        """Look whether there are answers by now."""
        tolerance_s = self.tolerance_s or self.it.listener.status.tf_tolerance_s
        now = time.monotonic()
        self.asked = [
            (stamp_ns, since) for stamp_ns, since in self.asked
            if self._waits(stamp_ns, now - since, tolerance_s)
        ]

    def _waits(self, stamp_ns: int, waited_s: float, tolerance_s: float) -> bool:
        try:
            self.tree.lookup("map", self.child, stamp_ns)
        except TransformUnavailable as error:
            if waited_s > tolerance_s:
                self.unanswered.append(f"after {waited_s:.2f} s, {tolerance_s:.2f} s: {error}")
            return waited_s <= tolerance_s
        self.answered += 1
        return False


def test_poses_reach_tf_in_time_while_the_camera_moves_and_while_it_stands(bench: Any) -> None:
    it = bench(chunk__max_wait=0.6, tf__rate=5.0)
    listener = Listener(it, "camera")
    images = it.publisher()
    still = [
        replace(WORLD.frames[9], stamp_ns=WORLD.frames[9].stamp_ns + n * 100_000_000)
        for n in range(1, 15)
    ]
    for frame in (*WORLD.frames[:10], *still):
        it.play(images, [frame])
        listener.ask(frame.stamp_ns)
        listener.listen(0.05)
    listener.listen_on()
    assert listener.unanswered == []
    assert listener.answered == 24
    status = it.settle(24)
    assert (status.frames_used, status.frames_gated) == (10, 14)
    assert (status.tf_age_s, status.tf_latency_p95_s) == (-1, -1)  # stamps of another clock
    assert "TF is" not in status.message
    T = listener.tree.lookup("map", "camera", still[-1].stamp_ns)
    np.testing.assert_allclose(
        T, listener.tree.lookup("map", "camera", WORLD.frames[9].stamp_ns), atol=1e-6
    )


def test_the_correction_of_odometry_is_always_as_new_as_the_newest_image(bench: Any) -> None:
    frames = {"tf__odom_frame": "odom", "tf__base_frame": "base_link"}
    it = bench(**frames, tf__rate=5.0, chunk__max_wait=60.0)
    say_static(it, ("base_link", "camera", T_BASE_CAMERA))
    listener = Listener(it, "base_link")
    moving = it.helper.create_publisher(TFMessage, "/tf", 100)
    images = it.publisher()
    it.spin_until(lambda: moving.get_subscription_count() >= 2)
    for number, frame in enumerate(WORLD.frames[:14]):
        T_odom_base = se3.pose(np.eye(3), np.array([0.1 * number, 0.0, 0.0]))
        edge = transform_stamped("odom", "base_link", T_odom_base, frame.stamp_ns)
        moving.publish(TFMessage(transforms=[edge]))
        it.play(images, [frame])
        if number == 3:  # the first chunk: the map begins
            it.spin_until(lambda: it.listener.transforms)
        if number >= 3:
            listener.ask(frame.stamp_ns)
        listener.listen(0.1)
    listener.listen_on()
    it.spin_until(lambda: it.listener.status.frames_used == 12)  # the rest waits
    assert listener.unanswered == []
    assert listener.answered == 11
    assert it.listener.status.tf_tolerance_s == np.float32(0.8)


def test_each_pose_that_the_node_reports_is_on_tf_at_once(bench: Any) -> None:
    it = bench(tf__rate=5.0)
    listener = Listener(it, "camera", tolerance_s=0.8)
    heard = it.listener.heard["/mapping/odometry"]
    it.play(it.publisher(), WORLD.frames)
    end = time.monotonic() + 15
    asked = 0
    while asked < 16 or listener.asked:
        assert time.monotonic() < end
        it.spin(0.01)
        for odometry in heard[asked:]:
            listener.ask(stamp_ns(odometry.header.stamp))
            asked += 1
        listener.check()
    assert (listener.unanswered, listener.answered) == ([], 16)


def test_age_and_latency_are_those_of_the_node_s_clock(bench: Any) -> None:
    begin = time.time_ns() - 600_000_000
    frames = tuple(
        replace(frame, stamp_ns=begin + n * 100_000_000) for n, frame in enumerate(WORLD.frames[:4])
    )
    it = bench(TruthPredictor(World(frames, WORLD.T_world_camera[:4], WORLD.depth[:4])))
    it.play(it.publisher(), frames)
    it.settle(4)
    it.spin_until(lambda: it.listener.status.tf_latency_p50_s > 0)
    status = it.listener.status
    assert 0.3 <= status.tf_latency_p50_s <= status.tf_latency_p95_s < 5
    assert status.tf_age_s >= 0.3
    it.spin(0.5)
    assert it.listener.status.tf_age_s > status.tf_age_s
