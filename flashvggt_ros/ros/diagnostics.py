"""The node's state for operators, on /diagnostics; docs/diagnostics.md explains each entry."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from flashvggt_ros.config import Config
from flashvggt_ros.ros.map_status import cache_limit
from flashvggt_ros.ros.node_state import UNTRAINED, NodeState
from flashvggt_ros.ros.tf_watch import UNKNOWN

OTHER_CLOCK = "unknown: the images' stamps are not on this clock"
NO_TF = "unknown: no pose is on TF"


def diagnostic_array(state: NodeState, config: Config, node_name: str) -> DiagnosticArray:
    """What /diagnostics says of a session: images, topics, model and so on; not yet stamped."""
    statuses = [
        _images(state, config), _topics(state), _model(state, config), _mapping(state),
        _scale(state, config), _robot(state), _transforms(state),
    ]  # fmt: skip
    for status in statuses:
        status.name = f"{node_name}: {status.name}"
        status.hardware_id = state.model.device
    return DiagnosticArray(status=statuses)


def _images(state: NodeState, config: Config) -> DiagnosticStatus:
    counts = state.counts
    values: dict[str, object] = {
        "received [frames]": counts.received,
        "used [frames]": counts.used,
        "gated, nothing new [frames]": counts.gated,
        "dropped [frames]": counts.dropped,
        "rejected [frames]": counts.rejected,
        "waiting [frames]": counts.waiting,
        "waiting, at most [frames]": config.queue_limit,
        "time jumped back [times]": state.jumps_back,
        **{f"dropped: {cause} [frames]": counts.drops[cause] for cause in sorted(counts.drops)},
        **{f"rejected: {cause} [messages]": state.rejected[cause] for cause in state.rejected},
    }
    for stream in state.streams:
        values[f"{stream.topic}: rate [Hz]"] = f"{stream.rate_hz:.1f}"
        values[f"{stream.topic}: newest image [s ago]"] = f"{stream.silence_s:.1f}"
    problems = list(state.input_problems)
    if state.is_paused:
        problems.append("paused")
    if counts.rejected:
        problems.append(f"{counts.rejected} images rejected")
    all_well = "images arrive" if state.is_active else "inactive: no image is taken"
    return _status("images", "; ".join(problems), all_well, values)


def _topics(state: NodeState) -> DiagnosticStatus:
    """Who publishes what is subscribed to, and whether it can arrive."""
    values: dict[str, object] = {
        f"publishers of {topic}": publishers for topic, publishers in state.qos.publishers.items()
    }
    return _status("topics", "; ".join(state.qos.problems), "all offers match", values)


def _model(state: NodeState, config: Config) -> DiagnosticStatus:
    memory, report = state.memory, state.report
    filled = report.cache_bytes / cache_limit(config)
    values: dict[str, object] = {
        "checkpoint": state.model.checkpoint,
        "sha256": state.model.sha256,
        "device": state.model.device,
        "host memory [MB]": round(memory.host_bytes / 1e6),
        "GPU memory [MB]": round(memory.gpu_bytes / 1e6),
        "descriptor cache [frames]": report.cache_frames,
        "descriptor cache [bytes]": report.cache_bytes,
        "descriptor cache [% of its limit]": f"{100 * filled:.1f}",
        **{f"backend: {name}": used for name, used in state.backends.items()},
    }
    return _status("model", "" if state.model.is_trained else UNTRAINED, "trained weights", values)


def _mapping(state: NodeState) -> DiagnosticStatus:
    report = state.report
    last_loop = f"{report.last_loop_ns * 1e-9:.3f}" if report.last_loop_ns else "none yet"
    values: dict[str, object] = {
        "chunks": report.chunks,
        "chunk latency [s]": f"{report.latency_s:.3f}",
        "chunk latency, median [s]": f"{report.latency_p50_s:.3f}",
        "chunk latency, 95th percentile [s]": f"{report.latency_p95_s:.3f}",
        "submaps": report.submaps,
        "map cloud [points]": state.map_points,
        "loops": report.loops,
        "last loop [stamp, s]": last_loop,
        "up": report.up_source,
        "occupancy grid": state.no_grid or "published",
    }
    status = _status("mapping", report.error or report.map_problem, "mapping", values)
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
    return _status("scale", state.unit_problem(config), all_well, values)


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
    """What is on TF, how old it is, and what listeners may count on."""
    tf = state.tf
    unknown = OTHER_CLOCK if tf.newest_ns else NO_TF

    def seconds(value: float) -> str:
        return unknown if value == UNKNOWN else f"{value:.3f}"

    values: dict[str, object] = {
        "TF age [s]": seconds(tf.age_s),
        "TF behind the newest image [s]": f"{tf.behind_s:.3f}" if tf.newest_ns else NO_TF,
        "TF tolerance [s]": f"{tf.tolerance_s:.3f}",
        "image to TF, median [s]": seconds(tf.latency_p50_s),
        "image to TF, 95th percentile [s]": seconds(tf.latency_p95_s),
    }
    problems = filter(None, (state.missing_transform, state.tf_problem, state.report.rig_problem))
    return _status("transforms", "; ".join(problems), "nothing is missing", values)


def _status(name: str, problem: str, all_well: str, values: dict[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if problem else DiagnosticStatus.OK,
        name=name,
        message=problem or all_well,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
