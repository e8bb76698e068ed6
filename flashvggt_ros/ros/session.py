"""What the mapping node has between configure and cleanup: the model, the map, its topics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from flashvggt_ros.config import Config
from flashvggt_ros.ros import backends
from flashvggt_ros.ros.camera_input import CameraInput, check_topics, input_problems
from flashvggt_ros.ros.clock_watch import ClockWatch
from flashvggt_ros.ros.frame_ledger import FrameLedger
from flashvggt_ros.ros.fresh_start import FreshStart
from flashvggt_ros.ros.initial_pose import InitialPoseInput
from flashvggt_ros.ros.loading import LoadedModel
from flashvggt_ros.ros.memory_use import memory_use
from flashvggt_ros.ros.node_entities import set_period
from flashvggt_ros.ros.node_state import UNTRAINED, NodeState
from flashvggt_ros.ros.publishers import MapPublishers
from flashvggt_ros.ros.qos_watch import QosWatch
from flashvggt_ros.ros.robot import RosRobot
from flashvggt_ros.ros.transforms import PatientTransforms, TransformTree
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.sensors.intake import CheckedImage
from flashvggt_ros.sensors.stamp_order import JUMP_AHEAD_NS
from flashvggt_ros.slam import Slam

logger = logging.getLogger(__name__)

CONNECT_PERIOD_S = 0.5  # of looking for publishers: each time wakes the executor
DOUBT_PERIOD_S = 0.1  # where only one of the wrong type is there: the right one's images are lost


class MappingSession:
    """Maps with one model: inactive at first, then active and inactive in turn, at last closed.

    Made in configure of what was loaded: raises ValueError for topic names that are none, and
    what ``check()`` does, which is that of the model. All but the worker runs in the executor's
    thread. While it is inactive no image is taken and no transform is sent; the map stays, and the
    worker still saves or loads one. Timers run on the steady clock, so that a simulation clock that
    stands still stops no TF. What it puts up on the node, the node takes down after close().
    """

    def __init__(
        self, node: Node, config: Callable[[], Config], model: LoadedModel, slam: Slam,
        tree: TransformTree,
    ) -> None:
        self.is_active = False
        self.is_paused = False
        self.ledger = FrameLedger()
        self._config = config
        self._model = model.identity
        self._backends = backends.in_use()
        self._tree = tree
        self._newest_ns = 0
        self._has_reset = False
        transforms = PatientTransforms(tree, lambda: config().tf.lookup_timeout)
        self.outputs = MapPublishers(node, config, transforms, lambda: self._newest_ns)
        self.robot = RosRobot(node, config(), transforms)
        self._cameras = [
            CameraInput(
                node, index, config(), partial(self._take, index), model.reduction,
                lambda: self._clock_watch.now_ns,
            )
            for index in range(len(config().image_topics))
        ]
        model.check(config())  # which may have changed since it was loaded
        self.check = model.check
        self.map_model = model.map_model
        slam.robot = self.robot
        self.worker = Worker(slam, config().image.queue_size, self.ledger, self.outputs)
        self._initial_pose = InitialPoseInput(node, lambda: config().tf, self.worker)
        check_topics(node, self._cameras)
        self._qos_watch = QosWatch(node)
        self._fresh_start = FreshStart(
            self.worker, config, lambda: self.is_active, self._start_over, self.outputs.poses.clear
        )
        self._clock_watch = ClockWatch(node, self._fresh_start.on_clock_jump)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._tf_timer = node.create_timer(1.0 / config().tf.rate, self._repeat_tf, clock=steady)
        self._connect_timer = node.create_timer(CONNECT_PERIOD_S, self._connect, clock=steady)
        self.worker.start()
        if slam.config != config():  # changed while it was made
            self.worker.reset(config())
        self._say_start()

    def activate(self) -> None:
        """Subscribe to the cameras and publish, the whole map first if there is one."""
        self.is_active = True
        mapped = self.worker.submit(lambda slam: None)  # what was seen before goes unpublished
        mapped.add_done_callback(lambda _: self._open_outputs())  # also where that has failed
        for camera in self._cameras:
            camera.open()
        self._connect_timer.reset()
        logger.info("active, mapping with %s on %s", self._model.checkpoint, self._model.device)

    def deactivate(self) -> None:
        """Take no more images, drop those that wait, and send no more poses; the map stays."""
        self.is_active = False
        for camera in self._cameras:
            camera.close()
        self.outputs.suspend()
        self.worker.drop_waiting("inactive")

    def reset(self) -> Future:
        """Forget the map; images that wait are dropped."""
        self._forget_stamps()
        return self.worker.reset(self._config())

    def apply(self, config: Config) -> None:
        """Take up parameters that were changed."""
        set_period(self._tf_timer, 1.0 / config.tf.rate)
        self.worker.look_again()

    def close(self, timeout: float | None) -> bool:
        """Publish and map no more; return whether the worker's thread has ended in time [s].

        None: however long that takes.
        """
        self.is_active = False
        self._clock_watch.close()
        self.outputs.close()
        return self.worker.stop(timeout)

    def release(self) -> None:
        """Put empty maps in the place of those that were published, free all; after close()."""
        self.outputs.withdraw()
        del self.check
        self.worker.release()  # timers that were destroyed hold the session for a while

    def state(self, conflicts: tuple[str, ...]) -> NodeState:
        """Everything that status and diagnostics say; ``conflicts`` with other nodes, in words."""
        report, clock = self.worker.report, self._clock_watch
        return NodeState(
            stamp_ns=self._newest_ns,
            is_active=self.is_active,
            is_paused=self.is_paused,
            counts=self.ledger.counts,
            rejected=sum((camera.intake.rejected for camera in self._cameras), Counter()),
            report=report,
            streams=tuple(camera.stream for camera in self._cameras),
            conflicts=conflicts,
            input_problems=input_problems(self._cameras, clock.problem),
            qos=self._qos_watch.report({topic for cam in self._cameras for topic in cam.topics}),
            tf=self.outputs.poses.watch.report(
                self._newest_ns, clock.is_on_clock, report.latency_max_s, self._config()
            ),
            jumps_back=self._fresh_start.jumps,
            memory=memory_use(),
            missing_transform=self.outputs.poses.missing,
            robot_problems=self.robot.problems,
            robot_rejected=self.robot.rejected,
            map_points=self.outputs.map_points,
            no_grid=self.outputs.no_grid,
            model=self._model,
            backends=self._backends,
        )

    def _take(self, index: int, image: CheckedImage | None) -> None:
        """Account for one image and queue it; runs in the executor's thread, never waits."""
        if image is None:
            self.ledger.add(received=1, rejected=1)
            self._fresh_start.on_refused(self._cameras[index].intake.order, self._clock_watch)
            return
        self._clock_watch.note(image.stamp_ns)
        if self._has_reset or self._is_newest(image.stamp_ns):
            self._newest_ns = image.stamp_ns
        self._has_reset = False
        if index == 0:
            self.outputs.poses.placer.first_camera = image.camera
        self.ledger.add(received=1)
        if self.is_paused or self.worker.fatal:
            self.ledger.drop("stopped" if self.worker.fatal else "paused")
            return
        self.worker.put_image(image)

    def _is_newest(self, stamp_ns: int) -> bool:
        """Whether TF is to be dated to an image: never to a camera's whose clock alone is wrong."""
        is_now, is_far = self._clock_watch.has, abs(stamp_ns - self._newest_ns) > JUMP_AHEAD_NS
        if is_far and is_now(stamp_ns) != is_now(self._newest_ns):
            return is_now(stamp_ns)
        return stamp_ns > self._newest_ns

    def _open_outputs(self) -> None:
        """Publish, unless the node has become inactive since; in the worker's thread."""
        self.outputs.open()
        if not self.is_active:
            self.outputs.suspend()

    def _forget_stamps(self) -> None:
        """Let stamps begin anew; no transform is sent until the worker has begun anew, too."""
        for camera in self._cameras:
            camera.intake.reset()
        self.outputs.poses.hold()
        self.robot.clear()
        self._has_reset = True

    def _start_over(self) -> None:
        """Time begins anew: forget what was heard, too."""
        self._forget_stamps()
        self._tree.clear()

    def _repeat_tf(self) -> None:
        self.outputs.repeat_transform(self.worker.report.stands_until_ns)

    def _connect(self) -> None:
        if not self.is_active:
            self._connect_timer.cancel()
            return
        for camera in self._cameras:
            camera.connect()
        is_doubtful = any(camera.is_doubtful for camera in self._cameras)
        set_period(self._connect_timer, DOUBT_PERIOD_S if is_doubtful else CONNECT_PERIOD_S)

    def _say_start(self) -> None:
        logger.info("configured: %s on %s", self._model.checkpoint, self._model.device)
        logger.info("%s", ", ".join(f"{name}: {used}" for name, used in self._backends.items()))
        if not self._model.is_trained:
            logger.warning("%s", UNTRAINED)
