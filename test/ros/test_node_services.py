"""The mapping node while it is asked, paused, reset or behind the images."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from ros.node_bench import total
from ros.predictors import Held
from std_srvs.srv import SetBool, Trigger

from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.messages import stamp_ns
from flashvggt_ros.ros.node_lifetime import answer_rest
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(16))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]


@pytest.fixture
def slow_predictor(bench: Any) -> Iterator[Held]:
    """Goes on at the latest before the bench closes, which waits for it."""
    predictor = Held(WORLD)
    yield predictor
    predictor.may_go_on.set()


def test_a_queue_that_overflows_counts_what_it_drops(
    bench: Any, slow_predictor: Held
) -> None:
    it = bench(slow_predictor, image__queue_size=4)
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.02)
    it.spin_until(slow_predictor.is_busy.is_set)
    it.play(images, WORLD.frames[4:], period=0.02)
    it.spin_until(lambda: it.listener.status.frames_received == 16)
    assert it.listener.status.frames_dropped == 8
    assert total(it.listener.status) == 16
    slow_predictor.may_go_on.set()
    status = it.settle(16)
    assert (status.frames_used, status.frames_dropped) == (8, 8)


def test_services_are_answered_during_inference(
    bench: Any, slow_predictor: Held, tmp_path: Path
) -> None:
    it = bench(slow_predictor, map_directory=str(tmp_path))
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.02)
    it.spin_until(slow_predictor.is_busy.is_set)
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=True)).success
    assert not it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name="../escape")).success
    client = it.helper.create_client(Trigger, "/mapping/reset")
    it.spin_until(client.service_is_ready)
    reset = client.call_async(Trigger.Request())
    before = len(it.listener.heard["/mapping/status"])
    it.play(images, WORLD.frames[4:6])
    it.spin(0.5)
    assert len(it.listener.heard["/mapping/status"]) > before + 5  # the executor is not held up
    assert it.listener.status.frames_received == 6
    assert not reset.done()
    slow_predictor.may_go_on.set()
    it.spin_until(reset.done)
    assert reset.result().success


def test_reset_empties_the_map_and_takes_a_bag_that_starts_over(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames)
    it.settle(16)
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    assert it.call(Trigger, "/mapping/reset", Trigger.Request()).success
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"][-1].width == 0)
    assert it.listener.heard["/mapping/path"][-1].poses == []
    it.listener.heard["/mapping/path"].clear()
    it.play(images, WORLD.frames[:4])
    status = it.settle(20)
    assert (status.frames_used, status.frames_rejected) == (20, 0)
    it.spin_until(lambda: it.listener.heard["/mapping/path"])
    path = it.listener.heard["/mapping/path"][-1]
    assert [stamp_ns(pose.header.stamp) for pose in path.poses] == STAMPS[:4]


def test_a_paused_node_drops_and_counts_images(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=True)).success
    it.play(images, WORLD.frames[:4])
    it.spin_until(lambda: it.listener.status.frames_dropped == 4)
    assert it.listener.status.state == MapStatus.PAUSED
    assert it.call(SetBool, "/mapping/pause", SetBool.Request(data=False)).success
    it.play(images, WORLD.frames[4:8])
    status = it.settle(8)
    assert (status.frames_used, status.frames_dropped) == (4, 4)
    assert status.state == MapStatus.MAPPING


def test_save_map_writes_below_map_directory_only(bench: Any, tmp_path: Path) -> None:
    directory = tmp_path / "maps"
    it = bench(map_directory=str(directory))

    def save(name: str) -> SaveMap.Response:
        return it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name=name))

    assert "no map yet" in save("early").message
    it.play(it.publisher(), WORLD.frames[:6])
    it.spin_until(lambda: it.listener.status.frames_received == 6)
    for name in ("", ".", "..", "../up", "a/b", "/etc/map", "a\\b", "a b", "~", "a\n"):
        refused = save(name)
        assert not refused.success and refused.folder == "" and refused.message
    saved = save("office-1")
    assert saved.success and saved.folder == str(directory / "office-1")
    lines = (directory / "office-1" / "trajectory.tum").read_text().splitlines()
    assert len(lines) == 6  # those of the chunk that was not full are in it
    again = save("office-1")
    assert not again.success and "exists" in again.message
    assert [path.name for path in directory.iterdir()] == ["office-1"]
    model = json.loads((directory / "office-1" / "manifest.json").read_text())["model"]
    assert len(load_map(directory / "office-1", MapModel(**model)).submaps) == 1
    assert it.listener.status.state == MapStatus.MAPPING


@pytest.mark.parametrize("is_given_up", [False, True])
def test_a_map_that_is_being_saved_is_there_when_the_node_has_stopped_or_its_caller_is_told(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_given_up: bool
) -> None:
    is_saving = threading.Event()
    if is_given_up:
        monkeypatch.setattr("flashvggt_ros.ros.node.JOB_TIMEOUT_S", 0.2)

    def save_slowly(*arguments: Any, **options: Any) -> Any:
        is_saving.set()
        time.sleep(1.5)  # longer than a chunk is waited for
        return save_map(*arguments, **options)

    monkeypatch.setattr("flashvggt_ros.ros.map_services.save_map", save_slowly)
    it = bench(map_directory=str(tmp_path))
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.settle(4)
    client = it.helper.create_client(SaveMap, "/mapping/save_map")
    it.spin_until(client.service_is_ready)
    saved = client.call_async(SaveMap.Request(name="room"))
    it.spin_until(is_saving.is_set)
    assert it.node.stop() is not is_given_up
    it.spin_until(saved.done)
    assert not it.node.is_asked
    assert saved.result().success is not is_given_up
    if is_given_up:
        assert "shut down meanwhile" in saved.result().message
        it.session.worker.stop(10.0)
    assert load_map(tmp_path / "room", MapModel("truth", "", "")).submaps


def test_a_request_that_comes_while_the_node_stops_is_answered(
    bench: Any, slow_predictor: Held
) -> None:
    it = bench(slow_predictor)
    it.play(it.publisher(), WORLD.frames[:4], period=0.02)
    it.spin_until(slow_predictor.is_busy.is_set)
    client = it.helper.create_client(SaveMap, "/mapping/save_map")
    it.spin_until(client.service_is_ready)
    saved = client.call_async(SaveMap.Request(name="room"))  # the node takes it after stop()
    assert not it.node.stop()
    answer_rest(it.node, it.executor)
    it.executor.remove_node(it.node)
    it.spin_until(saved.done)
    assert not saved.result().success and "shut down meanwhile" in saved.result().message
    slow_predictor.may_go_on.set()
    assert it.session.worker.stop(10.0)


def test_parameters_are_refused_with_the_limit_over_the_wire(bench: Any) -> None:
    it = bench()
    request = SetParameters.Request(
        parameters=[Parameter("chunk.size", value=999).to_parameter_msg()]
    )
    (result,) = it.call(SetParameters, "/mapping/set_parameters", request).results
    assert not result.successful and "64" in result.reason


def test_a_chunk_size_set_at_run_time_counts_from_the_next_reset(bench: Any) -> None:
    it = bench(chunk__max_wait=5.0)
    images = it.publisher()
    request = SetParameters.Request(
        parameters=[Parameter("chunk.size", value=2).to_parameter_msg()]
    )
    assert it.call(SetParameters, "/mapping/set_parameters", request).results[0].successful
    it.play(images, WORLD.frames[:2])
    it.spin_until(lambda: it.listener.status.frames_received == 2)
    it.spin(0.3)
    assert it.listener.status.queue_length == 2
    assert it.call(Trigger, "/mapping/reset", Trigger.Request()).success
    it.play(images, WORLD.frames[2:4])
    it.spin_until(lambda: it.listener.status.frames_used == 2, seconds=3.0)


def test_each_of_a_hundred_requests_that_come_at_once_is_answered(bench: Any) -> None:
    it = bench()
    client = it.helper.create_client(Trigger, "/mapping/reset", qos_profile=QoSProfile(depth=100))
    it.spin_until(client.service_is_ready)
    calls = [client.call_async(Trigger.Request()) for _ in range(100)]
    it.spin_until(lambda: all(call.done() for call in calls))
    assert all(call.result().success for call in calls)
