"""The node's state as a whole, and what of it someone should act on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from flashvggt_ros.config import Config
from flashvggt_ros.ros.frame_ledger import FrameCounts
from flashvggt_ros.ros.memory_use import MemoryUse
from flashvggt_ros.ros.qos_watch import QosReport
from flashvggt_ros.ros.stream_watch import StreamReport
from flashvggt_ros.ros.tf_watch import TfReport
from flashvggt_ros.ros.worker_report import WorkerReport

NOT_METRIC = (
    "the unit of the map is not a meter: drive on, so that the scale can be measured; or give it "
    "odometry, depth, a rig of cameras or scale.camera_height; or set scale.source to fixed"
)
UNTRAINED = "untrained weights: the geometry means nothing"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights run where. ``sha256`` is empty for untrained weights."""

    checkpoint: str
    sha256: str
    revision: str
    is_trained: bool
    device: str


@dataclass(frozen=True, slots=True, eq=False)
class NodeState:
    """Everything that the two messages are made of.

    ``stamp_ns`` is that of the newest image received, 0 before the first. ``streams``: one for each
    camera. ``conflicts``: where other nodes do what this one does, in words. ``input_problems``,
    ``robot_problems`` and ``missing_transform`` say what keeps images, the robot's messages or
    transforms away, empty where nothing does. ``robot_rejected``: messages that could not be used,
    by topic of the robot and cause. ``jumps_back``: how often time has begun anew. ``no_grid`` says
    why there is no occupancy grid, if so.
    """

    stamp_ns: int
    is_active: bool
    is_paused: bool
    counts: FrameCounts
    rejected: Counter[str]
    report: WorkerReport
    streams: tuple[StreamReport, ...]
    conflicts: tuple[str, ...]
    input_problems: tuple[str, ...]
    qos: QosReport
    tf: TfReport
    jumps_back: int
    memory: MemoryUse
    missing_transform: str
    robot_problems: tuple[str, ...]
    robot_rejected: dict[str, Counter[str]]
    map_points: int
    no_grid: str
    model: ModelIdentity
    backends: dict[str, str]

    @property
    def tf_problem(self) -> str:
        """Why TF is older than listeners may count on; empty where it is not."""
        if self.is_paused or self.missing_transform or self.tf.behind_s <= self.tf.tolerance_s:
            return ""
        return (
            f"TF is {self.tf.behind_s:.1f} s behind the images, more than the "
            f"{self.tf.tolerance_s:.1f} s that listeners may count on: lower the rate of the images"
            ", image.queue_size or predictor.width"
        )

    def unit_problem(self, config: Config) -> str:
        """Say that the map's unit is no meter where one was to be measured; empty otherwise."""
        is_wanted = config.scale.source != "fixed" and self.report.submaps > 0
        return NOT_METRIC if is_wanted and self.report.scale_estimate is None else ""

    def problems(self, config: Config) -> str:
        """Say all that someone should act on, but for errors and pauses; empty if nothing."""
        problems = [
            *self.conflicts,
            *self.qos.problems,
            *self.input_problems,
            *self.robot_problems,
            self.missing_transform,
            self.tf_problem,
            "" if self.model.is_trained else UNTRAINED,
            self.report.rig_problem,
            self.report.map_problem,
            self.unit_problem(config),
        ]
        return "; ".join(filter(None, problems))
