"""A bag becomes a map, and the next bag finds itself in it, or makes it larger."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_bag import record

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import align_points
from flashvggt_ros.mapping.map_archive import load_map
from flashvggt_ros.mapping.map_io import read_tum
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.model.checkpoint import CheckpointCard
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.localized_path import LocalizedPath
from flashvggt_ros.tools.replay import Replay, main
from flashvggt_ros.tools.replay_report import format_summary
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.worlds import (
    TruthPredictor,
    World,
    furnished_room,
    mount,
    photograph,
    roaming,
)

CARD = CheckpointCard("truth", "0" * 64, is_trained=True, parameters=0, revision="")
MODEL = MapModel("truth", "0" * 64, "")
SMALL = Pinhole(60.0, 60.0, 47.5, 35.5, 96, 72)
VALUES = {
    "image_topics": ["/camera/image_raw"], "bundle_adjustment.enabled": False,
    "keyframe.min_motion": 0.0, "chunk.max_wait": 60.0, "map.voxel_size": 0.1,
}  # fmt: skip
PATH = roaming(60, 0.2)


def day(T_world_base: np.ndarray, number: int, seed: int = 0) -> World:
    place = furnished_room(seed)
    world = photograph(place, T_world_base, {"camera": mount(pitch=0.1)}, pinhole=SMALL)
    later = number * 10**15
    frames = tuple(replace(frame, stamp_ns=frame.stamp_ns + later) for frame in world.frames)
    return replace(world, frames=frames)


FIRST, AGAIN = day(PATH[:32], 0), day(PATH[6:30], 1)


def replay(
    folder: Path, name: str, world: World, map_folder: Path | None = None, **values: Any
) -> dict[str, Any]:
    """Record a bag of a day and replay it; the report."""
    known = World(
        FIRST.frames + world.frames,
        np.concatenate([FIRST.T_world_camera, world.T_world_camera]),
        np.concatenate([FIRST.depth, world.depth]),
    )
    predictor = TruthPredictor(known, depth_noise=0.01, seed=3)
    with Bag(record(folder / f"{name}_bag", world.frames)) as bag:
        run = Replay(bag, build_config(VALUES | values), predictor, CARD, map_folder=map_folder)
        run.run()
        output = RunFolder(folder / name)
        output.create()
        return run.write(output)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the first day."""
    folder = tmp_path_factory.mktemp("days")
    report = replay(folder, "first", FIRST)
    assert report["loaded_map"] is None
    assert report["localized"] is None
    return folder / "first"


def test_a_bag_becomes_a_map_that_can_be_loaded(first: Path) -> None:
    snapshot = load_map(first / "map", MODEL)
    stamps = [stamp.stamp_ns for submap in snapshot.submaps
              for stamp in submap.stamps[submap.shared :]]
    assert stamps == [frame.stamp_ns for frame in FIRST.frames]
    assert (first / "map" / "trajectory.tum").read_bytes() == (
        first / "keyframes.tum"
    ).read_bytes()


def test_the_next_bag_finds_itself_in_the_map(first: Path, tmp_path: Path) -> None:
    report = replay(tmp_path, "next", AGAIN, first / "map", mode="localization")
    assert report["loaded_map"] == str(first / "map")
    assert report["localized"] == {
        "keyframes": 24, "after_frames": 8, "since_ns": AGAIN.frames[0].stamp_ns
    }
    assert not (tmp_path / "next" / "map").exists()
    _, mapped = read_tum(first / "keyframes.tum")
    truth = FIRST.T_world_camera[:, :3, 3]
    S_world_map = align_points(mapped[:, :3, 3], truth, np.ones(len(truth)))
    stamps, poses = read_tum(tmp_path / "next" / "keyframes.tum")
    assert stamps == [frame.stamp_ns for frame in AGAIN.frames]
    places = S_world_map.transform_points(poses[:, :3, 3])
    errors = np.linalg.norm(places - AGAIN.T_world_camera[:, :3, 3], axis=1)
    assert errors.max() < 0.1
    assert "localized in the loaded map after 8 frames" in format_summary(report, tmp_path)


def test_the_next_bag_makes_the_map_larger(first: Path, tmp_path: Path) -> None:
    report = replay(tmp_path, "next", day(PATH[20:60], 1), first / "map")
    assert report["localized"]["after_frames"] == 8
    old, new = load_map(first / "map", MODEL), load_map(tmp_path / "next" / "map", MODEL)
    assert len(new.submaps) > len(old.submaps)
    np.testing.assert_array_equal(new.submaps[0].T_map_camera, old.submaps[0].T_map_camera)


def test_a_bag_of_another_place_is_not_localized_and_says_so(first: Path, tmp_path: Path) -> None:
    elsewhere = day(PATH[:8], 1, seed=3)
    report = replay(tmp_path, "next", elsewhere, first / "map", mode="localization")
    assert report["localized"] == {"keyframes": 0, "after_frames": None, "since_ns": None}
    assert report["frames_placed"] == 0
    assert "NOT LOCALIZED" in format_summary(report, tmp_path)


def test_the_map_of_an_earlier_run_is_replaced_and_a_folder_of_someone_else_is_not(
    first: Path, tmp_path: Path
) -> None:
    for number in range(2):
        replay(tmp_path, "out", replace(AGAIN, frames=AGAIN.frames[:8]))
        (tmp_path / "out_bag").rename(tmp_path / f"bag_{number}")
    assert load_map(tmp_path / "out" / "map", MODEL).submaps
    (tmp_path / "mine" / "map").mkdir(parents=True)
    (tmp_path / "mine" / "map" / "letter.txt").write_text("x")
    with pytest.raises(ValueError, match="holds other files"):
        RunFolder(tmp_path / "mine")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--localize"], "needs a map"),
        (["--map", "out/map"], "would be overwritten"),
        (["--map", "."], "--output out lies in --map, which stays as it is"),
        (["--map", "nowhere", "--checkpoint", "untrained"], "no such map"),
    ],
)
def test_a_map_that_cannot_be_used_is_misuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], complaint: str,
) -> None:
    record(tmp_path / "bag", FIRST.frames[:2])
    monkeypatch.chdir(tmp_path)
    assert main(["bag", "--output", "out", *options]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_path_begins_where_the_place_is_known() -> None:
    assert LocalizedPath().describe()["after_frames"] is None
    assert LocalizedPath().trajectory().T_map_camera.shape == (0, 4, 4)
