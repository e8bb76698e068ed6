"""What a replay says of itself: counts of frames, time and memory, the path; and a summary."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.bag_robot import BagRobot
from flashvggt_ros.tools.stopwatch import Stopwatch

COMPLETE = ("end of bag", "max-frames")


def count_frames(
    frames: BagFrames, slam: Slam[Any], keyframes: Trajectory, trajectory: Trajectory
) -> dict[str, Any]:
    """Count what became of the images: read = used + gated + dropped + rejected.

    Those that could not be read, because the bag is damaged, are lost.
    ``trajectory`` holds all frames with a pose, placed = used + interpolated: ``keyframes`` and
    gated frames. A gated frame has no pose only where its keyframe was dropped.
    """
    return {
        "frames_read": frames.read,
        "frames_lost": frames.lost,
        "frames_placed": len(trajectory.frames),
        "frames_used": len(keyframes.frames),
        "frames_interpolated": len(trajectory.frames) - len(keyframes.frames),
        "frames_gated": slam.gated,
        "frames_dropped": slam.keyframes - len(keyframes.frames),
        "frames_rejected": frames.rejected.total(),
        "rejected": dict(frames.rejected),
        "rejected_camera_info": dict(frames.rejected_camera_info),
    }


def measure_run(watch: Stopwatch, frames_read: int) -> dict[str, Any]:
    """Return seconds per stage, frames per second (without writing) and peak memory."""
    working = sum(watch.seconds.values()) - watch.seconds["write"]
    return {
        "seconds_per_stage": {name: round(value, 4) for name, value in watch.seconds.items()},
        "frames_per_second": round(frames_read / working, 3) if working else 0.0,
        **_peak_memory(),
    }


def measure_motion(trajectory: Trajectory) -> dict[str, float]:
    """Return the path's length and the largest rotation from one keyframe to the next."""
    T = trajectory.T_map_camera
    steps = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    turns = se3.rotation_angle((se3.inverse(T[:-1]) @ T[1:])[:, :3, :3]) if len(T) > 1 else [0.0]
    return {
        "path_length_m": float(steps.sum()),
        "largest_rotation_deg": float(np.degrees(np.max(turns))),
    }


def describe_layout(current_map: Map) -> dict[str, Any]:
    """Say how many meters a unit is, what measured that and which way is up, and count loops.

    ``sigma`` is the standard deviation of the scale's logarithm, None where nothing measured it.
    """
    layout, estimate = current_map.layout, current_map.layout.scale_estimate
    return {
        "scale": {
            "value": current_map.scale,
            "sigma": estimate.sigma if estimate else None,
            "source": estimate.source if estimate else "fixed",
            "is_metric": estimate is not None,
        },
        "up": layout.up.source if layout.up else "assumed",
        "loops": layout.loops,
    }


def describe_robot(robot: BagRobot) -> dict[str, Any]:
    """Count the messages of the robot's topics and of TF: read, lost, and refused by cause."""
    return {
        "messages": dict(robot.read),
        "lost": dict(robot.lost),
        "rejected": {topic: dict(counts) for topic, counts in robot.rejected.items() if counts},
    }


def _peak_memory() -> dict[str, float]:
    """Peak of resident memory, and of GPU memory where a GPU was used [MB]."""
    peak = {"peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peak["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peak


def _format_scale(scale: dict[str, Any]) -> str:
    if not scale["is_metric"]:
        return f"scale {scale['value']:.4g} {scale['source']}, not metric"
    return f"scale {scale['value']:.4g} by {scale['source']}, +- {100 * scale['sigma']:.1f} %"


def _format_localized(localized: dict[str, Any]) -> str:
    if localized["after_frames"] is None:
        return "NOT LOCALIZED: nothing was seen that the loaded map shows."
    return (
        f"localized in the loaded map after {localized['after_frames']} frames, "
        f"{localized['keyframes']} keyframes since"
    )


def format_summary(report: dict[str, Any], folder: Path) -> str:
    """Return a report as text for a terminal."""
    causes = ", ".join(f"{count} {cause}" for cause, count in report["rejected"].items())
    lines = [
        f"{report['frames_read']} frames read: {report['frames_used']} used, "
        f"{report['frames_gated']} gated, {report['frames_dropped']} dropped, "
        f"{report['frames_rejected']} rejected"
        + (f" ({causes})" if causes else ""),
        f"{report['frames_placed']} placed: {report['frames_used']} keyframes, "
        f"{report['frames_interpolated']} gated ones between them",
        f"{report['map_points']} points, path {report['path_length_m']:.2f} m "
        f"({_format_scale(report['scale'])}), {report['submaps']} submaps, "
        f"{report['torn_submaps']} of them torn off, {report['loops']} loops; "
        f"up: {report['up']}",
        f"{report['frames_per_second']:.2f} frames/s, {report['peak_memory_mb']:.0f} MB",
    ]
    if report["localized"]:
        lines.append(_format_localized(report["localized"]))
    if not report["checkpoint"]["is_trained"]:
        lines.append("WARNING: the weights are untrained: the geometry means nothing.")
    if report["stopped_by"] not in COMPLETE:
        lines.append(f"INCOMPLETE: ended by {report['stopped_by']}; what came before is written.")
    if report["frames_lost"]:
        lines.append(f"DAMAGED BAG: {report['frames_lost']} more images could not be read.")
    if not report["frames_used"]:
        why = f"; {report['frames_rejected']} were rejected: {causes}" if causes else ""
        lines.append(f"NOTHING MAPPED: none of {report['frames_read']} frames found a place in "
                     f"the map{why}.")
    return "\n".join([*lines, f"written to {folder}"])
