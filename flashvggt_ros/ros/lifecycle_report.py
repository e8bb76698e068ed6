"""What status and diagnostics say of the managed node itself, in every state of its life."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from flashvggt_ros.config import Config
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.map_status import UNKNOWN_SIGMA
from flashvggt_ros.ros.memory_use import memory_use
from flashvggt_ros.ros.tf_watch import UNKNOWN

REMEDIES = {
    "unconfigured": "configure and activate it: by nav2_lifecycle_manager, ros2 lifecycle set, or "
    "the parameter autostart",
    "inactive": "activate it, or clean it up to free its memory",
    "active": "",
    "finalized": "it was shut down: only a restart brings it back",
}


@dataclass(frozen=True, slots=True)
class LifecycleReport:
    """The node's primary state, by its label, and what stands in its way.

    ``failure`` says why the last transition failed, or why the node ends; empty where it did not.
    ``conflicts``: where other nodes do what this one does, in words.
    """

    state: str
    is_loading: bool
    failure: str
    conflicts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The state in words, and what to do about it."""
        state = "the model is being loaded" if self.is_loading else self.state
        remedy = "" if self.is_loading else REMEDIES.get(self.state, "")
        return "; ".join(filter(None, (self.failure, *self.conflicts, state, remedy)))


def bare_status(report: LifecycleReport, config: Config) -> MapStatus:
    """The message for ~/status while there is no model and no map."""
    memory = memory_use()
    loaded = " and the map ".join(filter(None, (config.checkpoint, config.load_map)))
    state = MapStatus.STARTING if report.is_loading else MapStatus.UNCONFIGURED
    return MapStatus(
        header=Header(frame_id=config.tf.map_frame),
        state=MapStatus.ERROR if report.failure else state,
        message=f"loading {loaded}" if report.is_loading else report.text,
        has_warning=bool(report.failure or report.conflicts),
        tf_latency_p50_s=UNKNOWN,
        tf_latency_p95_s=UNKNOWN,
        tf_age_s=UNKNOWN,
        host_memory_bytes=memory.host_bytes,
        gpu_memory_bytes=memory.gpu_bytes,
        scale_sigma=UNKNOWN_SIGMA,
        checkpoint=config.checkpoint,
    )


def node_diagnostic(report: LifecycleReport, node_name: str) -> DiagnosticStatus:
    """The entry of /diagnostics for the node itself."""
    level = DiagnosticStatus.WARN if report.conflicts else DiagnosticStatus.OK
    return DiagnosticStatus(
        level=DiagnosticStatus.ERROR if report.failure else level,
        name=f"{node_name}: node",
        message=report.text,
        values=[KeyValue(key="state", value=report.state)],
    )
