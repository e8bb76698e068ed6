"""What the worker says of itself and of the map, for status and diagnostics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.mapping.metric_scale import ScaleEstimate
from flashvggt_ros.slam import Slam

NO_MAP = (
    "mode is localization, but no map is loaded, and one is built from what is seen: call "
    "~/load_map, or name a map in load_map"
)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The worker as its status shows it; ``error`` is empty while all is well.

    ``latency_s``: newest chunk, last image received to poses published; ``latency_p50_s``,
    ``latency_p95_s`` and ``latency_max_s``: percentiles of the recent chunks, the longest one [s].
    ``scale``: meters per unit of the newest submap, as it is measured by ``scale_estimate``, None
    where it is not. ``up_source`` says what knows which way is up; ``is_joined`` whether the newest
    submap hangs on the rest. ``last_loop_ns``: newest keyframe's stamp when the newest loop was
    closed, 0 before the first. ``stands_until_ns``: see Standstill. ``rig_problem``: which cameras
    images see elsewhere than TF has them; ``map_problem``: that there is no map to localize in;
    empty if there is none.
    """

    error: str
    submaps: int
    cache_frames: int
    cache_bytes: int
    scale: float
    scale_estimate: ScaleEstimate | None
    up_source: str
    loops: int
    last_loop_ns: int
    is_joined: bool
    rig_problem: str
    map_problem: str
    chunks: int
    latency_s: float
    latency_p50_s: float
    latency_p95_s: float
    latency_max_s: float
    stands_until_ns: dict[FrameStamp, int]


def worker_report(
    slam: Slam, error: str, chunks: int, latencies_s: Collection[float]
) -> WorkerReport:
    """Return the report of a worker that has mapped ``chunks``, the newest with these latencies."""
    layout = slam.map.layout
    latencies = np.array(latencies_s or [0.0])
    return WorkerReport(
        error=error,
        submaps=sum(submap.frames > 0 for submap in slam.map.submaps),
        cache_frames=slam.cache.frames,
        cache_bytes=slam.cache.nbytes,
        scale=slam.map.scale,
        scale_estimate=layout.scale_estimate,
        up_source=layout.up.source if layout.up else "assumed",
        loops=layout.loops,
        last_loop_ns=layout.last_loop_ns,
        is_joined=slam.map.live.is_joined and slam.map.is_localized,
        rig_problem=slam.rig.problem,
        map_problem=NO_MAP if slam.config.mode == "localization" and slam.map.is_extended else "",
        chunks=chunks,
        latency_s=float(latencies[-1]),
        latency_p50_s=float(np.percentile(latencies, 50)),
        latency_p95_s=float(np.percentile(latencies, 95)),
        latency_max_s=float(latencies.max()),
        stands_until_ns=slam.standstill.until_ns,
    )
