"""The mapping node as a managed node: what it does in each state, and between them."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros.node_bench import LATCHED, TRUTH, NodeBench, takes_all
from ros.predictors import Held, tripping
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from flashvggt_ros.config import Config
from flashvggt_ros.ros.loading import LoadedModel
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.sensors.intake import unreduced
from flashvggt_ros.worlds import TruthPredictor, World, make_world, walk

WORLD = make_world(walk(16))
SUCCESS = TransitionCallbackReturn.SUCCESS


def truth(config: Config) -> LoadedModel:
    return LoadedModel(TruthPredictor(WORLD), TRUTH, unreduced, takes_all)


def change(it: NodeBench, label: str) -> bool:
    """Ask for a transition as ros2 lifecycle and Nav2's manager do."""
    transition = Transition(id=getattr(Transition, f"TRANSITION_{label.upper()}"))
    request = ChangeState.Request(transition=transition)
    return it.call(ChangeState, "/mapping/change_state", request).success


def state(it: NodeBench) -> str:
    return it.call(GetState, "/mapping/get_state", GetState.Request()).current_state.label


def walk_once(it: NodeBench, images: Any) -> MapStatus:
    it.spin_until(lambda: it.listener.status)
    received = it.listener.status.frames_received
    it.play(images, WORLD.frames, period=0.01)
    return it.settle(received + len(WORLD.frames))


def test_a_manager_brings_the_node_up_and_down_and_up_again(bench: Any, tmp_path: Path) -> None:
    it = bench(is_started=False, map_directory=str(tmp_path))
    it.spin_until(lambda: it.listener.status)
    assert state(it) == "unconfigured"
    assert it.listener.status.state == MapStatus.UNCONFIGURED
    assert it.listener.status.message.startswith("unconfigured; configure and activate it")
    assert not change(it, "activate")
    for _ in range(2):
        assert change(it, "configure") and state(it) == "inactive"
        assert it.helper.count_subscribers("/image") == 0
        assert change(it, "activate") and state(it) == "active"
        images = it.publisher()
        assert walk_once(it, images).frames_used == 16
        assert "active" in it.diagnosed("node").message
        it.helper.destroy_publisher(images)
        assert change(it, "deactivate") and state(it) == "inactive"
        assert change(it, "cleanup") and state(it) == "unconfigured"
        it.spin_until(lambda: it.listener.status.state == MapStatus.UNCONFIGURED)
    assert it.node.session is None
    assert change(it, "unconfigured_shutdown") and state(it) == "finalized"
    assert "only a restart" in it.diagnosed("node").message


def test_an_inactive_node_takes_no_images_sends_no_poses_and_keeps_its_map(
    bench: Any, tmp_path: Path
) -> None:
    before = WORLD.frames[:12]
    after = [replace(f, stamp_ns=f.stamp_ns + 3_600_000_000_000) for f in WORLD.frames[12:]]
    world = World((*before, *after), WORLD.T_world_camera, WORLD.depth)
    it = bench(TruthPredictor(world), map_directory=str(tmp_path), scale__source="fixed")
    images = it.publisher()
    it.play(images, before, period=0.01)
    it.settle(12)
    it.spin_until(lambda: it.listener.transforms)
    assert change(it, "deactivate")
    it.spin_until(lambda: it.listener.status.state == MapStatus.INACTIVE)
    it.spin_until(lambda: images.get_subscription_count() == 0)
    it.listener.heard["/tf"].clear()
    it.play(images, after)
    it.spin(1.0)
    assert it.listener.transforms == []
    assert it.listener.status.frames_received == 12
    saved = it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name="kept"))
    assert saved.success, saved.message
    it.listener.heard["/mapping/map_cloud"].clear()
    assert change(it, "activate")
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    assert it.listener.heard["/mapping/map_cloud"][-1].width > 0
    assert it.listener.transforms == []  # where the robot went meanwhile is not known
    it.spin_until(images.get_subscription_count)
    it.listener.heard["/mapping/status"].clear()
    it.play(images, after)
    assert it.settle(16).frames_used == 16
    said = {status.message for status in it.listener.heard["/mapping/status"]}
    assert said <= {"mapping"}  # neither images nor TF are late: they stood still by request


def test_images_that_wait_are_dropped_and_counted_as_the_node_becomes_inactive(bench: Any) -> None:
    held = Held(WORLD)
    it = bench(held)
    it.play(it.publisher(), WORLD.frames, period=0.01)
    it.spin_until(lambda: held.is_busy.is_set() and it.listener.status.frames_received == 16)
    assert it.node.trigger_deactivate() == SUCCESS
    it.spin_until(lambda: it.listener.status.frames_dropped == 12)
    assert list(it.listener.status.dropped_causes) == ["inactive"]
    it.listener.heard["/mapping/odometry"].clear()
    held.may_go_on.set()
    assert it.settle(16).frames_used == 4
    it.spin(0.2)
    assert it.listener.heard["/mapping/odometry"] == []


def test_cleanup_takes_the_maps_back_and_late_joiners_get_none(bench: Any) -> None:
    it = bench()
    walk_once(it, it.publisher())
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"])
    assert change(it, "deactivate") and change(it, "cleanup")
    it.spin_until(lambda: it.listener.heard["/mapping/map_cloud"][-1].width == 0)
    it.spin_until(lambda: not it.listener.heard["/mapping/path"][-1].poses)
    late: list[PathMessage] = []
    it.helper.create_subscription(PathMessage, "/mapping/path", late.append, LATCHED)
    it.spin(0.5)
    assert late == []
    assert it.helper.count_publishers("/mapping/map_cloud") == 0


def test_the_state_is_told_while_the_model_loads_and_other_transitions_wait(bench: Any) -> None:
    may_load = threading.Event()

    def load(config: Config) -> LoadedModel:
        assert may_load.wait(30)
        return truth(config)

    it = bench(is_started=False, load=load)
    client = it.helper.create_client(ChangeState, "/mapping/change_state")
    it.spin_until(client.service_is_ready)
    configure = Transition(id=Transition.TRANSITION_CONFIGURE)
    configured = client.call_async(ChangeState.Request(transition=configure))
    it.spin_until(lambda: it.listener.status and it.listener.status.state == MapStatus.STARTING)
    assert state(it) == "unconfigured"
    assert "being loaded" in it.diagnosed("node").message
    assert not change(it, "unconfigured_shutdown")
    assert not configured.done()
    may_load.set()
    it.spin_until(configured.done)
    assert configured.result().success and state(it) == "inactive"


def test_a_model_that_cannot_be_loaded_leaves_the_node_unconfigured_and_another_may_be_tried(
    bench: Any,
) -> None:
    def load(config: Config) -> LoadedModel:
        if config.checkpoint != "good.pt":
            raise ValueError(f"no checkpoint {config.checkpoint}: name another")
        return truth(config)

    it = bench(is_started=False, load=load, checkpoint="bad.pt")
    assert not change(it, "configure") and state(it) == "unconfigured"
    it.spin_until(lambda: it.listener.status.state == MapStatus.ERROR)
    assert "no checkpoint bad.pt: name another" in it.listener.status.message
    assert "no checkpoint bad.pt" in it.diagnosed("node").message
    request = SetParameters.Request(
        parameters=[Parameter("checkpoint", value="good.pt").to_parameter_msg()]
    )
    assert it.call(SetParameters, "/mapping/set_parameters", request).results[0].successful
    assert change(it, "configure") and change(it, "activate")
    it.spin_until(lambda: it.listener.status.state == MapStatus.WAITING)
    (result,) = it.call(SetParameters, "/mapping/set_parameters", request).results
    assert not result.successful and "while the node is configured" in result.reason


def test_services_of_an_unconfigured_node_say_that_it_is(bench: Any) -> None:
    it = bench(is_started=False)
    for kind, name in ((Trigger, "reset"), (SetBool, "pause"), (SaveMap, "save_map")):
        answer = it.call(kind, f"/mapping/{name}", kind.Request())
        assert not answer.success and "configure it" in answer.message


def test_what_nobody_foresaw_is_logged_and_leaves_the_node_unconfigured(
    bench: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def load(config: Config) -> LoadedModel:
        raise KeyError("unforeseen")

    it = bench(is_started=False, load=load)
    assert not change(it, "configure") and state(it) == "unconfigured"
    assert "KeyError: 'unforeseen'" in capfd.readouterr().err
    assert "on_configure failed ('unforeseen'); the log says why" in it.diagnosed("node").message


def test_a_gpu_that_is_lost_while_the_model_loads_asks_for_a_restart(bench: Any) -> None:
    def load(config: Config) -> LoadedModel:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    it = bench(is_started=False, load=load)
    assert not change(it, "configure") and state(it) == "unconfigured"
    assert it.node.fatal.startswith("the GPU is lost") and it.node.exit_code == 75


@pytest.mark.parametrize("steps", [(), ("configure",), ("configure", "activate")])
def test_a_node_can_be_shut_down_from_each_state(bench: Any, steps: tuple[str, ...]) -> None:
    it = bench(is_started=False)
    for step in steps:
        assert change(it, step)
    source = ("unconfigured", "inactive", "active")[len(steps)]
    assert change(it, f"{source}_shutdown") and state(it) == "finalized"
    assert it.node.session is None
    assert not change(it, "configure") and state(it) == "finalized"


def test_a_transition_that_does_not_fit_the_state_is_refused_and_changes_nothing(
    bench: Any,
) -> None:
    it = bench()
    for label in ("configure", "activate", "cleanup", "unconfigured_shutdown"):
        assert not change(it, label)
    assert state(it) == "active"
    assert walk_once(it, it.publisher()).frames_used == 16


def test_cleanup_waits_for_the_chunk_in_progress_while_the_state_is_told(bench: Any) -> None:
    held = Held(WORLD)
    it = bench(held)
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.spin_until(held.is_busy.is_set)
    assert change(it, "deactivate")
    client = it.helper.create_client(ChangeState, "/mapping/change_state")
    it.spin_until(client.service_is_ready)
    cleanup = Transition(id=Transition.TRANSITION_CLEANUP)
    cleaned = client.call_async(ChangeState.Request(transition=cleanup))
    it.spin(0.3)
    assert state(it) == "inactive" and not cleaned.done()
    held.may_go_on.set()
    it.spin_until(cleaned.done)
    assert cleaned.result().success and state(it) == "unconfigured"


def test_requests_that_wait_while_the_node_is_cleaned_up_are_answered(
    bench: Any, tmp_path: Path
) -> None:
    held = Held(WORLD)
    it = bench(held, map_directory=str(tmp_path))
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.spin_until(held.is_busy.is_set)
    client = it.helper.create_client(SaveMap, "/mapping/save_map")
    it.spin_until(client.service_is_ready)
    saved = client.call_async(SaveMap.Request(name="room"))
    assert change(it, "deactivate")
    client = it.helper.create_client(ChangeState, "/mapping/change_state")
    it.spin_until(client.service_is_ready)
    cleanup = Transition(id=Transition.TRANSITION_CLEANUP)
    cleaned = client.call_async(ChangeState.Request(transition=cleanup))
    it.spin(0.2)
    held.may_go_on.set()
    it.spin_until(lambda: cleaned.done() and saved.done())
    assert cleaned.result().success and not saved.result().success
    assert "cleaned up" in saved.result().message


def test_a_node_that_is_inactive_again_before_its_chunk_is_mapped_publishes_no_map(
    bench: Any,
) -> None:
    held = Held(WORLD)
    it = bench(held)
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.spin_until(held.is_busy.is_set)
    assert change(it, "deactivate") and change(it, "activate") and change(it, "deactivate")
    held.may_go_on.set()
    it.settle(4)
    it.spin(0.5)
    assert it.listener.heard["/mapping/map_cloud"] == []


def test_a_node_that_is_active_again_publishes_although_a_chunk_of_before_has_failed(
    bench: Any,
) -> None:
    it = bench(tripping(WORLD), chunk__max_wait=60.0)
    images = it.publisher()
    it.play(images, WORLD.frames[:6], period=0.01)  # a chunk, and two that wait
    it.spin_until(lambda: it.listener.transforms)
    it.spin_until(lambda: len(it.session.worker._held) == 2)
    assert change(it, "deactivate") and change(it, "activate")
    it.spin_until(images.get_subscription_count)
    it.listener.heard["/tf"].clear()
    it.play(images, WORLD.frames[6:], period=0.01)
    it.spin_until(lambda: it.listener.transforms)


def test_the_clock_is_still_heard_after_cleanup_where_it_was_asked_for_meanwhile(
    bench: Any,
) -> None:
    it = bench()
    it.node.set_parameters([Parameter("use_sim_time", value=True)])
    assert it.node.trigger_deactivate() == SUCCESS and it.node.trigger_cleanup() == SUCCESS
    clock = it.publisher("/clock", Clock)
    clock.publish(Clock(clock=time_message(5_000_000_000)))
    it.spin_until(lambda: it.node.get_clock().now().nanoseconds == 5_000_000_000)
