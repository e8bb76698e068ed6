import os

import pytest
from recorded_bag import record

from flashvggt_ros.config import build_config
from flashvggt_ros.tools.evaluation.finished_work import FinishedWork, replay_basis, score_basis
from flashvggt_ros.worlds import make_world, walk


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "bag", make_world(walk(2)).frames)


def test_a_step_is_finished_on_the_same_basis_only(tmp_path, bag):
    finished = FinishedWork(tmp_path)
    basis = replay_basis(bag, build_config({"chunk.size": 6}), 0)
    assert not finished.has("replay", basis)
    finished.add("replay", basis)
    finished.add("scores", {"truth": "other"})
    assert FinishedWork(tmp_path).has("replay", basis)
    assert not finished.has("replay", replay_basis(bag, build_config({"chunk.size": 7}), 0))
    assert not finished.has("replay", replay_basis(bag, build_config({"chunk.size": 6}), 9))


def test_other_weights_under_the_same_name_and_another_bag_are_another_basis(tmp_path, bag):
    weights = tmp_path / "own.safetensors"
    config = build_config({"checkpoint": str(weights)})
    found = []
    for content, change_ns in ((b"a", 1), (b"b", 2)):
        weights.write_bytes(content)
        os.utime(weights, ns=(change_ns, change_ns))
        found.append(replay_basis(bag, config, 0))
    (storage,) = bag.glob("*.mcap")
    os.utime(storage, ns=(5, 5))
    found.append(replay_basis(bag, config, 0))
    assert found[0] != found[1] != found[2]
    assert len(replay_basis(bag, build_config({}), 0)["weights"]) == 64  # of the embedded file


def test_a_trajectory_or_truth_that_changed_is_another_basis(tmp_path):
    truth = tmp_path / "truth.tum"
    run = tmp_path / "run"
    run.mkdir()
    truth.write_text("0")
    (run / "trajectory.tum").write_text("1")
    first = score_basis(run, str(truth), "")
    (run / "trajectory.tum").write_text("2")
    second = score_basis(run, str(truth), "")
    truth.write_text("longer")
    assert first != second != score_basis(run, str(truth), "")


def test_a_record_that_is_no_record_means_that_nothing_is_finished(tmp_path):
    (tmp_path / "finished.json").write_text("[1, ")
    finished = FinishedWork(tmp_path)
    assert not finished.has("replay", {})
    finished.add("replay", {})
    assert finished.has("replay", {})
