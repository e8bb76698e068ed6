"""The checks of saved maps hold, and notice what they are there to notice."""

from pathlib import Path

from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.tools.backend_checks.archive import (
    MODEL,
    check_archive,
    differing_files,
    killed_saves,
)
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, run_slam, settings
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

CONFIG = settings({"map.voxel_size": 0.1})


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_every_check_of_saved_maps_holds() -> None:
    findings = list(check_archive(is_quick=True))
    assert [finding.what for finding in findings if not finding.is_ok] == []
    assert len(findings) == 3


def test_killed_saves_leave_a_whole_map_and_what_they_began_goes_with_the_next(
    tmp_path: Path,
) -> None:
    world = make_world(walk(16), pinhole=SMALL)
    save_map(
        tmp_path / "a", run_slam(CONFIG, TruthPredictor(world), world.frames).map, CONFIG, MODEL
    )
    assert killed_saves(tmp_path / "a", tmp_path / "maps" / "b", CONFIG, kills=4) == 0
    left = [name for name in names(tmp_path / "maps") if name != "b"]
    assert len(left) <= 1
    save_map(tmp_path / "maps" / "b", Map(CONFIG, load_map(tmp_path / "a", MODEL)), CONFIG, MODEL,
             overwrite=True)
    assert names(tmp_path / "maps") == ["b"]


def test_other_and_missing_files_are_counted(tmp_path: Path) -> None:
    for name, files in (("a", {"x": "1", "y": "2", "z": "3"}), ("b", {"x": "1", "y": "0"})):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert differing_files(tmp_path / "a", tmp_path / "b") == 2
    assert differing_files(tmp_path / "a", tmp_path / "a") == 0
