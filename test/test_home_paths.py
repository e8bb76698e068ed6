"""Paths with ~."""

from pathlib import Path

from flashvggt_ros.home_paths import expanded
from flashvggt_ros.tools import evaluate, replay, sample_bag

NOBODYS = "~nobody_has_this_name/bag"


def test_homes_are_put_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/robot")
    assert expanded("~/maps/lab") == Path("/home/robot/maps/lab")
    assert expanded(Path("~/maps")) == Path("/home/robot/maps")
    assert expanded("maps/~x") == Path("maps/~x")


def test_the_home_of_nobody_is_a_name_as_in_a_shell():
    assert expanded(NOBODYS) == Path(NOBODYS)


def test_commands_say_that_there_is_no_such_file(capsys, tmp_path):
    assert replay.main([NOBODYS, "--output", str(tmp_path / "out")]) == 2
    assert "nobody_has_this_name" in capsys.readouterr().err
    truth = tmp_path / "truth.tum"
    truth.touch()
    assert evaluate.main([NOBODYS, "--ground-truth", str(truth)]) != 0
    assert "nobody_has_this_name" in capsys.readouterr().err


def test_a_bag_goes_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sample_bag.main(["--output=~/bag", "--seconds", "1", "--rate", "2",
                            "--size", "64x64"]) == 0
    assert (tmp_path / "bag" / "metadata.yaml").is_file()
