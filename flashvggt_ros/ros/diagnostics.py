"""The node's state in words and numbers: MapStatus on ~/status, DiagnosticArray on /diagnostics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from flashvggt_ros.config import Config
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.frame_ledger import FrameCounts
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.ros.worker_report import WorkerReport

NOT_METRIC = (
    "the unit of the map is not a meter: drive on, so that the scale can be measured; or give it "
    "odometry, depth, a rig of cameras or scale.camera_height; or set scale.source to fixed"
)
UNKNOWN_SIGMA = -1.0
INACTIVE = "inactive: no image is taken and no pose published; activate the node to go on"
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

    ``stamp_ns`` is that of the newest image received, 0 before the first. ``input_problems``,
    ``robot_problems`` and ``missing_transform`` say what keeps images, the robot's messages or
    transforms away, empty where nothing does. ``robot_rejected``: messages that could not be used,
    by topic of the robot and cause. ``conflicts``: where other nodes do what this one does, in
    words. ``no_grid`` says why there is no occupancy grid, if so.
    """

    stamp_ns: int
    is_active: bool
    is_paused: bool
    counts: FrameCounts
    rejected: Counter[str]
    report: WorkerReport
    input_problems: tuple[str, ...]
    missing_transform: str
    robot_problems: tuple[str, ...]
    robot_rejected: dict[str, Counter[str]]
    conflicts: tuple[str, ...]
    map_points: int
    no_grid: str
    model: ModelIdentity
    backends: dict[str, str]


def map_status(state: NodeState, config: Config) -> MapStatus:
    """The message for ~/status."""
    code, text = _state(state, config)
    counts, report = state.counts, state.report
    scale = report.scale_estimate
    return MapStatus(
        header=Header(stamp=time_message(state.stamp_ns), frame_id=config.tf.map_frame),
        state=code,
        message=text,
        frames_received=counts.received,
        frames_used=counts.used,
        frames_gated=counts.gated,
        frames_dropped=counts.dropped,
        frames_rejected=counts.rejected,
        rejected_causes=sorted(state.rejected),
        rejected_counts=[state.rejected[cause] for cause in sorted(state.rejected)],
        queue_length=counts.waiting,
        submaps=report.submaps,
        map_points=state.map_points,
        cache_frames=report.cache_frames,
        cache_bytes=report.cache_bytes,
        cache_limit_bytes=int(config.predictor.max_cache_mb * 1e6),
        chunk_latency_s=report.latency_s,
        chunk_latency_p95_s=report.latency_p95_s,
        scale=report.scale,
        scale_sigma=scale.sigma if scale else UNKNOWN_SIGMA,
        scale_source=scale.source if scale else "fixed",
        is_metric=scale is not None,
        up_source=report.up_source,
        loops=report.loops,
        is_localized=report.is_joined,
        checkpoint=state.model.checkpoint,
        checkpoint_sha256=state.model.sha256,
        is_trained=state.model.is_trained,
        device=state.model.device,
    )


def diagnostic_array(state: NodeState, config: Config, node_name: str) -> DiagnosticArray:
    """The message for /diagnostics: images, model, mapping, scale, robot, transforms."""
    statuses = [
        _images(state), _model(state), _mapping(state), _scale(state, config), _robot(state),
        _transforms(state),
    ]  # fmt: skip
    for status in statuses:
        status.name = f"{node_name}: {status.name}"
        status.hardware_id = state.model.device
    return DiagnosticArray(header=Header(stamp=time_message(state.stamp_ns)), status=statuses)


def _unit_problem(state: NodeState, config: Config) -> str:
    """Say that the map's unit is no meter where one was to be measured; empty otherwise."""
    is_wanted = config.scale.source != "fixed" and state.report.submaps > 0
    return NOT_METRIC if is_wanted and state.report.scale_estimate is None else ""


def _state(state: NodeState, config: Config) -> tuple[int, str]:
    if state.report.error:
        return MapStatus.ERROR, state.report.error
    if not state.is_active:
        return MapStatus.INACTIVE, INACTIVE
    if state.is_paused:
        return MapStatus.PAUSED, "paused: images are dropped; call ~/pause with false to go on"
    problems = [*state.conflicts, *state.input_problems, *state.robot_problems]
    problems.append(state.missing_transform)
    if not state.model.is_trained:
        problems.append(UNTRAINED)
    problems += [state.report.rig_problem, _unit_problem(state, config)]
    text = "; ".join(problem for problem in problems if problem)
    if not state.counts.received:
        return MapStatus.WAITING, text or "no image has arrived yet"
    return MapStatus.MAPPING, text or "mapping"


def _images(state: NodeState) -> DiagnosticStatus:
    counts = state.counts
    values: dict[str, object] = {
        "received [frames]": counts.received,
        "used [frames]": counts.used,
        "gated, nothing new [frames]": counts.gated,
        "dropped [frames]": counts.dropped,
        "rejected [frames]": counts.rejected,
        "waiting [frames]": counts.waiting,
        **{f"rejected: {cause} [messages]": state.rejected[cause] for cause in state.rejected},
    }
    problems = list(state.input_problems)
    if state.is_paused:
        problems.append("paused")
    if counts.rejected:
        problems.append(f"{counts.rejected} images rejected")
    return _status("images", "; ".join(problems), "images arrive", values)


def _model(state: NodeState) -> DiagnosticStatus:
    values: dict[str, object] = {
        "checkpoint": state.model.checkpoint,
        "sha256": state.model.sha256,
        "device": state.model.device,
        **{f"backend: {name}": used for name, used in state.backends.items()},
    }
    return _status("model", "" if state.model.is_trained else UNTRAINED, "trained weights", values)


def _mapping(state: NodeState) -> DiagnosticStatus:
    report = state.report
    values: dict[str, object] = {
        "chunks": report.chunks,
        "chunk latency [s]": f"{report.latency_s:.3f}",
        "chunk latency, median [s]": f"{report.latency_p50_s:.3f}",
        "chunk latency, 95th percentile [s]": f"{report.latency_p95_s:.3f}",
        "submaps": report.submaps,
        "map cloud [points]": state.map_points,
        "descriptor cache [frames]": report.cache_frames,
        "descriptor cache [bytes]": report.cache_bytes,
        "loops": report.loops,
        "up": report.up_source,
        "occupancy grid": state.no_grid or "published",
    }
    status = _status("mapping", report.error, "mapping", values)
    if report.error:
        status.level = DiagnosticStatus.ERROR
    return status


def _scale(state: NodeState, config: Config) -> DiagnosticStatus:
    """Whether the unit of the map is a meter, and how sure that is."""
    scale = state.report.scale_estimate
    values: dict[str, object] = {
        "meters per unit": f"{state.report.scale:.6g}",
        "source": scale.source if scale else "fixed",
        "standard deviation [%]": f"{100 * scale.sigma:.2g}" if scale else "unknown",
    }
    all_well = f"measured: {scale.source}" if scale else "not measured"
    return _status("scale", _unit_problem(state, config), all_well, values)


def _robot(state: NodeState) -> DiagnosticStatus:
    """What odometry, IMU and depth topics bring."""
    rejected = {topic: counts for topic, counts in state.robot_rejected.items() if counts}
    values: dict[str, object] = {
        f"{topic}, rejected: {cause} [messages]": count
        for topic, counts in rejected.items()
        for cause, count in sorted(counts.items())
    }
    refused = [f"{counts.total()} messages on {name} rejected" for name, counts in rejected.items()]
    all_well = "its messages arrive" if state.robot_rejected else "no topics of the robot are named"
    return _status("robot", "; ".join([*state.robot_problems, *refused]), all_well, values)


def _transforms(state: NodeState) -> DiagnosticStatus:
    problems = filter(None, (state.missing_transform, state.report.rig_problem))
    return _status("transforms", "; ".join(problems), "nothing is missing", {})


def _status(name: str, problem: str, all_well: str, values: dict[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if problem else DiagnosticStatus.OK,
        name=name,
        message=problem or all_well,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
