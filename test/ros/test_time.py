"""Clocks that stand still or jump, stamps in disorder, cameras that stop and return."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros.node_bench import NodeBench, image_message
from ros.predictors import tripping
from ros.test_robot import say_static
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from flashvggt_ros.frame import Frame
from flashvggt_ros.ros.messages import stamp_ns, time_message, transform_stamped
from flashvggt_ros.worlds import TruthPredictor, World, make_world, walk

WORLD = make_world(walk(24))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
SECOND = 1_000_000_000


class Simulation:
    """Publishes /clock beside the images, as a bag player with --clock does."""

    def __init__(self, it: NodeBench) -> None:
        self.it = it
        self.clock = it.publisher("/clock", Clock)
        self.images = it.publisher()

    def set(self, now_ns: int) -> None:
        self.clock.publish(Clock(clock=time_message(now_ns)))
        self.it.spin_until(lambda: self.it.node.get_clock().now().nanoseconds == now_ns)

    def play(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.set(frame.stamp_ns + 1_000_000)
            self.it.play(self.images, [frame])


def said(it: NodeBench) -> str:
    """The newest words on ~/status."""
    return it.listener.status.message if it.listener.status else ""


def jumps(it: NodeBench) -> int:
    values = it.diagnosed("images").values
    (count,) = [v.value for v in values if v.key == "time jumped back [times]"]
    return int(count)


def path_stamps(it: NodeBench) -> list[int]:
    paths = it.listener.heard["/mapping/path"]
    return [stamp_ns(pose.header.stamp) for pose in paths[-1].poses] if paths else []


def at(frames: Sequence[Frame], first_ns: int, period_ns: int = 100_000_000) -> list[Frame]:
    """The frames with stamps from ``first_ns`` on."""
    return [replace(frame, stamp_ns=first_ns + n * period_ns) for n, frame in enumerate(frames)]


def world_of(frames: Sequence[Frame]) -> World:
    """The first frames of the walk, with these stamps."""
    count = len(frames)
    return World(tuple(frames), WORLD.T_world_camera[:count], WORLD.depth[:count])


def test_a_bag_that_loops_with_its_clock_begins_the_map_anew(bench: Any) -> None:
    it = bench(use_sim_time=True)
    simulation = Simulation(it)
    simulation.play(WORLD.frames[:16])
    it.settle(16)  # the poses of the last chunk come a moment later
    it.spin_until(lambda: STAMPS[15] in [stamp_ns(t.header.stamp) for t in it.listener.transforms])
    it.listener.heard["/tf"].clear()
    simulation.play(WORLD.frames[:8])
    status = it.settle(24)
    it.spin_until(lambda: path_stamps(it) == STAMPS[:8])
    assert (status.frames_used + status.frames_dropped, status.frames_rejected) == (24, 0)
    it.spin_until(lambda: it.listener.transforms and jumps(it) == 1)
    sent = [stamp_ns(transform.header.stamp) for transform in it.listener.transforms]
    first_new = next(n for n, stamp in enumerate(sent) if stamp < STAMPS[15])
    assert max(sent[first_new:]) <= STAMPS[7]  # one from before would outdate all that follow


def test_a_clock_that_jumps_back_leaves_the_map_of_an_inactive_node_alone(bench: Any) -> None:
    again = at(WORLD.frames[8:16], STAMPS[0] - 5 * SECOND)
    it = bench(TruthPredictor(world_of([*WORLD.frames[:8], *again])), use_sim_time=True)
    simulation = Simulation(it)
    simulation.play(WORLD.frames[:8])
    it.settle(8)
    it.node.trigger_deactivate()
    simulation.set(again[0].stamp_ns)
    it.spin_until(lambda: jumps(it) == 1)
    assert it.session.worker.submit(lambda slam: slam.map.frames).result(timeout=20) == 8
    it.listener.heard["/tf"].clear()
    it.node.trigger_activate()
    it.spin_until(simulation.images.get_subscription_count)
    simulation.play(again)
    status = it.settle(16)
    assert (status.frames_used, status.frames_rejected, status.submaps) == (16, 0, 2)
    it.spin_until(lambda: it.listener.transforms)
    assert max(stamp_ns(t.header.stamp) for t in it.listener.transforms) <= again[-1].stamp_ns


def test_no_pose_of_a_chunk_that_time_has_left_behind_goes_on_tf(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames[:4])
    it.settle(4)
    it.spin_until(lambda: it.listener.transforms)
    it.session.outputs.poses.hold()
    it.spin(0.3)
    sent = len(it.listener.transforms)
    it.spin(0.3)
    assert len(it.listener.transforms) == sent


def test_a_clock_that_jumps_on_or_back_by_little_changes_nothing(bench: Any) -> None:
    later = at(WORLD.frames[8:12], STAMPS[7] + 3600 * SECOND)
    it = bench(TruthPredictor(world_of([*WORLD.frames[:8], *later])), use_sim_time=True)
    simulation = Simulation(it)
    simulation.play(WORLD.frames[:4])
    simulation.set(STAMPS[3] - SECOND // 2)
    simulation.play(WORLD.frames[4:8])
    simulation.play(later)
    status = it.settle(12)
    assert (status.frames_used, status.frames_rejected) == (12, 0)
    it.spin_until(lambda: path_stamps(it) == [*STAMPS[:8], *(f.stamp_ns for f in later)])
    assert jumps(it) == 0


def test_a_clock_that_stands_still_is_said(bench: Any) -> None:
    it = bench(use_sim_time=True)
    it.spin_until(lambda: "nothing came on /clock" in said(it))
    simulation = Simulation(it)
    simulation.play(WORLD.frames[:4])
    assert "nothing came on /clock" not in it.settle(4).message
    it.spin_until(lambda: "/clock has stood still for 1." in said(it))
    assert it.listener.status.has_warning
    simulation.play(WORLD.frames[4:8])
    it.settle(8)
    it.spin_until(lambda: "stood still" not in said(it))


def test_a_bag_that_loops_without_a_clock_begins_the_map_anew(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames[:16])
    it.settle(16)
    it.play(images, WORLD.frames[:13])
    status = it.settle(29)
    assert status.frames_rejected == 5  # that prove it
    assert status.frames_used == 24
    it.spin_until(lambda: path_stamps(it) == STAMPS[5:13])
    it.spin_until(lambda: jumps(it) == 1)


def test_a_clock_that_is_set_back_under_running_cameras_costs_no_map(bench: Any) -> None:
    before = at(WORLD.frames[:8], time.time_ns() - SECOND)
    after = at(WORLD.frames[8:21], before[-1].stamp_ns - 4 * SECOND)
    it = bench(TruthPredictor(world_of([*before, *after])))
    images = it.publisher()
    it.play(images, before)
    it.settle(8)
    it.play(images, after)
    status = it.settle(21)
    assert (status.frames_used, status.frames_rejected, status.submaps) == (16, 5, 2)
    assert status.is_localized  # the fresh submap is joined to the one before
    kept = [frame.stamp_ns for frame in (*before, *after[5:])]
    it.spin_until(lambda: path_stamps(it) == kept)
    newest = after[-1].stamp_ns
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == newest)
    assert jumps(it) == 1


@pytest.mark.parametrize(("ahead_s", "causes"), [
    (3600, {"stamp_ahead": 1}),
    (5, {"stamp_backwards": 5}),  # taken, and those after it must prove that it was wrong
])
def test_one_wild_stamp_costs_no_map_and_few_images(
    bench: Any, ahead_s: int, causes: dict[str, int]
) -> None:
    frames = at(WORLD.frames, time.time_ns() - 3 * SECOND)
    wild = replace(frames[8], stamp_ns=frames[8].stamp_ns + ahead_s * SECOND)
    it = bench(TruthPredictor(world_of([*frames[:8], wild, *frames[9:]])))
    images = it.publisher()
    it.play(images, frames[:8])
    it.settle(8)
    it.play(images, [wild, *frames[9:]])
    status = it.settle(24)
    rejected = dict(zip(status.rejected_causes, status.rejected_counts, strict=True))
    assert (rejected, status.frames_used) == (causes, 24 - sum(causes.values()))
    it.spin_until(lambda: path_stamps(it)[:8] == [frame.stamp_ns for frame in frames[:8]])
    newest = frames[-1].stamp_ns
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == newest)


def test_a_wild_stamp_of_the_first_image_puts_no_pose_into_the_future(bench: Any) -> None:
    frames = at(WORLD.frames, time.time_ns() - 3 * SECOND)
    wild = replace(frames[0], stamp_ns=frames[0].stamp_ns + 3600 * SECOND)
    it = bench(TruthPredictor(world_of([wild, *frames[1:]])), chunk__max_wait=0.1)
    images = it.publisher()
    it.play(images, [wild])
    it.spin(0.5)  # longer than a chunk waits
    it.play(images, frames[1:])
    status = it.settle(24)
    assert (status.frames_used, list(status.rejected_causes)) == (23, ["stamp_ahead"])
    newest = frames[-1].stamp_ns
    it.spin_until(lambda: newest in [stamp_ns(t.header.stamp) for t in it.listener.transforms])
    it.spin_until(lambda: newest in it.listener.stamps("/mapping/odometry"))
    assert max(stamp_ns(t.header.stamp) for t in it.listener.transforms) == newest
    assert max(it.listener.stamps("/mapping/odometry")) == newest
    assert jumps(it) == 0


def test_tf_is_not_dated_to_a_camera_whose_clock_alone_is_an_hour_ahead(bench: Any) -> None:
    right = replace(WORLD.frames[8], camera="right", stamp_ns=time.time_ns() + 3600 * SECOND)
    left = at(WORLD.frames[:8], time.time_ns() - SECOND)
    it = bench(
        TruthPredictor(world_of([*left, right])), image_topics=["image", "right/image"],
        tf__base_frame="base_link", tf__odom_frame="odom",
    )  # fmt: skip
    say_static(it, ("base_link", "camera", np.eye(4)), ("base_link", "right", np.eye(4)))
    odometry = it.publisher("/tf", TFMessage)
    for frame in left:
        edge = transform_stamped("odom", "base_link", np.eye(4), frame.stamp_ns)
        odometry.publish(TFMessage(transforms=[edge]))
    images = it.publisher()
    it.play(images, left[:4])
    it.spin_until(lambda: it.listener.transforms)
    it.play(it.publisher("/right/image"), [right])
    it.play(images, left[4:])
    newest = left[-1].stamp_ns
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == newest)
    assert max(stamp_ns(t.header.stamp) for t in it.listener.transforms) == newest


@pytest.mark.parametrize("comes_first", [False, True])
def test_poses_of_a_camera_whose_clock_alone_is_an_hour_ahead_are_kept_from_tf(
    bench: Any, comes_first: bool
) -> None:
    walked = at(WORLD.frames, time.time_ns() - 2 * SECOND)
    frames = [
        replace(frame, camera="right", stamp_ns=frame.stamp_ns + 3600 * SECOND) if n % 2 else frame
        for n, frame in enumerate(walked)
    ]
    it = bench(
        TruthPredictor(world_of(frames)), image_topics=["image", "right/image"],
        tf__base_frame="base_link",
    )  # fmt: skip
    say_static(it, ("base_link", "camera", np.eye(4)), ("base_link", "right", np.eye(4)))
    left, right = it.publisher(), it.publisher("/right/image")
    if comes_first:
        it.play(right, frames[1:16:2])
        it.spin_until(lambda: it.listener.transforms)
        it.play(left, frames[16::2])
    else:
        for n, frame in enumerate(frames):
            it.play(right if n % 2 else left, [frame], period=0.01)
    newest = frames[22].stamp_ns
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == newest)
    if not comes_first:
        assert max(stamp_ns(t.header.stamp) for t in it.listener.transforms) == newest
        assert max(it.listener.stamps("/mapping/odometry")) == newest
    it.spin_until(lambda: it.listener.stamps("/mapping/map_cloud")[-1] <= newest)


def test_poses_go_on_tf_again_although_the_submap_could_not_be_closed(bench: Any) -> None:
    before = at(WORLD.frames[:6], time.time_ns() - SECOND)  # a chunk, and two that wait
    after = at(WORLD.frames[6:19], before[-1].stamp_ns - 4 * SECOND)
    it = bench(tripping(world_of([*before, *after])), chunk__max_wait=60.0)
    images = it.publisher()
    it.play(images, before)
    it.spin_until(lambda: it.listener.transforms)
    it.play(images, after)
    it.spin_until(lambda: it.listener.status.frames_used == 12)
    newest = after[-1].stamp_ns
    it.spin_until(lambda: stamp_ns(it.listener.transforms[-1].header.stamp) == newest)
    assert it.listener.status.frames_dropped == 2


def test_a_session_that_has_ended_hears_no_clock_any_more(bench: Any) -> None:
    it = bench(use_sim_time=True)
    simulation = Simulation(it)
    fresh_start = it.session._fresh_start
    simulation.set(STAMPS[20])
    simulation.set(STAMPS[0])
    assert fresh_start.jumps == 1
    it.node.trigger_deactivate()
    it.node.trigger_cleanup()
    simulation.set(STAMPS[20])
    simulation.set(STAMPS[0])
    assert fresh_start.jumps == 1


def test_stamps_out_of_order_and_repeated_ones_are_counted_and_cost_nothing_else(
    bench: Any,
) -> None:
    it = bench()
    images = it.publisher()
    for number in (0, 2, 1, 2, 3, 3, 4, 5):
        it.play(images, [WORLD.frames[number]])
    status = it.settle(8)
    counts = dict(zip(status.rejected_causes, status.rejected_counts, strict=True))
    assert counts == {"stamp_backwards": 1, "stamp_repeated": 2}
    it.spin_until(lambda: path_stamps(it) == [STAMPS[n] for n in (0, 2, 3, 4, 5)])


def test_a_camera_that_stops_is_told_of_and_taken_back_when_it_returns(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames[:4])
    it.settle(4)
    it.spin_until(lambda: "no image on /image for 1." in said(it))
    assert "published by /helper" in said(it) and it.listener.status.has_warning
    assert "best effort" not in said(it)  # images did come
    it.spin_until(lambda: "check the camera" in it.diagnosed("images").message)
    assert it.diagnosed("images").level == DiagnosticStatus.WARN
    it.helper.destroy_publisher(images)
    it.spin_until(lambda: "and nobody publishes there" in said(it))
    it.play(it.publisher(), WORLD.frames[4:8], period=0.05)
    it.spin_until(lambda: "publishes there" not in said(it) and "no image" not in said(it))
    assert it.settle(8).frames_used == 8


@pytest.mark.parametrize("qos", ["sensor_data", "reliable"])
def test_a_driver_of_which_no_image_comes_is_told_of_with_what_large_images_need(
    bench: Any, qos: str
) -> None:
    it = bench(image__qos=qos)
    it.publisher()
    begin = time.monotonic()
    it.spin_until(lambda: "no image on /image for 1." in said(it))
    assert time.monotonic() - begin < 3.0
    assert "published by /helper" in said(it) and it.listener.status.has_warning
    assert ("set image.qos to reliable" in said(it)) is (qos == "sensor_data")


def test_one_camera_that_stops_is_named_while_the_others_are_mapped(bench: Any) -> None:
    world = make_world(walk(24), cameras=("left", "right"))
    it = bench(TruthPredictor(world), image_topics=["left/image", "right/image"])
    sides = [it.publisher("/left/image"), it.publisher("/right/image")]
    for frame, images in zip(world.frames[:8], itertools.cycle(sides), strict=False):
        it.play(images, [frame], period=0.01)
    it.settle(8)
    rest = iter(world.frames[9::2])  # those of the right camera
    end = time.monotonic() + 15
    while "no image on /left/image" not in said(it) or "no image on /right/image" in said(it):
        assert time.monotonic() < end
        if frame := next(rest, None):
            it.play(sides[1], [frame])
        it.spin(0.25)
    it.spin_until(lambda: it.listener.status.frames_used > 8)


@pytest.mark.parametrize("is_paused", [False, True])
def test_each_dropped_image_has_its_cause(bench: Any, is_paused: bool) -> None:
    class Tripping(TruthPredictor):
        def predict(self, frames: Any, cache: Any) -> Any:
            raise RuntimeError("the model tripped")

    it = bench(Tripping(WORLD), chunk__max_wait=0.1)
    images: Any = it.publisher("/image", Image)
    it.session.is_paused = is_paused
    images.publish(image_message(WORLD.frames[0]))
    it.spin_until(lambda: it.listener.status and it.listener.status.frames_dropped == 1)
    assert list(it.listener.status.dropped_causes) == ["paused" if is_paused else "failed"]
    assert list(it.listener.status.dropped_counts) == [1]
