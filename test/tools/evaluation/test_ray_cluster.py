"""What needs Ray is skipped where it is not installed: pip install -r requirements/ray.txt."""

import importlib.util
import json

import numpy as np
import pytest
from recorded_bag import camera_info, pose_stamped, raw_image, write_bag

from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.tools.evaluate import main
from flashvggt_ros.worlds import make_world, walk

TRUTH = "/ground_truth/pose"
TIMES = ("frames_per_second", "peak_memory_mb", "run")  # differ from run to run


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A bag, two runs of it, and a bag that is not there."""
    folder = tmp_path_factory.mktemp("inputs")
    world = make_world(walk(16))
    messages = []
    for frame, T in zip(world.frames, world.T_world_camera, strict=True):
        messages += [("/camera/camera_info", frame.stamp_ns, camera_info(frame)),
                     ("/camera/image_raw", frame.stamp_ns, raw_image(frame)),
                     (TRUTH, frame.stamp_ns, pose_stamped(T, frame.stamp_ns))]
    bag = write_bag(folder / "walk", messages)
    for seed, name in enumerate(("first", "second")):
        (folder / name).mkdir()
        poses = world.T_world_camera.copy()
        poses[:, :3, 3] += np.random.default_rng(seed).normal(0, 0.01, (len(poses), 3))
        stamps = [frame.stamp_ns for frame in world.frames]
        write_tum(folder / name / "trajectory.tum", stamps, poses)
        (folder / name / "report.json").write_text(json.dumps({"bag": str(bag)}))
    return [str(folder / name) for name in ("walk", "first", "second", "gone")]


@pytest.fixture(scope="module")
def address():
    """A cluster of two workers with one core each, and a head that does nothing itself."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


def evaluate(output, words):
    code = main([*words, "--ground-truth", TRUTH, "--output", str(output)])
    return code, json.loads((output / "metrics.json").read_text())


def without_times(bags):
    return {name: {key: value for key, value in metrics.items() if key not in TIMES}
            for name, metrics in bags.items()}


@pytest.mark.timeout(300)
def test_a_cluster_of_two_workers_says_the_same_as_this_machine(
    tmp_path, inputs, address, tiny_checkpoint
):
    words = [*inputs, "--checkpoint", str(tiny_checkpoint)]
    code, here = evaluate(tmp_path / "here", words)
    assert code == 1
    code, there = evaluate(tmp_path / "there", [*words, "--ray", address, "--ray-cpus", "1"])
    assert code == 1
    assert list(there["failed"]) == list(here["failed"]) == ["gone"]
    assert list(there["bags"]) == ["walk", "first", "second"]
    assert without_times(there["bags"]) == without_times(here["bags"])
    assert (tmp_path / "there/report.html").is_file()


def test_a_cluster_without_such_a_machine_is_said_at_once(tmp_path, inputs, address, capsys):
    words = [inputs[1], inputs[2], "--ground-truth", TRUTH, "--output", str(tmp_path / "out"),
             "--ray", address]
    assert main([*words, "--ray-cpus", "1", "--device", "cuda"]) == 2
    assert "no machine has 1 CPUs and a GPU" in capsys.readouterr().err
    assert main([*words, "--ray-cpus", "0"]) == 2
    assert "a replay needs at least one" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_remedy_is_named(tmp_path, inputs, capsys):
    words = ["--ground-truth", TRUTH, "--output", str(tmp_path), "--ray", "local"]
    assert main([*inputs, *words]) == 2
    assert "pip install 'flashvggt_ros[ray]'" in capsys.readouterr().err
