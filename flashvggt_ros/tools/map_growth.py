"""Draws how a map grows while a bag is replayed, as an animation: make pictures."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.sim3 import Sim3, align_points
from flashvggt_ros.mapping.map_io import read_tum
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.replay import Replay, load_model
from flashvggt_ros.tools.replay_options import replay_config, replay_parser
from flashvggt_ros.tools.scene_picture import NEIGHBORS, Outlook, point_spacing

PROGRAM = "map_growth"
SIZE = (720, 560)  # of a frame [px]
FRAME_MS, LAST_MS = 300, 3000
TRUTH_COLOR, PATH_COLOR = (0, 0, 0), (213, 94, 0)
QUALITY = 75  # of a frame, 0 to 100
PATH_PX = 5
MARGIN, LINE_PX = 12, 18  # of the legend [px]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The map after an image: points (M, 3) [m], colors (M, 3) and places (K, 3) of ``frames``."""

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    frames: tuple[FrameStamp, ...]
    positions: NDArray[np.float64]


class GrowthRecorder:
    """Keeps the map each time that it has changed; see ReplayObserver."""

    def __init__(self) -> None:
        self.is_paused = False
        self.stages: list[Stage] = []
        self._version = 0

    def show(self, replay: Replay) -> None:
        """Keep the map if it has changed."""
        current = replay.slam.map
        if current.version == self._version or not current.frames:
            return
        self._version = current.version
        trajectory = current.trajectory()
        positions = trajectory.T_map_camera[:, :3, 3].copy()
        self.stages.append(Stage(*current.cloud(), trajectory.frames, positions))

    def finish(self, replay: Replay) -> None:
        """Keep the map as it is at the end."""
        self.show(replay)


def draw_growth(
    path: Path, stages: Sequence[Stage], truth_stamps: Sequence[int], truth: NDArray[np.float64]
) -> None:
    """Write the animation: the map from outside, its path, and the truth as far as that.

    ``truth`` (T, 3) at ``truth_stamps`` (T,) [ns], in any frame and unit: it is aligned with the
    last path. Raises ValueError where too little of the path has a truth.
    """
    last = stages[-1]
    S_map_truth = _alignment(last, truth_stamps, truth)
    truth_map, stamps = S_map_truth.transform_points(truth), np.array(truth_stamps)
    outlook, size = Outlook.onto(last.points, *SIZE), point_spacing(last.points)
    pictures = []
    for stage in stages:
        if len(stage.points) <= NEIGHBORS:
            continue
        so_far = truth_map[stamps <= max(frame.stamp_ns for frame in stage.frames)]
        picture = outlook.draw(stage.points, stage.colors, stage.positions, size)
        picture = outlook.draw_line(picture, stage.positions, PATH_COLOR, PATH_PX)
        picture = outlook.draw_line(picture, so_far, TRUTH_COLOR, 1)
        pictures.append(_with_legend(picture, stage))
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0,
                     quality=QUALITY, method=6)


def _alignment(
    stage: Stage, truth_stamps: Sequence[int], truth: NDArray[np.float64]
) -> Sim3:
    """Return S_map_truth by the places that both know."""
    rows = {stamp: row for row, stamp in enumerate(truth_stamps)}
    pairs = [(rows[frame.stamp_ns], own) for own, frame in enumerate(stage.frames)
             if frame.stamp_ns in rows]
    if len(pairs) < 3:
        raise ValueError(f"only {len(pairs)} of {len(stage.frames)} keyframes have a true pose")
    known, own = np.array(pairs).T
    return align_points(truth[known], stage.positions[own], np.ones(len(pairs)))


def _with_legend(picture: NDArray[np.uint8], stage: Stage) -> Image.Image:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for row, (text, color) in enumerate((
        ("path of the camera", PATH_COLOR), ("true path", TRUTH_COLOR),
        (f"{len(stage.frames)} keyframes, {len(stage.points):,} points", (90, 90, 90)),
    )):
        draw.text((MARGIN, MARGIN + row * LINE_PX), text, fill=color, font_size=15)
    return image


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 (misuse)."""
    parser = replay_parser()
    parser.prog, parser.description, parser.epilog = PROGRAM, __doc__, None
    parser.add_argument("--ground-truth", type=Path, required=True, metavar="TUM")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    recorder = GrowthRecorder()
    try:
        stamps, T_world_camera = read_tum(arguments.ground_truth)
        with Bag(arguments.bag) as bag:
            config = replay_config(arguments, bag)
            Replay(bag, config, *load_model(config), observer=recorder).run(arguments.max_frames)
        if not recorder.stages:
            raise ValueError(f"nothing of {arguments.bag} was mapped")
        draw_growth(Path(arguments.output), recorder.stages, stamps, T_world_camera[:, :3, 3])
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
