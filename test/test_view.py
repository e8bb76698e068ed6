"""The command line of flashvggt_view: which source is shown."""

import importlib.util

import pytest

from flashvggt_ros.view import main
from flashvggt_ros.viewer.options import REMEDY, open_page, view_parser


def test_a_path_that_is_not_there_is_misuse(capsys):
    assert main(["no/such/bag"]) == 2
    assert "no/such/bag does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "map.ply", "truth.tum"])
def test_a_path_that_is_nothing_to_show_is_told_what_would_be(tmp_path, capsys, name):
    if name:
        (tmp_path / name).touch()
    assert main([str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "flashvggt_view: " in said
    assert "neither a run nor a saved map (it has no map.ply), nor a bag (metadata.yaml" in said


def test_help_names_all_sources(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("--node", "--image", "--host", "--max-points", "office_bag", "~/maps/office"):
        assert word in said


def test_without_viser_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install") as raised:
        open_page(view_parser().parse_args([]))
    assert str(raised.value) == REMEDY


def test_a_damaged_run_is_said(tmp_path, capsys):
    pytest.importorskip("viser")
    (tmp_path / "map.ply").write_text("no points")
    assert main([str(tmp_path), "--port", "8700"]) == 2
    assert "map.ply is not a binary PLY" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--port", "8700", "PATH"], ["PATH", "--port", "8700"],
     ["--host", "127.0.0.1", "PATH", "--max-points", "9"]],
)
def test_options_and_the_path_come_in_any_order(tmp_path, capsys, words):
    pytest.importorskip("viser")
    (tmp_path / "map.ply").write_text("no points")
    assert main([str(tmp_path) if word == "PATH" else word for word in words]) == 2
    assert "map.ply is not a binary PLY" in capsys.readouterr().err


def test_options_of_the_replay_may_stand_before_the_bag(tmp_path, capsys):
    bag = tmp_path / "walk.mcap"
    bag.touch()
    with pytest.raises(SystemExit):
        main(["--max-frames", "many", str(bag)])
    assert "many is no number of 0 or more" in capsys.readouterr().err
    assert main(["--max-frames", "3", "--set", "chunk.size=4", str(bag)]) == 2
    assert f"flashvggt_replay: {bag}" in capsys.readouterr().err


def test_two_paths_are_one_too_many(tmp_path, capsys):
    (tmp_path / "map.ply").touch()
    with pytest.raises(SystemExit):
        main([str(tmp_path), "other"])
    assert "unrecognized arguments: other" in capsys.readouterr().err


def test_the_words_of_ros_are_no_path(capsys):
    pytest.importorskip("rclpy")
    pytest.importorskip("viser")
    words = ["--host", "203.0.113.1", "--ros-args", "--remap", "/mapping/path:=/other/path"]
    assert main(words) == 2
    assert "the page cannot be served at 203.0.113.1" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--node", "/a b"], ["--image", "/1"]])
def test_names_that_ros_does_not_have_are_refused(capsys, words):
    pytest.importorskip("rclpy")
    pytest.importorskip("viser")
    assert main([*words, "--port", "8720"]) == 2
    assert "--node or --image is no name in ROS: Invalid topic name" in capsys.readouterr().err
