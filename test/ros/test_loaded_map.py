"""The node goes on in a map that was saved, or finds out where it is in it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import LoadMap, SaveMap
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros.node_bench import NodeBench
from std_srvs.srv import Trigger

from flashvggt_ros.mapping.map_archive import load_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.ros.messages import stamp_ns
from flashvggt_ros.worlds import TruthPredictor, World, make_world, walk

FIRST = make_world(walk(24))
MODEL = MapModel("truth", "", "")


def later(world: World) -> World:
    frames = tuple(replace(frame, stamp_ns=frame.stamp_ns + 10**15) for frame in world.frames)
    return replace(world, frames=frames)


AGAIN, ELSEWHERE = later(make_world(walk(24)[4:20])), later(make_world(walk(8), seed=5))


def both(world: World) -> World:
    return World(
        FIRST.frames + world.frames,
        np.concatenate([FIRST.T_world_camera, world.T_world_camera]),
        np.concatenate([FIRST.depth, world.depth]),
    )


@pytest.fixture
def map_bench(bench: Callable[..., NodeBench], tmp_path: Path) -> Callable[..., NodeBench]:
    """Makes benches that share their saved maps; their predictor knows FIRST and one more world."""

    def make(world: World, **parameters: Any) -> NodeBench:
        values = {
            "map_directory": str(tmp_path / "maps"), "chunk__size": 8,
            "keyframe__min_motion": 0.0, "chunk__max_wait": 30.0,
        }  # fmt: skip
        return bench(TruthPredictor(both(world)), **(values | parameters))

    return make


def saved(map_bench: Callable[..., NodeBench]) -> NodeBench:
    """A node that has mapped a room and saved it."""
    it = map_bench(AGAIN)
    it.play(it.publisher(), FIRST.frames)
    it.settle(len(FIRST.frames))
    response = it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name="room"))
    assert response.success, response.message
    return it


def on_path(it: NodeBench) -> set[int]:
    """Stamps of all poses that were ever on the path."""
    paths = it.listener.heard["/mapping/path"]
    return {stamp_ns(pose.header.stamp) for path in paths for pose in path.poses}


def test_an_older_map_is_replaced_only_where_that_is_asked_for(
    map_bench: Callable[..., NodeBench], tmp_path: Path
) -> None:
    it = saved(map_bench)
    request = SaveMap.Request(name="room")
    refused = it.call(SaveMap, "/mapping/save_map", request)
    assert not refused.success and "exists already" in refused.message
    request.overwrite = True
    assert it.call(SaveMap, "/mapping/save_map", request).success
    assert load_map(tmp_path / "maps" / "room", MODEL).submaps


def test_a_map_is_loaded_by_service_and_the_robot_finds_itself_in_it(
    map_bench: Callable[..., NodeBench]
) -> None:
    it = saved(map_bench)
    refused = it.call(LoadMap, "/mapping/load_map", LoadMap.Request(name="cellar"))
    assert not refused.success and "no such map" in refused.message
    assert it.listener.status.is_localized
    assert not it.call(LoadMap, "/mapping/load_map", LoadMap.Request(name="../room")).success
    loaded = it.call(LoadMap, "/mapping/load_map", LoadMap.Request(name="room"))
    assert loaded.success, loaded.message
    it.spin_until(lambda: not it.listener.status.is_localized)
    reset = it.call(Trigger, "/mapping/reset", Trigger.Request())
    assert (reset.success, reset.message) == (True, "the map is the loaded one")
    it.listener.heard["/tf"].clear()
    it.play(it.publisher(), AGAIN.frames)
    it.spin_until(lambda: it.listener.status.is_localized)
    it.spin_until(lambda: it.listener.transforms)


def test_at_start_the_map_is_shown_and_no_transform_is_made_up(
    map_bench: Callable[..., NodeBench]
) -> None:
    saved(map_bench)
    it = map_bench(ELSEWHERE, load_map="room", mode="localization")
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    it.listener.heard["/tf"].clear()
    it.play(it.publisher(), ELSEWHERE.frames)
    it.settle(8)
    it.spin(0.3)
    assert not it.listener.status.is_localized
    stamps = {frame.stamp_ns for frame in ELSEWHERE.frames}
    assert not stamps & set(it.listener.stamps("/mapping/odometry"))
    assert not stamps & on_path(it)


def test_an_initial_pose_places_the_robot(map_bench: Callable[..., NodeBench]) -> None:
    saved(map_bench)
    it = map_bench(ELSEWHERE, load_map="room", mode="localization")
    said = PoseWithCovarianceStamped()
    said.header.frame_id = "map"
    said.pose.pose.position.x, said.pose.pose.position.y = 3.0, -2.0
    said.pose.pose.orientation.w = 1.0
    publisher = it.helper.create_publisher(PoseWithCovarianceStamped, "/initialpose", 1)
    it.spin_until(publisher.get_subscription_count)
    publisher.publish(said)
    it.spin(0.3)
    it.play(it.publisher(), ELSEWHERE.frames)
    it.settle(8)
    first = ELSEWHERE.frames[0].stamp_ns
    it.spin_until(lambda: first in it.listener.stamps("/mapping/odometry"))
    at = it.listener.stamps("/mapping/odometry").index(first)
    place = it.listener.heard["/mapping/odometry"][at].pose.pose.position
    assert (place.x, place.y) == pytest.approx((3.0, -2.0), abs=0.05)
    it.spin_until(lambda: first in on_path(it))
    assert not it.listener.status.is_localized


def test_without_a_loaded_map_initial_poses_change_nothing_and_end_no_chunk(
    map_bench: Callable[..., NodeBench], capfd: pytest.CaptureFixture[str]
) -> None:
    it = map_bench(AGAIN)
    said = PoseWithCovarianceStamped()
    said.pose.pose.orientation.w = 1.0
    poses, images = it.publisher("/initialpose", PoseWithCovarianceStamped), it.publisher()
    for frame in FIRST.frames[:6]:
        it.play(images, [frame], period=0.02)
        poses.publish(said)
    it.spin_until(lambda: it.listener.status.frames_received == 6)
    it.spin(0.3)
    assert it.listener.status.frames_used == 0  # the chunk goes on filling
    it.play(images, FIRST.frames[6:8])
    it.spin_until(lambda: it.listener.status.frames_used == 8)
    assert capfd.readouterr().err.count("means nothing where no map is loaded") == 1


def test_services_are_answered_while_configure_loads_a_map(
    map_bench: Callable[..., NodeBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(map_bench)
    may_load = threading.Event()

    def slowly(folder: Path, model: MapModel) -> MapSnapshot:
        assert may_load.wait(30)
        return load_map(folder, model)

    monkeypatch.setattr("flashvggt_ros.slam.load_map", slowly)  # as a map of many gigabytes is
    it = map_bench(AGAIN, is_started=False, load_map="room")
    client = it.helper.create_client(ChangeState, "/mapping/change_state")
    it.spin_until(client.service_is_ready)
    configure = Transition(id=Transition.TRANSITION_CONFIGURE)
    configured = client.call_async(ChangeState.Request(transition=configure))
    it.spin_until(lambda: it.listener.status and it.listener.status.state == MapStatus.STARTING)
    assert it.listener.status.message.endswith(" and the map room")
    state = it.call(GetState, "/mapping/get_state", GetState.Request()).current_state
    assert state.label == "unconfigured" and not configured.done()
    it.node.set_parameters([Parameter("chunk.size", value=4)])
    may_load.set()
    it.spin_until(configured.done)
    assert configured.result().success
    it.spin_until(lambda: it.session.worker._slam.config.chunk.size == 4)
    assert it.session.worker._slam.map.frames == len(FIRST.frames)


def test_a_map_that_is_not_there_is_refused_in_configure(
    map_bench: Callable[..., NodeBench]
) -> None:
    it = map_bench(AGAIN, is_started=False, load_map="cellar")
    assert it.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "no such map" in it.failure
