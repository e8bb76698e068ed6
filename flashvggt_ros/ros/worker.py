"""The one thread that owns the model, its cache and the map."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from flashvggt_ros.config import Config
from flashvggt_ros.frame import Frame, MapUpdate
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.out_of_memory import is_out_of_memory
from flashvggt_ros.ros.deadlines import Deadlines
from flashvggt_ros.ros.frame_ledger import FrameLedger
from flashvggt_ros.ros.gpu import is_gpu_lost
from flashvggt_ros.ros.held_keyframes import HeldKeyframes
from flashvggt_ros.ros.map_output import MapOutput
from flashvggt_ros.ros.problem_log import DropLog
from flashvggt_ros.ros.work_queue import Arrival, Job, WorkQueue
from flashvggt_ros.ros.worker_report import WorkerReport, worker_report
from flashvggt_ros.sensors.intake import CheckedImage
from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.slam import Collected, Slam

logger = logging.getLogger(__name__)

FAILURES_TO_GIVE_UP = 3  # in a row: then the cause does not pass by itself
LATENCIES = 100  # newest chunks that the percentile is taken over
EXIT_RESTART = os.EX_TEMPFAIL  # 75: another process may do what this one no longer can
GPU_LOST = "the GPU is lost to this process, which ends; a restart may get it back"


class Worker:
    """Decodes images and feeds them, and jobs, to the slam core in order of arrival, in a thread.

    A full chunk is mapped at once, unless images wait already: then the chunk after it is collected
    first, so that the model is at that one while this one is mapped. A chunk that waits longer than
    ``chunk.max_wait`` is mapped with the images it has, and after ``submap.max_rest`` without a
    keyframe a submap is finished. A failing chunk is logged, its images are counted as dropped, and
    mapping goes on in a fresh submap; out of memory, all that is held is tried again in chunks of
    half the size. After three failures in a row, or one that no retry can help, the thread ends:
    ``fatal`` says why, and ``exit_code`` how the process is to end; empty and 0 before.
    """

    def __init__(
        self,
        slam: Slam,
        queue_size: int,
        ledger: FrameLedger,
        output: MapOutput,
    ) -> None:
        self.fatal = ""
        self.exit_code = 0
        self.is_on_job = False  # what it does was asked for: a map to save or load, a reset
        self._slam = slam
        self._ledger = ledger
        self._output = output
        self._queue = WorkQueue(queue_size)
        self._held = HeldKeyframes()  # those that slam and _full hold
        self._full: Collected | None = None  # the chunk to be mapped next
        self._is_retrying = False
        self._drop_log = DropLog(logger)
        self._failures = 0
        self._error = ""
        self._chunks = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._deadlines = Deadlines()
        self.report = self._snapshot()
        self._thread = threading.Thread(target=self._loop, name="mapping worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout: float | None) -> bool:
        """Ask the thread to end after what it does; return whether it, and the model, did in time.

        ``timeout``: in seconds; None: however long that takes.
        """
        end = None if timeout is None else time.monotonic() + timeout
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        return self._slam.predictor.wait(None if end is None else max(0.0, end - time.monotonic()))

    def release(self) -> None:
        """Let go of model and map, whoever still holds the worker; after stop()."""
        del self._slam

    def put_image(self, image: CheckedImage) -> None:
        """Queue an image, already counted as received; never waits."""
        dropped = self._queue.put_image(image)
        self._ledger.drop("queue_full", dropped)
        self._drop_log.add(dropped)

    def submit(
        self, run: Callable[[Slam], Any], check: Callable[[Slam], None] = lambda slam: None
    ) -> Future:
        """Queue a job behind the images that wait; its result comes in the future.

        The job sees them mapped, those of a chunk that is not full as well, unless ``check`` raises
        before that. OSError and ValueError are the caller's to deal with and reach the future;
        anything else counts as a failure.
        """
        return self._queue.put_job(lambda slam: self._run_on_whole_map(slam, run, check))

    def look_again(self) -> None:
        """Ask anew when the next output is due, as periods have changed; no image need come."""
        self._queue.put_job(lambda slam: None)

    def drop_waiting(self, cause: str) -> None:
        """Drop the images that wait; ``cause`` is one of the ledger's DROPS."""
        self._ledger.drop(cause, self._queue.discard_images())

    def reset(self, config: Config) -> Future:
        """Forget the map, go on with ``config``, say what it is then; drops images that wait."""
        self.drop_waiting("reset")
        return self._queue.put_job(lambda slam: self._reset(slam, config))

    def load_map(self, folder: Path, model: MapModel) -> Future:
        """Begin anew in a saved map, behind the images that wait; a chunk not yet full is dropped.

        Where that is refused the map stays as it was; ValueError and OSError are in the future.
        """
        return self._queue.put_job(lambda slam: self._load_map(slam, folder, model))

    def _loop(self) -> None:
        while not self.fatal:
            work = None if self._is_retrying else self._queue.get(self._patience())
            if self._queue.is_closed:
                return
            self.is_on_job = isinstance(work, Job)
            failure: Exception | None = None
            try:
                self._perform(work)
            except Exception as error:  # the only one: bad luck with a chunk must not end the map
                logger.exception("mapping failed")
                failure = error.with_traceback(None)  # lets go of the tensors of the failed call
            if failure is not None:
                self._recover(failure, was_job=self.is_on_job)
            self.report = self._snapshot()
        self._queue.close()

    def _perform(self, work: Arrival | Job | None) -> None:
        if self._is_retrying:
            self._retry()
        elif isinstance(work, Arrival):
            self._add(work)
        elif isinstance(work, Job):
            work.perform(self._slam)
        config = self._slam.config
        if self._slam.waiting and self._deadlines.has_waited(config):
            self._advance(self._slam.collect_rest())
        if not self._queue.has_images:
            self._advance(None)
        if not self._held and self._deadlines.has_rested(config):
            self._deadlines.end_rest()
            if self._slam.rest():
                self._output.publish_moved(self._slam.map)
        wait = self._output.publish_due(self._slam.map, is_busy=self._queue.has_images)
        self._deadlines.set_output(wait)

    def _add(self, arrival: Arrival) -> None:
        slam = self._slam
        gated, kept = slam.gated, slam.keyframes
        is_rejected = False
        collected = None
        try:
            frame = arrival.image.frame()
            collected = slam.collect(frame)
        except RejectedInput:  # the intake counts it by its cause and says it once
            is_rejected = True
        finally:
            if slam.keyframes > kept:
                self._hold(frame, arrival.time)
            elif slam.gated > gated or is_rejected:
                self._ledger.add(gated=int(not is_rejected), rejected=int(is_rejected))
            else:  # decoding, or the gate itself, failed on it
                self._ledger.drop("failed")
        if collected is not None:
            self._advance(collected)

    def _run_on_whole_map(
        self, slam: Slam, run: Callable[[Slam], Any], check: Callable[[Slam], None]
    ) -> Any:
        check(slam)
        try:
            self._advance(slam.collect_rest())
            self._advance(None)
        except (OSError, ValueError) as error:  # of the images, not of the job
            raise RuntimeError(f"images before it could not be mapped: {error}") from error
        return run(slam)

    def _hold(self, frame: Frame, came: float) -> None:
        self._held.hold(frame, came)
        if len(self._slam.waiting) == 1:
            self._deadlines.begin_chunk()

    def _advance(self, collected: Collected | None) -> None:
        """Map the chunk that is full, if there is one, while the model is at the one after it."""
        full, self._full = self._full, collected
        if full is not None:
            self._publish(self._slam.map_chunk(full, collected))

    def _publish(self, update: MapUpdate) -> None:
        placed = len(update.new)
        self._ledger.add(used=placed)
        last_arrival = self._held.let_go(placed)
        if self._slam.map.is_placed:
            self._output.publish_update(update, self._slam.map)
        self._failures = 0
        self._error = ""
        self._chunks += 1
        self._latencies.append(self._deadlines.begin_rest() - last_arrival)
        self.report = self._snapshot()  # before another chunk is mapped, and counted

    def _retry(self) -> None:
        """Map the chunk that did not fit into memory, in smaller pieces."""
        while self._held:
            self._publish(self._slam.map_frames(self._held.first(self._slam.config.chunk.size)))
        self._is_retrying = False

    def _recover(self, failure: Exception, was_job: bool) -> None:
        """Bring slam into a state in which the next chunk can succeed, or give up."""
        what = f"{type(failure).__name__}: {failure}"
        self._error = f"{what}; mapping goes on, the log has the details"
        self._is_retrying = False
        full = self._full.chunk.frames if self._full else ()
        lost = len(self._held) - len(full) - len(self._slam.waiting)
        if was_job and not lost and not is_gpu_lost(failure):
            return  # the caller was told, and no image is concerned
        self._failures += 1
        if is_gpu_lost(failure):
            self._give_up(f"{GPU_LOST} ({what})", EXIT_RESTART)
            return
        if self._failures >= FAILURES_TO_GIVE_UP and not self._may_halve(failure):
            self._give_up(f"mapping failed {self._failures} times in a row, last: {what}", 1)
            return
        if not lost:
            return  # no chunk is concerned: an output or the gate failed
        self._slam.close_submap()
        if self._may_halve(failure):
            self._full = None  # all that is held is tried again
            self._slam.collect_rest()
            self._slam.halve_chunks()
            self._is_retrying = True
            logger.warning(
                "out of memory: going on in a fresh submap with chunks of %d frames; lower "
                "chunk.size, submap.max_frames or predictor.width to avoid this",
                self._slam.config.chunk.size,
            )
        else:
            self._ledger.drop("failed", lost)
            self._held.let_go(lost)
            self._output.lose_pose()
            self._error += "; there is no pose on TF until a chunk is mapped"
            logger.error("a chunk was lost; going on in a fresh submap")

    def _give_up(self, reason: str, exit_code: int) -> None:
        """End the thread after this."""
        self._output.lose_pose()
        self._error = reason
        self.report = self._snapshot()
        self.exit_code, self.fatal = exit_code, reason
        logger.critical("%s", reason)

    def _may_halve(self, failure: Exception) -> bool:
        return is_out_of_memory(failure) and self._slam.can_halve_chunks

    def _reset(self, slam: Slam, config: Config) -> str:
        slam.config = config
        slam.reset()
        self._begin()
        outcome = f"the map is {'the loaded one' if slam.map.frames else 'empty'}"
        logger.info("reset: %s", outcome)
        return outcome

    def _load_map(self, slam: Slam, folder: Path, model: MapModel) -> None:
        slam.load_map(folder, model)
        self._begin()

    def _begin(self) -> None:
        """Forget what belonged to the map before."""
        self._ledger.drop("reset", len(self._held))
        self._held.clear()
        self._full = None
        self._deadlines.end_rest()
        self._error = ""
        self._failures = 0
        self._output.clear()

    def _patience(self) -> float | None:
        """Seconds until something is due without any image or job coming; None: nothing is."""
        if self._full is not None:
            return 0.0
        return self._deadlines.patience(self._slam.config, is_filling=bool(self._held))

    def _snapshot(self) -> WorkerReport:
        return worker_report(self._slam, self._error, self._chunks, self._latencies)
