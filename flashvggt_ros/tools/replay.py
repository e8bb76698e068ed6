"""flashvggt_replay: map a recorded bag with the code that the node runs, and write the results."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

from flashvggt_ros import __version__
from flashvggt_ros.chunk_predictor import ChunkPredictor
from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.config import Config, flatten
from flashvggt_ros.cpu_threads import let_idle_threads_sleep
from flashvggt_ros.frame import Frame, FrameStamp
from flashvggt_ros.heap_memory import keep_freed_memory
from flashvggt_ros.mapping.gated_frames import GatedFrames, joined
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.sensors.bag_reader import Bag, BagError
from flashvggt_ros.sensors.intake import Reduction, unreduced
from flashvggt_ros.slam import Collected, Slam
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.bag_robot import BagRobot
from flashvggt_ros.tools.localized_path import LocalizedPath
from flashvggt_ros.tools.replay_observer import UNOBSERVED, ReplayObserver
from flashvggt_ros.tools.replay_options import (
    PROGRAM,
    check_map,
    replay_config,
    replay_parser,
    run_folder,
)
from flashvggt_ros.tools.replay_report import (
    COMPLETE,
    count_frames,
    describe_layout,
    describe_robot,
    format_summary,
    measure_motion,
    measure_run,
)
from flashvggt_ros.tools.replay_view import ReplayView
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.tools.stop_signals import StopSignals
from flashvggt_ros.tools.stopwatch import Stopwatch, TimedGate, TimedPredictor
from flashvggt_ros.viewer.options import open_page

if TYPE_CHECKING:
    from flashvggt_ros.model.checkpoint import CheckpointCard

FAILURES_TO_GIVE_UP = 3  # in a row
PAUSE_S = 0.1  # between two looks whether a pause is over
logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Shows how far a replay is: ``update`` is called once for each image."""

    def update(self) -> object:
        """Count an image."""


ShowProgress = Callable[[int], AbstractContextManager[Progress]]
"""Begins to show it, given how many images there are."""


@silent_when_unread
def main(
    argv: Sequence[str] | None = None, show_progress: ShowProgress | None = None
) -> int:
    """Run the command line; return 0, 1 (not all mapped or written), 2 (misuse), 130 (stopped)."""
    arguments = replay_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with ExitStack() as stack:
        try:
            folder = run_folder(arguments)
            bag = stack.enter_context(Bag(arguments.bag))
            config = replay_config(arguments, bag)
            check_map(arguments)
            page = stack.enter_context(open_page(arguments)) if arguments.view else None
            view = ReplayView(page) if page else None
            replay = Replay(bag, config, *load_model(config), map_folder=arguments.map,
                            observer=view or UNOBSERVED)
            if folder:
                folder.create()
        except (ValueError, OSError) as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"{PROGRAM}: stopped before anything was mapped", file=sys.stderr)
            return 130
        replay.run(arguments.max_frames, show_progress)
        try:
            frames_used = _write(replay, folder) if folder else replay.slam.map.frames
        except OSError as error:
            print(f"{PROGRAM}: the results cannot be written: {error}", file=sys.stderr)
            return 1
        if view and replay.stopped_by != "signal":
            view.hold()
    if replay.stopped_by == "signal":
        return 130
    is_whole = replay.stopped_by in COMPLETE and not replay.frames.lost
    return 0 if frames_used and is_whole else 1


def _write(replay: Replay, folder: RunFolder) -> int:
    """Write the results and sum them up; return how many frames were used."""
    report = replay.write(folder)
    print(format_summary(report, folder.path))
    return int(report["frames_used"])


class Replay:
    """One pass over a bag: feeds its images to a Slam and reports what became of them."""

    def __init__(
        self, bag: Bag, config: Config, predictor: ChunkPredictor[Any], card: CheckpointCard,
        reduction: Reduction = unreduced, *, map_folder: Path | None = None,
        observer: ReplayObserver = UNOBSERVED,
    ) -> None:
        self.watch = Stopwatch()
        self.robot = BagRobot(bag, config)
        self.slam = Slam(config, TimedPredictor(predictor, self.watch), self.robot)
        self.map_folder = map_folder
        self._model = MapModel(card.name, card.sha256, card.revision)
        if map_folder is not None:
            self.slam.load_map(map_folder, self._model)
        self._path = LocalizedPath()
        self.slam.keyframe_gate = TimedGate(config.keyframe, self.watch)
        self.stopped_by = "end of bag"
        self.chunk_s = 0.0  # that the newest chunk took
        self._gated = GatedFrames()
        self._pending: tuple[Collected, int] | None = None  # a chunk, and images read by then
        self._torn: set[int] = set()
        self._failures = 0
        self._observer = observer
        self._bag = bag
        self._card = card
        self._topics = bag.choose_image_topics(config.image_topics)
        info_topics = config.image.camera_info_topics
        self.frames = BagFrames(bag, self._topics, config.image, info_topics, reduction)

    def run(self, max_frames: int = 0, show_progress: ShowProgress | None = None) -> None:
        """Map all images, or the first ``max_frames`` (0: all); StopSignals end it early."""
        images = iter(self.frames)
        total = sum(topic.messages for topic in self._topics)
        total = min(total, max_frames) if max_frames else total
        with StopSignals() as signals, (show_progress or _progress_bar)(total) as bar:
            while not (max_frames and self.frames.read >= max_frames):
                try:
                    with self.watch.stage("read"):
                        frame = next(images)
                        self.robot.read_until(self.frames.log_ns)
                except StopIteration:
                    break
                except BagError as error:
                    logger.error("%s; what came before is mapped", error)
                    self.stopped_by = "damaged bag"
                    break
                if frame is not None:
                    self._map(partial(self._add, frame))
                bar.update()
                self._observer.show(self)
                while self._observer.is_paused and not signals.received:
                    time.sleep(PAUSE_S)
                if self._failures >= FAILURES_TO_GIVE_UP:
                    self.stopped_by = "failure"
                    break
                if signals.received:
                    logger.warning("stopped by a signal; what came before is mapped")
                    self.stopped_by = "signal"
                    break
            else:
                self.stopped_by = "max-frames"
            self._map(lambda: self._advance(self.slam.collect_rest()))
            self._map(lambda: self._advance(None))
            self._map(self.slam.finish)
            self._observer.finish(self)
        self.robot.close()

    def write(self, folder: RunFolder) -> dict[str, Any]:
        """Write trajectory, map, pictures and report; return the report."""
        with self.watch.stage("map"):
            is_known = self.slam.map.is_extended
            keyframes = self.slam.map.trajectory() if is_known else self._path.trajectory()
            trajectory = joined(keyframes, self._gated.placed(keyframes))
            points, colors = self.slam.map.cloud()
        with self.watch.stage("write"):
            files = folder.write_trajectory(trajectory, keyframes)
            folder.write_map(points, colors)
            if is_known and keyframes.frames:
                folder.save_map(self.slam.map, self.slam.config, self._model)
            title = f"{self._bag.path.name}, {self._card.name}"
            if not self._card.is_trained:
                title += ": the geometry means nothing"
            is_metric = self.slam.map.layout.scale_estimate is not None
            folder.draw(trajectory, points, colors, title, is_metric=is_metric)
        report = {
            "tool": PROGRAM,
            "version": __version__,
            "bag": str(self._bag.path.absolute()),
            "image_topics": {topic.name: topic.type for topic in self._topics},
            "stopped_by": self.stopped_by,
            **count_frames(self.frames, self.slam, keyframes, trajectory),
            **measure_run(self.watch, self.frames.read),
            **describe_layout(self.slam.map),
            "robot": describe_robot(self.robot),
            "checkpoint": {
                "name": self._card.name,
                "sha256": self._card.sha256,
                "is_trained": self._card.is_trained,
            },
            "loaded_map": str(self.map_folder) if self.map_folder else None,
            "localized": self._path.describe() if self.map_folder else None,
            "submaps": sum(submap.frames > 0 for submap in self.slam.map.submaps),
            "torn_submaps": len(self._torn),
            "map_points": len(points),
            **measure_motion(keyframes),
            "trajectories": files,
            "config": flatten(self.slam.config),
        }
        folder.write_report(report)
        return report

    def _add(self, frame: Frame) -> None:
        """Give a frame to slam and remember what the gate said of it."""
        gated = self.slam.gated
        try:
            collected = self.slam.collect(frame)
        finally:
            stamp = FrameStamp(frame.stamp_ns, frame.camera)
            self._gated.add(stamp, is_keyframe=self.slam.gated == gated)
        if collected is not None:
            self._advance(collected)

    def _advance(self, collected: Collected | None) -> None:
        """Map the chunk before, while the model is at this one."""
        pending = self._pending
        self._pending = None if collected is None else (collected, self.frames.read)
        if pending is None:
            return
        begin = time.monotonic()
        update = self.slam.map_chunk(pending[0], collected)
        self.chunk_s = time.monotonic() - begin
        self._path.add(update, pending[1], is_localized=self.slam.map.is_localized)
        self._failures = 0
        (self._torn.discard if update.is_joined else self._torn.add)(update.submap)

    def _map(self, step: Callable[[], None]) -> None:
        """Take a step of slam; like in the node, a chunk that fails is lost, the map goes on."""
        try:
            with self.watch.stage("map"):
                step()
        except (RuntimeError, ValueError):
            logger.exception("a chunk was lost; going on in a fresh submap")
            self._failures += 1
            self.slam.close_submap()


@contextmanager
def _progress_bar(total: int) -> Iterator[tqdm[None]]:
    """Show a progress bar on a terminal, a line every ten seconds elsewhere."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, unit="frame", mininterval=interval, maxinterval=interval) as bar:
        yield bar


def load_model(config: Config) -> tuple[ChunkPredictor[Any], CheckpointCard, Reduction]:
    """Return the model that a configuration asks for, its card, and what it needs of images."""
    let_idle_threads_sleep()
    keep_freed_memory()
    from flashvggt_ros.model.predictor import load_predictor  # torch: seconds that --help can spare

    predictor = load_predictor(config)
    return predictor, predictor.card, predictor.preprocessor.reduction


if __name__ == "__main__":
    sys.exit(main())
