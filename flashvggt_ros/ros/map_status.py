"""The node's state as MapStatus, for ~/status."""

from __future__ import annotations

from std_msgs.msg import Header

from flashvggt_ros.config import Config
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.ros.node_state import NodeState

UNKNOWN_SIGMA = -1.0
INACTIVE = "inactive: no image is taken and no pose published; activate the node to go on"


def map_status(state: NodeState, config: Config) -> MapStatus:
    """Return the message for ~/status."""
    code, text, has_warning = _state(state, config)
    report = state.report
    scale = report.scale_estimate
    return MapStatus(
        header=Header(stamp=time_message(state.stamp_ns), frame_id=config.tf.map_frame),
        state=code,
        message=text,
        has_warning=has_warning,
        **_frames(state, config),
        submaps=report.submaps,
        map_points=state.map_points,
        cache_frames=report.cache_frames,
        cache_bytes=report.cache_bytes,
        cache_limit_bytes=cache_limit(config),
        chunk_latency_s=report.latency_s,
        chunk_latency_p95_s=report.latency_p95_s,
        tf_latency_p50_s=state.tf.latency_p50_s,
        tf_latency_p95_s=state.tf.latency_p95_s,
        tf_age_s=state.tf.age_s,
        tf_tolerance_s=state.tf.tolerance_s,
        host_memory_bytes=state.memory.host_bytes,
        gpu_memory_bytes=state.memory.gpu_bytes,
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


def _frames(state: NodeState, config: Config) -> dict[str, object]:
    """The fields that say what came and what became of it."""
    counts = state.counts
    return {
        "frames_received": counts.received,
        "frames_used": counts.used,
        "frames_gated": counts.gated,
        "frames_dropped": counts.dropped,
        "dropped_causes": sorted(counts.drops),
        "dropped_counts": [counts.drops[cause] for cause in sorted(counts.drops)],
        "frames_rejected": counts.rejected,
        "rejected_causes": sorted(state.rejected),
        "rejected_counts": [state.rejected[cause] for cause in sorted(state.rejected)],
        "queue_length": counts.waiting,
        "queue_limit": config.queue_limit,
        "image_rates": [stream.rate_hz for stream in state.streams],
    }


def cache_limit(config: Config) -> int:
    """Bound on the descriptor cache [bytes]."""
    return int(config.predictor.max_cache_mb * 1e6)


def _state(state: NodeState, config: Config) -> tuple[int, str, bool]:
    """Return the state, what there is to say, and whether someone should act."""
    if state.report.error:
        return MapStatus.ERROR, state.report.error, True
    if not state.is_active:
        text = "; ".join((*state.conflicts, INACTIVE))
        return MapStatus.INACTIVE, text, bool(state.conflicts)
    if state.is_paused:
        text = "paused: images are dropped; call ~/pause with false to go on"
        return MapStatus.PAUSED, text, True
    problems = state.problems(config)
    if not state.counts.received:
        return MapStatus.WAITING, problems or "no image has arrived yet", bool(problems)
    return MapStatus.MAPPING, problems or "mapping", bool(problems)
