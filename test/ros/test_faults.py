"""What an operator sees when something breaks: status, diagnostics, services, TF, exit codes."""

import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import LoadMap, SaveMap
from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import TransitionCallbackReturn
from ros.predictors import Failing, tripping
from safetensors.torch import save_file
from tf2_msgs.msg import TFMessage

from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map_archive import load_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.messages import stamp_ns
from flashvggt_ros.ros.node_lifetime import load_model
from flashvggt_ros.ros.session import LoadedModel
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(16))
MODEL = MapModel("truth", "", "")


def test_a_lost_chunk_takes_the_pose_off_tf_until_the_next_one(bench: Any) -> None:
    it = bench(tripping(WORLD))
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.01)
    it.spin_until(lambda: it.listener.transforms)
    it.play(images, WORLD.frames[4:8], period=0.01)
    it.spin_until(lambda: it.listener.status.state == MapStatus.ERROR)
    assert "the model tripped" in it.listener.status.message
    assert "no pose on TF until a chunk is mapped" in it.listener.status.message
    mapping = it.diagnosed("mapping")
    assert mapping.level == DiagnosticStatus.ERROR and "the model tripped" in mapping.message
    it.spin(0.2)
    it.listener.heard["/tf"].clear()
    it.spin(0.4)
    assert it.listener.transforms == []
    it.play(images, WORLD.frames[8:12], period=0.01)
    it.spin_until(lambda: it.listener.transforms)
    assert stamp_ns(it.listener.transforms[-1].header.stamp) > WORLD.frames[7].stamp_ns
    it.spin_until(lambda: it.listener.status.state == MapStatus.MAPPING)


def test_a_model_that_fails_three_times_ends_the_node_with_code_1(bench: Any) -> None:
    it = bench(Failing(WORLD, RuntimeError("broken for good"), calls=range(2, 9)))
    it.play(it.publisher(), WORLD.frames, period=0.01)
    it.spin_until(lambda: it.node.fatal)
    assert it.node.exit_code == 1
    it.spin(0.2)
    it.listener.heard["/tf"].clear()
    it.spin(0.3)
    assert it.listener.transforms == []
    assert it.listener.status.state == MapStatus.ERROR
    assert "failed 3 times in a row, last: RuntimeError: broken" in it.listener.status.message
    assert "mapping goes on" not in it.listener.status.message
    assert it.diagnosed("node").level == DiagnosticStatus.ERROR


@pytest.mark.parametrize("kind", [RuntimeError, getattr(torch, "AcceleratorError", RuntimeError)])
def test_a_lost_gpu_ends_the_node_at_once_with_a_code_of_its_own(
    bench: Any, kind: type[Exception]
) -> None:
    it = bench(Failing(WORLD, kind("CUDA error: unspecified launch failure"), calls=range(2, 9)))
    it.play(it.publisher(), WORLD.frames[:8], period=0.01)
    it.spin_until(lambda: it.node.fatal)
    assert it.node.exit_code == os.EX_TEMPFAIL == 75
    it.spin(0.2)
    it.listener.heard["/tf"].clear()
    it.spin(0.3)
    assert it.listener.transforms == []
    assert it.listener.status.state == MapStatus.ERROR
    assert "the GPU is lost to this process" in it.listener.status.message
    assert "unspecified launch failure" in it.listener.status.message


def test_out_of_memory_is_said_while_the_chunk_is_mapped_in_halves(bench: Any) -> None:
    it = bench(Failing(WORLD, torch.cuda.OutOfMemoryError("CUDA out of memory"), calls=[2]))
    it.play(it.publisher(), WORLD.frames, period=0.01)
    status = it.settle(16)
    assert (status.frames_used, status.frames_dropped) == (16, 0)
    assert status.state == MapStatus.MAPPING
    assert not it.node.fatal


def test_numbers_that_are_not_finite_reach_the_operator_and_nobody_else(bench: Any) -> None:
    def load(config: Config) -> LoadedModel:
        loaded = load_model(config)
        with torch.no_grad():
            for parameter in loaded.predictor.model.parameters():
                parameter.fill_(float("nan"))
        return loaded

    it = bench(load=load, device="cpu", predictor__dtype="float32")
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.spin_until(lambda: it.listener.status.state == MapStatus.ERROR, seconds=60.0)
    assert "NonFinitePredictionError" in it.listener.status.message
    assert it.diagnosed("mapping").level == DiagnosticStatus.ERROR
    assert it.listener.heard["/mapping/odometry"] == [] and it.listener.transforms == []


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_older_map_whole_and_the_node_going(
    bench: Any, tmp_path: Path
) -> None:
    it = bench(map_directory=str(tmp_path / "maps"))
    images = it.publisher()
    it.play(images, WORLD.frames[:8], period=0.01)
    it.settle(8)
    request = SaveMap.Request(name="room", overwrite=True)
    assert it.call(SaveMap, "/mapping/save_map", request).success
    it.play(images, WORLD.frames[8:12], period=0.01)
    it.settle(12)
    with full_disk(50_000):
        refused = it.call(SaveMap, "/mapping/save_map", request)
    assert not refused.success and refused.folder == ""
    assert "an older map of that name is whole" in refused.message
    assert "make room" in refused.message
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["room"]
    assert sum(s.frames for s in load_map(tmp_path / "maps" / "room", MODEL).submaps) == 8
    it.play(images, WORLD.frames[12:], period=0.01)
    assert it.settle(16).state == MapStatus.MAPPING
    assert it.call(SaveMap, "/mapping/save_map", request).success


def test_a_map_directory_that_is_none_is_said_with_the_parameter(
    bench: Any, tmp_path: Path
) -> None:
    (tmp_path / "maps").write_text("no folder")
    it = bench(map_directory=str(tmp_path / "maps"))
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.settle(4)
    refused = it.call(SaveMap, "/mapping/save_map", SaveMap.Request(name="room"))
    assert not refused.success and str(tmp_path / "maps") in refused.message
    assert "map_directory must be a folder" in refused.message


def no_folder(folder: Path) -> None:
    """Leave it out."""


def a_file(folder: Path) -> None:
    folder.write_text("no folder")


def an_unreadable_manifest(folder: Path) -> None:
    (folder / "manifest.json").mkdir(parents=True)


def a_foreign_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "holiday.jpg").touch()


@pytest.mark.parametrize("make", [no_folder, a_file, an_unreadable_manifest, a_foreign_folder])
def test_a_map_folder_that_cannot_be_read_is_refused_and_the_present_map_stays(
    bench: Any, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "room")
    it = bench(map_directory=str(tmp_path))
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.01)
    it.settle(4)
    refused = it.call(LoadMap, "/mapping/load_map", LoadMap.Request(name="room"))
    assert not refused.success and refused.message.startswith("room is not loaded: ")
    it.play(images, WORLD.frames[4:8], period=0.01)
    status = it.settle(8)
    assert (status.frames_used, status.state) == (8, MapStatus.MAPPING)


class Malicious:
    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self._trace,)


def missing(file: Path) -> str:
    return "neither a file nor one of"


def wrong(file: Path) -> str:
    save_file({"resnet.conv1.weight": torch.zeros(3)}, file.with_suffix(".safetensors"))
    return "does not say its model's sizes"


def malicious(file: Path) -> str:
    file.write_bytes(pickle.dumps({"model": Malicious(file.with_name("ran"))}, protocol=2))
    return "refused"


@pytest.mark.parametrize(
    ("make", "suffix"), [(missing, ".pt"), (wrong, ".safetensors"), (malicious, ".pt")]
)
def test_a_checkpoint_that_is_none_leaves_the_node_unconfigured_with_the_reason(
    bench: Any, tmp_path: Path, make: Callable[[Path], str], suffix: str
) -> None:
    said = make(tmp_path / "weights.pt")
    file = (tmp_path / "weights").with_suffix(suffix)
    it = bench(is_started=False, load=load_model, checkpoint=str(file), device="cpu")
    assert it.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    it.spin_until(lambda: it.listener.status and it.listener.status.state == MapStatus.ERROR)
    assert str(file) in it.listener.status.message and said in it.listener.status.message
    assert it.diagnosed("node").level == DiagnosticStatus.ERROR
    assert not (tmp_path / "ran").exists()


def test_two_nodes_of_one_name_are_said_with_the_remedy(bench: Any) -> None:
    first = bench()
    assert first.diagnosed("node").level == DiagnosticStatus.OK
    bench()
    first.spin_until(lambda: "2 nodes are named /mapping" in first.listener.status.message)
    assert first.listener.status.has_warning
    node = first.diagnosed("node")
    assert node.level == DiagnosticStatus.WARN
    assert "__node:=" in node.message and "__ns:=" in node.message


def test_another_publisher_of_the_same_frame_is_said(bench: Any) -> None:
    it = bench()
    it.play(it.publisher(), WORLD.frames[:8], period=0.01)
    it.settle(8)
    it.spin_until(lambda: it.listener.transforms)
    it.spin(0.5)
    assert it.diagnosed("node").level == DiagnosticStatus.OK  # its own are not another's
    other = TransformStamped(child_frame_id=it.listener.transforms[-1].child_frame_id)
    other.header.frame_id = "world"
    other.header.stamp = it.listener.transforms[-1].header.stamp
    other.transform.rotation.w = 1.0
    publisher = it.helper.create_publisher(TFMessage, "/tf", 10)
    it.spin_until(publisher.get_subscription_count)
    publisher.publish(TFMessage(transforms=[other]))
    it.spin_until(lambda: "another node publishes world->" in it.listener.status.message)
    node = it.diagnosed("node")
    assert node.level == DiagnosticStatus.WARN and "tf.publish" in node.message


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "..", "a/b"])
def test_a_map_s_name_cannot_lead_out_of_the_map_directory(
    bench: Any, tmp_path: Path, name: str
) -> None:
    it = bench(map_directory=str(tmp_path / "maps" / "mine"))
    it.play(it.publisher(), WORLD.frames[:4], period=0.01)
    it.settle(4)
    for kind, service in ((SaveMap, "save_map"), (LoadMap, "load_map")):
        refused = it.call(kind, f"/mapping/{service}", kind.Request(name=name))
        assert not refused.success and refused.message
    assert not list(tmp_path.iterdir())
    assert np.isfinite(it.listener.status.scale)
