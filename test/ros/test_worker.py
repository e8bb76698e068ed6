"""The thread that owns the map, driven without ROS."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch

from flashvggt_ros.config import build_config
from flashvggt_ros.frame import ChunkPrediction, Frame, MapUpdate
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.ros.frame_ledger import FrameLedger
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.sensors.intake import CheckedImage
from flashvggt_ros.sensors.rejected_input import RejectedInput, Rejections
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import TruthCache, TruthPredictor, World, make_world, walk


class TroubledPredictor(TruthPredictor):
    """Tells the truth, but fails on request: ``trouble(frames)`` may raise or wait first."""

    def __init__(self, world: World, trouble: Callable[[Sequence[Frame]], None]) -> None:
        super().__init__(world)
        self._trouble = trouble

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        self._trouble(frames)
        return super().predict(frames, cache)


class Hold:
    """Trouble that keeps the model busy until it is released."""

    def __init__(self) -> None:
        self.is_busy, self._released = threading.Event(), threading.Event()

    def __call__(self, frames: Sequence[Frame]) -> None:
        self.is_busy.set()
        assert self._released.wait(20)

    def release(self) -> None:
        self._released.set()


class Recorder:
    """A MapOutput that keeps what it is given."""

    def __init__(self) -> None:
        self.updates: list[MapUpdate] = []
        self.moved: list[int] = []  # version of the map each time
        self.busy: list[bool] = []
        self.cleared = self.lost = 0

    def publish_update(self, update: MapUpdate, current_map: Map) -> None:
        self.updates.append(update)

    def publish_moved(self, current_map: Map) -> None:
        self.moved.append(current_map.version)

    def publish_due(self, current_map: Map, *, is_busy: bool) -> float | None:
        self.busy.append(is_busy)
        return None

    def lose_pose(self) -> None:
        self.lost += 1

    def clear(self) -> None:
        self.cleared += 1


def checked(frame: Frame) -> CheckedImage:
    """The frame as the intake hands it on."""
    image = frame.image
    return CheckedImage(
        frame.stamp_ns, frame.camera, image.nbytes, frame.calibration, lambda: image,
        Rejections("/image"),
    )


class Bench:
    """A worker on a walk of 24 frames, each of which passes the keyframe gate."""

    def __init__(
        self,
        trouble: Callable[[Sequence[Frame]], None] = lambda frames: None,
        queue_size: int = 64,
        **parameters: object,
    ) -> None:
        self.world = WORLD
        values = {"chunk.size": 4, "chunk.overlap": 1, "chunk.max_wait": 30.0}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        self.config = build_config(values)
        self.slam = Slam(self.config, TroubledPredictor(self.world, trouble))
        self.ledger = FrameLedger()
        self.output = Recorder()
        self.worker = Worker(self.slam, queue_size, self.ledger, self.output)

    def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.ledger.add(received=1)
            self.worker.put_image(checked(frame))

    def wait_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def finish(self) -> None:
        """Wait until everything sent so far is mapped."""
        self.worker.submit(lambda slam: None).result(timeout=20)

    def __enter__(self) -> "Bench":
        self.worker.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.worker.stop(10)


WORLD = make_world(walk(24))


def placed(bench: Bench) -> list[int]:
    return [stamp.stamp_ns for update in bench.output.updates for stamp in update.new]


def test_every_image_is_placed_once_in_order() -> None:
    with Bench() as bench:
        bench.send(bench.world.frames)
        bench.finish()
        assert placed(bench) == [frame.stamp_ns for frame in bench.world.frames]
        counts = bench.ledger.counts
        assert (counts.received, counts.used, counts.waiting) == (24, 24, 0)
        assert bench.worker.report.chunks == 6
        assert 0 < bench.worker.report.latency_p50_s <= bench.worker.report.latency_p95_s


def test_an_image_that_shows_nothing_new_is_counted_as_gated() -> None:
    first = WORLD.frames[0]
    with Bench() as bench:
        bench.send([Frame(first.stamp_ns + i, first.camera, first.image, None) for i in range(10)])
        bench.wait_until(lambda: bench.ledger.counts.waiting == 1)
        counts = bench.ledger.counts
        assert (counts.gated, counts.used, counts.waiting) == (9, 0, 1)


def test_a_chunk_closes_by_the_wall_clock_when_no_image_comes() -> None:
    with Bench(chunk__max_wait=0.2) as bench:
        bench.send(bench.world.frames[:3])
        bench.wait_until(lambda: bench.output.updates)
        assert placed(bench) == [frame.stamp_ns for frame in bench.world.frames[:3]]
        assert bench.ledger.counts.waiting == 0


def test_a_submap_is_finished_while_nothing_new_is_seen_and_the_next_is_joined_to_it() -> None:
    with Bench(submap__max_rest=0.2) as bench:
        bench.send(bench.world.frames[:12])
        bench.wait_until(lambda: bench.output.moved)
        seen = bench.world.frames[11]  # the camera looks on, where it stands
        bench.send([replace(seen, stamp_ns=seen.stamp_ns + i) for i in range(1, 4)])
        bench.finish()
        time.sleep(0.4)
        assert bench.worker.report.submaps == 1
        assert bench.worker.report.cache_frames == 0
        bench.send(bench.world.frames[12:])
        bench.wait_until(lambda: len(bench.output.moved) == 2)
        assert placed(bench) == [frame.stamp_ns for frame in bench.world.frames]
        assert [update.submap for update in bench.output.updates] == [0, 0, 0, 1, 1, 1]
        assert all(update.is_joined for update in bench.output.updates)
        assert bench.ledger.counts.waiting == 0


@pytest.mark.parametrize(("settings", "frames"), [
    ({"submap__max_rest": 0.0}, 12),
    ({"submap__max_rest": 0.1, "chunk__max_wait": 0.1}, 3),  # less than a chunk
    ({"submap__max_rest": 30.0}, 12),
])
def test_a_submap_stays_open(settings: dict[str, float], frames: int) -> None:
    with Bench(**settings) as bench:
        bench.send(bench.world.frames[:frames])
        bench.wait_until(lambda: len(placed(bench)) == frames)
        time.sleep(0.5)
        assert bench.output.moved == []
        assert bench.slam.map.live.frames == frames


def test_the_output_is_told_whether_images_wait() -> None:
    hold = Hold()
    with Bench(hold) as bench:
        frames = bench.world.frames
        bench.send(frames[:4])
        assert hold.is_busy.wait(20)
        bench.output.busy.clear()
        bench.send(frames[4:6])
        hold.release()
        bench.wait_until(lambda: len(bench.output.busy) >= 3)
    assert bench.output.busy[:3] == [True, True, False]


def test_images_that_overflow_the_queue_are_counted_and_thinned_evenly() -> None:
    hold = Hold()
    with Bench(trouble=hold, queue_size=8) as bench:
        bench.send(bench.world.frames[:4])  # a chunk, which the model does not finish
        bench.wait_until(hold.is_busy.is_set)
        bench.send(bench.world.frames[4:])
        assert bench.ledger.counts.dropped == 12
        hold.release()
        bench.finish()
        counts = bench.ledger.counts
        assert (counts.received, counts.used, counts.dropped, counts.waiting) == (24, 12, 12, 0)


def test_images_that_the_queue_drops_are_never_decoded() -> None:
    hold, decoded = Hold(), []

    def counted(frame: Frame) -> CheckedImage:
        return replace(checked(frame), decode=lambda: decoded.append(frame) or frame.image)

    with Bench(trouble=hold, queue_size=8) as bench:
        bench.send(bench.world.frames[:4])
        bench.wait_until(hold.is_busy.is_set)
        for frame in bench.world.frames[4:]:
            bench.ledger.add(received=1)
            bench.worker.put_image(counted(frame))
        hold.release()
        bench.finish()
        assert len(decoded) == 20 - bench.ledger.counts.dropped == 8


def test_an_image_that_cannot_be_decoded_is_rejected_and_mapping_goes_on() -> None:
    rejections = Rejections("/image")

    def refuse() -> np.ndarray:
        raise RejectedInput("undecodable", "broken pixels")

    with Bench() as bench:
        for number, frame in enumerate(bench.world.frames[:5]):
            bench.ledger.add(received=1)
            broken = replace(checked(frame), decode=refuse, rejections=rejections)
            bench.worker.put_image(broken if number == 2 else checked(frame))
        bench.finish()
        counts = bench.ledger.counts
        assert (counts.received, counts.used, counts.rejected, counts.waiting) == (5, 4, 1, 0)
        assert rejections.counts == {"undecodable": 1}
        assert bench.worker.report.error == ""


def test_an_image_on_which_decoding_itself_fails_is_dropped_and_said() -> None:
    def fail() -> np.ndarray:
        raise MemoryError("no room for an image")

    with Bench() as bench:
        bench.ledger.add(received=1)
        bench.worker.put_image(replace(checked(bench.world.frames[0]), decode=fail))
        bench.wait_until(lambda: bench.ledger.counts.dropped)
        bench.wait_until(lambda: "no room for an image" in bench.worker.report.error)
        bench.send(bench.world.frames[1:5])
        bench.finish()
        counts = bench.ledger.counts
        assert (counts.received, counts.used, counts.dropped, counts.waiting) == (5, 4, 1, 0)


def test_a_failed_chunk_is_dropped_and_mapping_goes_on_in_a_fresh_submap() -> None:
    calls = []

    def fail_second(frames: Sequence[Frame]) -> None:
        calls.append(len(frames))
        if len(calls) == 2:
            raise RuntimeError("the model tripped")

    with Bench(trouble=fail_second) as bench:
        bench.send(bench.world.frames[:8])
        bench.finish()
        assert "the model tripped" in bench.worker.report.error
        bench.send(bench.world.frames[8:])
        bench.finish()
        counts = bench.ledger.counts
        assert (counts.used, counts.dropped, counts.waiting) == (20, 4, 0)
        assert bench.worker.report.error == ""
        assert bench.worker.report.submaps == 2
        assert calls[2] == 5  # the last keyframe of the old submap joins the new one
        assert all(update.is_joined for update in bench.output.updates)


def test_while_images_wait_the_model_is_at_the_next_chunk_in_a_thread_of_its_own() -> None:
    hold, threads = Hold(), []

    def trouble(frames: Sequence[Frame]) -> None:
        threads.append(threading.current_thread().name)
        hold(frames)

    with Bench(trouble=trouble) as bench:
        bench.send(bench.world.frames[:4])
        bench.wait_until(hold.is_busy.is_set)
        assert threads == ["mapping worker"]  # a chunk that nothing waits behind is mapped at once
        bench.send(bench.world.frames[4:14])
        time.sleep(0.5)
        bench.send(bench.world.frames[14:16])
        hold.release()
        bench.wait_until(lambda: len(placed(bench)) == 16)
        assert threads[1] == "mapping worker" and threads[2].startswith("model")
        assert placed(bench) == [frame.stamp_ns for frame in bench.world.frames[:16]]
        report = bench.worker.report
        # of four chunks the first three waited; the newest image of the last one did not
        assert report.latency_p50_s >= 0.5 > report.latency_s


def test_a_chunk_that_fails_while_the_next_is_begun_takes_only_its_own_images_along() -> None:
    hold, calls = Hold(), []

    def fail_second(frames: Sequence[Frame]) -> None:
        calls.append(len(frames))
        hold(frames)
        if len(calls) == 2:
            raise RuntimeError("the model tripped")

    with Bench(trouble=fail_second) as bench:
        frames = bench.world.frames
        bench.send(frames[:4])
        bench.wait_until(hold.is_busy.is_set)
        bench.send(frames[4:18])
        hold.release()
        bench.finish()
        assert placed(bench) == [frame.stamp_ns for frame in (*frames[:4], *frames[8:18])]
        counts = bench.ledger.counts
        assert (counts.used, counts.dropped, counts.waiting) == (14, 4, 0)
        assert bench.output.lost == 1


@pytest.mark.parametrize(("call", "sent"), [
    (3, 18),  # the chunk ahead
    (2, 10),  # a full chunk, while two keyframes of the next wait
])
def test_out_of_memory_while_images_wait_loses_none_either(call: int, sent: int) -> None:
    hold, calls = Hold(), []

    def too_large_once(frames: Sequence[Frame]) -> None:
        calls.append(len(frames))
        hold(frames)
        if len(calls) == call:
            raise torch.cuda.OutOfMemoryError("no memory left on the GPU")

    with Bench(trouble=too_large_once) as bench:
        frames = bench.world.frames
        bench.send(frames[:4])
        bench.wait_until(hold.is_busy.is_set)
        bench.send(frames[4:sent])
        hold.release()
        bench.finish()
        assert placed(bench) == [frame.stamp_ns for frame in frames[:sent]]
        counts = bench.ledger.counts
        assert (counts.used, counts.dropped, counts.waiting) == (sent, 0, 0)


def test_out_of_memory_halves_the_chunk_and_loses_no_image() -> None:
    sizes = []

    def too_large(frames: Sequence[Frame]) -> None:
        sizes.append(len(frames))
        if len(frames) > 3:
            raise torch.cuda.OutOfMemoryError("no memory left on the GPU")

    with Bench(trouble=too_large) as bench:
        bench.send(bench.world.frames)
        bench.finish()
        assert placed(bench) == [frame.stamp_ns for frame in bench.world.frames]
        counts = bench.ledger.counts
        assert (counts.used, counts.dropped, counts.waiting) == (24, 0, 0)
        assert sizes[0] == 4 and max(sizes[1:]) <= 3
        assert bench.worker.report.error == ""


def test_out_of_memory_with_the_smallest_chunk_gives_up() -> None:
    def always(frames: Sequence[Frame]) -> None:
        raise MemoryError("none left")

    with Bench(trouble=always) as bench:
        bench.send(bench.world.frames)
        bench.wait_until(lambda: bench.worker.fatal)
        assert "MemoryError: none left" in bench.worker.fatal


def test_three_failures_in_a_row_end_the_thread_and_say_why() -> None:
    def always(frames: Sequence[Frame]) -> None:
        raise RuntimeError("broken for good")

    with Bench(trouble=always) as bench:
        bench.send(bench.world.frames)
        bench.wait_until(lambda: bench.worker.fatal)
        assert bench.worker.fatal.startswith("mapping failed 3 times in a row")
        assert "broken for good" in bench.worker.fatal
        assert bench.ledger.counts.used == 0


def test_reset_drops_what_waits_and_begins_anew() -> None:
    hold = Hold()
    with Bench(trouble=hold) as bench:
        bench.send(bench.world.frames[:12])
        reset = bench.worker.reset(build_config({"chunk.size": 5, "chunk.max_wait": 30.0}))
        hold.release()
        reset.result(timeout=20)
        assert bench.output.cleared == 1
        assert bench.slam.map.frames == 0
        assert bench.ledger.counts.waiting == 0
        before = bench.ledger.counts.used
        bench.send(bench.world.frames[:5])
        bench.finish()
        assert bench.ledger.counts.used == before + 5
        assert len(bench.output.updates[-1].new) == 5


def test_a_job_sees_the_images_before_it_also_those_of_an_unfilled_chunk() -> None:
    with Bench() as bench:
        bench.send(bench.world.frames[:6])
        frames = bench.worker.submit(lambda slam: slam.map.frames).result(timeout=20)
        assert frames == 6


def test_a_failed_job_tells_its_caller_and_disturbs_nothing() -> None:
    def refuse(slam: Slam) -> None:
        raise OSError("disk full")

    with Bench() as bench:
        bench.send(bench.world.frames[:4])
        with pytest.raises(OSError, match="disk full"):
            bench.worker.submit(refuse).result(timeout=20)
        bench.send(bench.world.frames[4:8])
        bench.finish()
        assert bench.ledger.counts.used == 8
        assert bench.worker.report.error == ""


def test_images_that_fail_before_a_job_are_dropped_like_others_and_the_caller_is_told() -> None:
    def refuse(frames: Sequence[Frame]) -> None:
        if len(frames) == 2:
            raise ValueError("the model does not take them")

    with Bench(trouble=refuse) as bench:
        bench.send(bench.world.frames[:6])
        with pytest.raises(RuntimeError, match="the log says why"):
            bench.worker.submit(lambda slam: slam.map.frames).result(timeout=20)
        bench.wait_until(lambda: bench.ledger.counts.dropped == 2)
        bench.send(bench.world.frames[6:10])
        bench.finish()
        counts = bench.ledger.counts
        assert (counts.used, counts.dropped, counts.waiting) == (8, 2, 0)


def test_stopping_reports_a_model_that_is_still_busy_with_what_was_begun(monkeypatch) -> None:
    first, ahead, second = Hold(), Hold(), Hold()

    def trouble(frames: Sequence[Frame]) -> None:
        is_ahead = threading.current_thread().name.startswith("model")
        (ahead if is_ahead else first)(frames)

    bench = Bench(trouble=trouble)
    bench.worker.start()
    bench.send(bench.world.frames[:4])
    bench.wait_until(first.is_busy.is_set)
    published = []

    def publish(update: MapUpdate, current_map: Map) -> None:
        published.append(update)
        if len(published) == 2:
            second(())

    monkeypatch.setattr(bench.output, "publish_update", publish)
    bench.send(bench.world.frames[4:16])
    first.release()
    bench.wait_until(second.is_busy.is_set)  # the second chunk is being published
    bench.wait_until(ahead.is_busy.is_set)  # the model is at the third one
    assert not bench.worker.stop(0.0)
    second.release()
    bench.worker._thread.join(10)
    assert not bench.worker.stop(0.1)
    ahead.release()
    assert bench.worker.stop(10)


def test_stopping_cancels_jobs_and_reports_a_thread_that_is_still_busy() -> None:
    hold = Hold()
    bench = Bench(trouble=hold)
    bench.worker.start()
    bench.send(bench.world.frames[:4])
    bench.wait_until(hold.is_busy.is_set)
    job: Future = bench.worker.submit(lambda slam: None)
    assert not bench.worker.stop(0.1)
    assert job.cancelled()
    hold.release()
    assert bench.worker.stop(10)
