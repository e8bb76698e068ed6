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
