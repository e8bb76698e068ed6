from pathlib import Path

import pytest

from flashvggt_ros.tools.evaluation.inputs import (
    absolute_truth,
    find_surfaces,
    find_truth,
    is_run_folder,
    name_inputs,
    pair_inputs,
)


def test_inputs_get_their_own_truth_or_the_only_one_or_the_one_in_their_place():
    assert pair_inputs(["a", "b"], ["/truth"]) == [(Path("a"), "/truth"), (Path("b"), "/truth")]
    assert pair_inputs(["a", "b"], ["1", "2"]) == [(Path("a"), "1"), (Path("b"), "2")]
    assert pair_inputs(["a=x:/tf:w.c", "b"], ["2"]) == [(Path("a"), "x:/tf:w.c"), (Path("b"), "2")]


@pytest.mark.parametrize(
    ("inputs", "truths", "said"),
    [
        ([], ["t"], "nothing to score"),
        (["a", "b", "c"], ["1", "2"], "3 inputs have no truth of their own"),
        (["a"], [], "names 0"),
        (["a=1"], ["2"], "of no use"),
    ],
)
def test_inputs_and_truths_that_do_not_match_are_refused(inputs, truths, said):
    with pytest.raises(ValueError, match=said):
        pair_inputs(inputs, truths)


def test_a_file_whose_name_has_an_equals_sign_is_still_an_input(tmp_path):
    bag = tmp_path / "speed=2.mcap"
    bag.touch()
    assert pair_inputs([str(bag)], ["t"]) == [(bag, "t")]


def test_inputs_are_named_after_themselves_and_told_apart_by_the_folder_above():
    paths = [Path("/d/walk.mcap"), Path("/d/fr1.rpy"), Path("/x/seq"), Path("/y/seq")]
    assert name_inputs(paths) == ["walk", "fr1.rpy", "x_seq", "y_seq"]
    with pytest.raises(ValueError, match="several inputs are called x_seq"):
        name_inputs([Path("/1/x/seq"), Path("/2/x/seq")])


def test_a_topic_alone_is_one_of_the_bag_and_what_names_a_file_stays(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    truth = tmp_path / "truth.tum"
    truth.touch()
    assert find_truth("/ground_truth/pose", bag) == f"{bag}:/ground_truth/pose"
    assert find_truth("/tf:world.camera", bag) == f"{bag}:/tf:world.camera"
    assert find_truth(str(truth), bag) == str(truth)
    assert find_truth(f"{bag}:/tf", tmp_path) == f"{bag}:/tf"
    assert find_truth("/nowhere/truth.tum", bag) == "/nowhere/truth.tum"


def test_a_relative_truth_is_named_from_everywhere(tmp_path, monkeypatch):
    (tmp_path / "bag").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_truth("bag:/tf:w.c") == f"{tmp_path}/bag:/tf:w.c"
    assert absolute_truth("/ground_truth/pose") == "/ground_truth/pose"


def test_the_surfaces_of_a_bag_are_used_with_the_truth_of_that_bag_only(tmp_path):
    (tmp_path / "surfaces.ply").touch()
    own = str(tmp_path / "surfaces.ply")
    assert find_surfaces("", f"{tmp_path}:/truth", tmp_path) == own
    assert find_surfaces("", f"{tmp_path}/groundtruth.tum", tmp_path) == own
    assert find_surfaces("", "elsewhere.tum", tmp_path) == ""
    assert find_surfaces("given.ply", "elsewhere.tum", tmp_path) == "given.ply"


def test_the_surfaces_of_a_bag_are_found_however_bag_and_truth_are_named(tmp_path, monkeypatch):
    bag = tmp_path / "bag"
    bag.mkdir()
    for name in ("surfaces.ply", "groundtruth.tum"):
        (bag / name).touch()
    monkeypatch.chdir(tmp_path)
    for truth in ("bag/groundtruth.tum", "bag:/truth", f"{bag}:/truth", f"{bag}/groundtruth.tum"):
        for named in (bag, Path("bag")):
            assert find_surfaces("", truth, named) == str(bag / "surfaces.ply")



def test_a_folder_with_a_recording_is_a_bag_and_another_one_a_run(tmp_path):
    assert is_run_folder(tmp_path)
    (tmp_path / "walk.mcap").touch()
    assert not is_run_folder(tmp_path)
    assert not is_run_folder(tmp_path / "walk.mcap")
