"""The mapping node: image topics in, TF poses and PointCloud2 maps out."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from flashvggt_ros.chunk_predictor import ChunkPredictor
from flashvggt_ros.config import Config
from flashvggt_ros.frame import Frame
from flashvggt_ros.mapping.map_io import safe_map_folder
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros import backends
from flashvggt_ros.ros.camera_input import CameraInput, input_problems
from flashvggt_ros.ros.clock_watch import ClockWatch
from flashvggt_ros.ros.diagnostics import (
    UNTRAINED,
    ModelIdentity,
    NodeState,
    diagnostic_array,
    map_status,
)
from flashvggt_ros.ros.frame_ledger import FrameLedger
from flashvggt_ros.ros.fresh_start import FreshStart
from flashvggt_ros.ros.initial_pose import InitialPoseInput
from flashvggt_ros.ros.log_forwarding import forward_logs, stop_forwarding
from flashvggt_ros.ros.map_services import MapServices
from flashvggt_ros.ros.memory_use import memory_use
from flashvggt_ros.ros.parameters import declare_parameters, on_change
from flashvggt_ros.ros.publishers import LATCHED, MapPublishers
from flashvggt_ros.ros.qos_watch import QosWatch
from flashvggt_ros.ros.robot import RosRobot
from flashvggt_ros.ros.transforms import PatientTransforms, TransformTree
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.sensors.intake import FitCheck, fits_any
from flashvggt_ros.slam import Slam

logger = logging.getLogger(__name__)

NODE_NAME = "mapping"
CONNECT_PERIOD_S = 0.1
TF_CACHE_S = 60.0  # poses come a queue and a chunk later than the transforms they need
STOP_TIMEOUT_S = 0.8  # longest wait for the chunk in progress at shutdown


class MappingNode(Node):
    """Converts and queues images in the executor's thread; a worker thread maps them.

    Construct it (parameters), then start() it with a model (topics, worker), spin it, and stop()
    it before destroy_node(). Timers run on the steady clock, so that a simulation clock that
    stands still stops neither TF nor status.
    """

    def __init__(self, **node_arguments: Any) -> None:
        """Declare the parameters; raises ValueError that says which one is out of its limits."""
        super().__init__(NODE_NAME, **node_arguments)
        self._log_handler = forward_logs(self.get_logger())
        try:
            self.config: Config = declare_parameters(self)
        except ValueError:
            self.destroy_node()
            raise
        self._worker: Worker | None = None
        self._status = self.create_publisher(MapStatus, "~/status", LATCHED)
        starting = MapStatus(state=MapStatus.STARTING, checkpoint=self.config.checkpoint)
        starting.header.frame_id = self.config.tf.map_frame
        starting.message = f"loading {self.config.checkpoint}"
        self._status.publish(starting)

    def start(
        self,
        predictor: ChunkPredictor,
        model: ModelIdentity,
        check_fit: FitCheck = fits_any,
    ) -> None:
        """Begin to map with ``predictor``: subscribe, publish, serve.

        ``check_fit`` raises ValueError for an image that the predictor cannot take.
        """
        self._model = model
        self._backends = backends.in_use()
        self._newest_ns = 0
        self._has_reset = False
        self._ledger = FrameLedger()
        transforms = PatientTransforms(
            TransformTree(self, cache_s=TF_CACHE_S), lambda: self.config.tf.lookup_timeout
        )
        self.robot = RosRobot(self, self.config, transforms)
        self._outputs = MapPublishers(self, lambda: self.config, transforms)
        slam = Slam(self.config, predictor, self.robot)
        map_model = MapModel(model.checkpoint, model.sha256, model.revision)
        if self.config.load_map:
            folder = safe_map_folder(self.config.map_directory, self.config.load_map)
            slam.load_map(folder, map_model)
        self._worker = Worker(slam, self.config.image.queue_size, self._ledger, self._outputs)
        self._fresh_start = FreshStart(
            self._worker, self.robot, lambda: self.config, self._on_reset, self._outputs.poses.clear
        )
        self._clock_watch = ClockWatch(self, self._fresh_start.on_clock_jump)
        self._map_services = MapServices(
            self, lambda: self.config, self._worker, map_model, self._on_reset
        )
        self._initial_pose = InitialPoseInput(self, lambda: self.config.tf, self._worker)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._cameras = [
            CameraInput(self, index, self.config, partial(self._take, index), check_fit)
            for index in range(len(self.config.image_topics))
        ]
        self._qos_watch = QosWatch(self)
        self._start_timers()
        on_change(self, lambda: self.config, self._change)
        self._worker.start()
        self._say_start()

    @property
    def fatal(self) -> str:
        """Why mapping ended by itself; empty while it goes on."""
        return self._worker.fatal if self._worker else ""

    def stop(self) -> bool:
        """Stop publishing and mapping; return whether the worker's thread has ended."""
        stopped = True
        if self._worker is not None:
            self._clock_watch.close()
            self._outputs.close()
            stopped = self._worker.stop(STOP_TIMEOUT_S)
        return stopped

    def destroy_node(self) -> None:
        """Release everything; stop() comes first."""
        stop_forwarding(self._log_handler)
        super().destroy_node()

    def _start_timers(self) -> None:
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        config = self.config
        self._tf_timer = self.create_timer(1.0 / config.tf.rate, self._repeat_tf, clock=steady)
        self._status_timer = self.create_timer(
            config.publish.status_period, self._publish_status, clock=steady
        )
        self._connect_timer = self.create_timer(CONNECT_PERIOD_S, self._connect, clock=steady)

    def _take(self, index: int, frame: Frame | None) -> None:
        """Account for one image and queue it; runs in the executor's thread, never waits."""
        assert self._worker is not None
        if frame is None:
            self._ledger.add(received=1, rejected=1)
            self._fresh_start.on_refused(self._cameras[index].intake.order, self._clock_watch)
            return
        self._clock_watch.note(frame.stamp_ns)
        is_newer = frame.stamp_ns > self._newest_ns
        self._newest_ns = frame.stamp_ns if is_newer or self._has_reset else self._newest_ns
        self._has_reset = False
        if index == 0:
            self._outputs.poses.placer.first_camera = frame.camera
        if self._map_services.is_paused or self._worker.fatal:
            self._ledger.add(received=1)
            self._ledger.drop("stopped" if self._worker.fatal else "paused")
            return
        self._ledger.add(received=1)
        self._worker.put_frame(frame)

    def _on_reset(self) -> None:
        for camera in self._cameras:
            camera.intake.reset()
        self._outputs.poses.hold()
        self.robot.clear()
        self._has_reset = True  # stamps may begin anew

    def _change(self, config: Config) -> None:
        self.config = config
        self._tf_timer.timer_period_ns = int(1e9 / config.tf.rate)
        self._status_timer.timer_period_ns = int(1e9 * config.publish.status_period)

    def _repeat_tf(self) -> None:
        assert self._worker is not None
        self._outputs.repeat_transform(self._newest_ns, self._worker.report.stands_until_ns)

    def _connect(self) -> None:
        for camera in self._cameras:
            camera.connect()
        if all(camera.is_connected for camera in self._cameras):
            self._connect_timer.cancel()

    def _publish_status(self) -> None:
        assert self._worker is not None
        clock, worker = self._clock_watch, self._worker
        state = NodeState(
            stamp_ns=self._newest_ns,
            is_paused=self._map_services.is_paused,
            counts=self._ledger.counts,
            rejected=sum((camera.intake.rejected for camera in self._cameras), Counter()),
            report=worker.report,
            streams=tuple(camera.stream for camera in self._cameras),
            input_problems=input_problems(self._cameras, clock.problem),
            qos=self._qos_watch.report({topic for cam in self._cameras for topic in cam.topics}),
            tf=self._outputs.poses.watch.report(
                self._newest_ns, clock.is_on_clock, worker.report.latency_max_s, self.config
            ),
            jumps_back=self._fresh_start.jumps,
            memory=memory_use(),
            missing_transform=self._outputs.poses.missing,
            robot_problems=self.robot.problems,
            robot_rejected=self.robot.rejected,
            map_points=self._outputs.map_points,
            no_grid=self._outputs.no_grid,
            model=self._model,
            backends=self._backends,
        )
        self._status.publish(map_status(state, self.config))
        name = self.get_fully_qualified_name()
        self._diagnostics.publish(diagnostic_array(state, self.config, name))

    def _say_start(self) -> None:
        logger.info("mapping with %s on %s", self._model.checkpoint, self._model.device)
        logger.info("%s", ", ".join(f"{name}: {used}" for name, used in self._backends.items()))
        if not self._model.is_trained:
            logger.warning("%s", UNTRAINED)
        self._publish_status()
