"""flashvggt_demo: the whole system on one machine, from rendered images to a scored map."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.config import Config, ImageConfig
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.camera_bag import IMAGE_TOPIC
from flashvggt_ros.tools.child_process import Child, ChildError, loopback_environment
from flashvggt_ros.tools.evaluation.scores import evaluate, format_table
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.tools.sample_bag import (
    SURFACES_FILE,
    TRUTH_FILE,
    Recipe,
    make_sample_bag,
)
from flashvggt_ros.tools.scene_picture import contrast, draw_scene
from flashvggt_ros.tools.stop_signals import ending_as_interrupt

PROGRAM = "flashvggt_demo"
LOAD_TIMEOUT_S = 120.0  # for the node to load its checkpoint
STALL_TIMEOUT_S = 60.0  # without any change of the frame counts
REST_TIMEOUT_S = 30.0  # for the node to find the loops of the last submap
SETTLE_S = 3.5  # for the last map cloud, which is published every two seconds
POLL_S = 0.2
ERROR_STATE = 4  # flashvggt_ros/msg/MapStatus
READY_STATES = (1, 2)
SCORES = ("path_length_m", "ape_sim3_m", "ape_sim3_percent", "map", "map_fitted")
EXAMPLES = """example:
  flashvggt_demo --output out/demo

Renders a sample bag once (kept beside the output), starts mapping_node, records what it publishes,
plays the bag to it over DDS at real time, and writes trajectory.tum (poses as the map has them at
the end), odometry.tum (as they were sent), map.ply, scene.png (the map beside an image),
trajectory.png, map_top.png, evaluation.png, report.json, metrics.json and the logs."""


@silent_when_unread
@ending_as_interrupt()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 (the demo failed, and why), 2 (misuse) or 130 (stopped)."""
    arguments = _parser().parse_args(argv)
    try:
        folder = RunFolder(arguments.output)
        recipe = Recipe(seconds=arguments.seconds)
        bag = Path(arguments.bag) if arguments.bag else folder.path.parent / "sample_bag"
        print(f"sample bag: {recipe.frames} images, {bag}", flush=True)
        make_sample_bag(bag, recipe)
        folder.create()
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    try:
        checkpoint = arguments.checkpoint or _best_checkpoint()
        report = run_live(bag, recipe.frames, folder, checkpoint, arguments.device)
        _draw(folder, report, bag, recipe.camera)
        metrics = evaluate(folder.path, str(bag / TRUTH_FILE), folder.path, bag / SURFACES_FILE)
        folder.write_report({**report, **{name: metrics[name] for name in SCORES}})
    except (ChildError, ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped", file=sys.stderr)
        return 130
    print(_summary(report), format_table(metrics), f"written to {folder.path}", sep="\n")
    return 0


def run_live(
    bag: Path, frames: int, folder: RunFolder, checkpoint: str, device: str
) -> dict[str, Any]:
    """Play ``bag`` to a node over DDS and record it; write and return the report.

    Raises ChildError when a process fails, or frames stay unaccounted for.
    """
    env = loopback_environment()
    parameters = {"image_topics": f"['{IMAGE_TOPIC}']", "checkpoint": checkpoint, "device": device,
                  "image.queue_size": "1024",  # a slow machine takes its time: nothing is dropped
                  "map.voxel_size": "0.01"}  # a unit of the map is some meters here: fine enough
    node_arguments = ["--ros-args"]
    for name, value in parameters.items():
        node_arguments += ["-p", f"{name}:={value}"]
    start = time.monotonic()
    with (
        Child("flashvggt_record", "flashvggt_ros.ros.recorder", ["--output", str(folder.path)],
              env, folder.path / "recorder.log") as recorder,
        Child("mapping_node", "flashvggt_ros.ros.node_process", node_arguments, env,
              folder.path / "node.log") as node,
    ):
        watch = _Watch(folder.path / "status.jsonl", (recorder, node))
        watch.wait("the node did not become ready", LOAD_TIMEOUT_S,
                   lambda status: status["state"] in READY_STATES)
        loaded = time.monotonic()
        print(f"node ready after {loaded - start:.1f} s, playing", flush=True)
        with Child("flashvggt_play", "flashvggt_ros.ros.bag_player",
                   [str(bag), "--wait-for-subscribers", "30"], env,
                   folder.path / "player.log") as player:
            while not player.has_ended():
                watch.check()
                time.sleep(POLL_S)
        print("bag played, waiting for the last frames", flush=True)
        watch.wait("frames stay unaccounted for", STALL_TIMEOUT_S, _is_settled)
        mapped = time.monotonic()
        status = watch.wait("the last submap is not finished", REST_TIMEOUT_S, _has_rested)
        time.sleep(SETTLE_S)
    return _write_report(folder, status, frames, {"load": loaded - start, "map": mapped - loaded})


class _Watch:
    """Follows the node's status in the recorder's file, and that the processes live."""

    def __init__(self, status_file: Path, children: Sequence[Child]) -> None:
        self._status_file = status_file
        self._children = children

    def check(self) -> dict[str, Any]:
        """Return the newest status (empty before the first); raises ChildError for any failure."""
        for child in self._children:
            child.check_running()
        lines = self._status_file.read_bytes().split(b"\n") if self._status_file.exists() else []
        status: dict[str, Any] = json.loads(lines[-2]) if len(lines) > 1 else {}
        if status.get("state") == ERROR_STATE:
            raise ChildError(f"mapping_node reports an error: {status['message']}")
        return status

    def wait(
        self, failure: str, timeout_s: float, is_done: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait for a status that is done; ChildError ``timeout_s`` after the last frame moved."""
        counts, deadline = None, time.monotonic() + timeout_s
        while True:
            status = self.check()
            if status and is_done(status):
                return status
            if status and counts != _counts(status):
                counts, deadline = _counts(status), time.monotonic() + timeout_s
            if time.monotonic() > deadline:
                raise ChildError(f"{failure} for {timeout_s:g} s; the newest status: {status}")
            time.sleep(POLL_S)


def _counts(status: Mapping[str, Any]) -> dict[str, int]:
    names = ("received", "used", "gated", "dropped", "rejected")
    return {f"frames_{name}": status[f"frames_{name}"] for name in names}


def _is_settled(status: Mapping[str, Any]) -> bool:
    """Whether every image received has met its fate."""
    counts = _counts(status)
    received = counts.pop("frames_received")
    return received > 0 and status["queue_length"] == 0 and received == sum(counts.values())


def _has_rested(status: Mapping[str, Any]) -> bool:
    """Whether no submap is left that the node would finish because nothing new comes."""
    chunk = Config().chunk
    return status["cache_frames"] < chunk.size + chunk.overlap


def _write_report(
    folder: RunFolder, status: dict[str, Any], frames: int, seconds: dict[str, float]
) -> dict[str, Any]:
    recorded = json.loads((folder.path / "report.json").read_text(encoding="utf-8"))
    report = {
        "tool": PROGRAM,
        "frames_read": frames,
        "frames_lost_on_the_way": frames - status["frames_received"],
        **_counts(status),
        "rejected": dict(zip(status["rejected_causes"], status["rejected_counts"], strict=True)),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "frames_per_second": round(status["frames_received"] / seconds["map"], 3),
        "chunk_latency_p95_s": status["chunk_latency_p95_s"],
        "scale": {"value": status["scale"], "sigma": status["scale_sigma"],
                  "source": status["scale_source"], "is_metric": status["is_metric"]},
        "checkpoint": {"name": status["checkpoint"], "sha256": status["checkpoint_sha256"],
                       "is_trained": status["is_trained"]},
        "device": status["device"],
        "submaps": status["submaps"],
        "map_points": recorded["map_points"],
        "messages": recorded["messages"],
        "transforms": recorded["transforms"],
    }
    folder.write_report(report)
    return report


def _draw(folder: RunFolder, report: dict[str, Any], bag: Path, camera: Pinhole) -> None:
    stamps, T_map_camera = read_tum(folder.path / "trajectory.tum")
    points, colors = read_ply(folder.path / "map.ply")
    title = f"demo, {report['checkpoint']['name']}"
    if not report["checkpoint"]["is_trained"]:
        title += ": the geometry means nothing"
    frames = tuple(FrameStamp(stamp, "camera") for stamp in stamps)
    trajectory = Trajectory(frames, np.asarray(T_map_camera))
    folder.draw(trajectory, points, colors, title, is_metric=report["scale"]["is_metric"])
    row, image = _telling_image(bag, stamps)
    draw_scene(folder.path / "scene.png", points, colors, T_map_camera, image, row, camera, title)


def _telling_image(bag_path: Path, stamps: Sequence[int]) -> tuple[int, NDArray[np.uint8]]:
    """Return the image among those at ``stamps`` [ns] that shows most, and its row there."""
    rows = {stamp: row for row, stamp in enumerate(stamps)}
    with Bag(bag_path) as bag:
        frames = BagFrames(bag, bag.choose_image_topics([IMAGE_TOPIC]), ImageConfig())
        chosen = max((frame for frame in frames if frame and frame.stamp_ns in rows),
                     key=lambda frame: contrast(frame.image))
    return rows[chosen.stamp_ns], chosen.image


def _summary(report: dict[str, Any]) -> str:
    lost = report["frames_lost_on_the_way"]
    lines = [
        "",
        f"{report['frames_read']} frames played, {report['frames_received']} received"
        + (f" ({lost} lost by best-effort transport)" if lost else "")
        + f": {report['frames_used']} used, {report['frames_gated']} gated, "
        f"{report['frames_dropped']} dropped, {report['frames_rejected']} rejected",
        f"{report['map_points']} points, {report['submaps']} submaps, "
        f"{report['frames_per_second']:.2f} frames/s on {report['device']}",
    ]
    if not report["checkpoint"]["is_trained"]:
        lines.append("WARNING: the weights are untrained: the geometry means nothing.")
    return "\n".join([*lines, ""])


def _best_checkpoint() -> str:
    """The embedded checkpoint, or random weights where this installation has none yet."""
    from flashvggt_ros.model.checkpoint import EMBEDDED, UNTRAINED, WEIGHTS_FOLDER

    if (WEIGHTS_FOLDER / f"{EMBEDDED}.safetensors").is_file():
        return EMBEDDED
    print("WARNING: no embedded checkpoint: random weights, the geometry will mean nothing")
    return UNTRAINED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Map a rendered room with the real node, over DDS, and score the result.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", default="out/demo", metavar="DIR", help="folder for results")
    parser.add_argument("--bag", metavar="DIR", help="sample bag; default: beside the output")
    parser.add_argument("--seconds", type=float, default=Recipe().seconds, help="length of the bag")
    parser.add_argument("--checkpoint", help="default: the embedded one, if there is one")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
