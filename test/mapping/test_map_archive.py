"""A saved map comes back as it was; one that is damaged, foreign or dangerous is refused."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.pose_graph_file import read_pose_graph
from flashvggt_ros.slam import Slam
from flashvggt_ros.worlds import (
    OdometryErrors,
    TruthPredictor,
    TruthRobot,
    furnished_room,
    mount,
    photograph,
    roaming,
)

CONFIG = build_config({
    "map.voxel_size": 0.1, "keyframe.min_motion": 0.0, "chunk.max_wait": 60.0,
    "submap.max_frames": 16, "bundle_adjustment.enabled": False,
})  # fmt: skip
MODEL = MapModel("flashvggt-mini", "ab" * 32, "1")
Tamper = Callable[[Path], None]


@pytest.fixture(scope="module")
def slam() -> Slam[Any]:
    """Five submaps of a room, the last one growing, metric by odometry."""
    mounts = {"camera": mount(pitch=0.1)}
    world = photograph(
        furnished_room(), roaming(52), mounts, pinhole=Pinhole(80.0, 80.0, 63.5, 47.5, 128, 96)
    )
    robot = TruthRobot(world, mounts, odometry=OdometryErrors())
    slam = Slam(CONFIG, TruthPredictor(world, depth_noise=0.01), robot)
    for frame in world.frames:
        slam.add_frame(frame)
    slam.flush()
    return slam


@pytest.fixture(scope="module")
def saved(slam: Slam[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "room"
    save_map(folder, slam.map, CONFIG, MODEL)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def sign(folder: Path, name: str) -> None:
    """Let the manifest say of a file what it is now."""
    content = (folder / name).read_bytes()
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


def change_arrays(folder: Path, name: str, **columns: Callable[[np.ndarray], np.ndarray]) -> None:
    """Rewrite an .npz file with some arrays changed, and sign it."""
    with np.load(folder / name) as archive:
        arrays = dict(archive)
    arrays |= {key: change(arrays[key]) for key, change in columns.items()}
    np.savez(folder / name, allow_pickle=True, **arrays)
    sign(folder, name)


def put(array: np.ndarray, at: Any, value: Any) -> np.ndarray:
    array = array.copy()
    array[at] = value
    return array


def test_a_map_that_is_loaded_and_saved_again_gives_the_same_bytes(
    saved: Path, tmp_path: Path
) -> None:
    save_map(tmp_path / "again", Map(CONFIG, load_map(saved, MODEL)), CONFIG, MODEL)
    first, second = contents(saved), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert {"map.ply", "map.pgm", "map.yaml", "pose_graph.g2o", "trajectory.tum"} <= first.keys()


def test_a_loaded_map_is_the_one_that_was_saved(slam: Slam[Any], saved: Path) -> None:
    loaded, now = load_map(saved, MODEL), slam.map.snapshot()
    assert len(loaded.submaps) == len(now.submaps) == 5
    for one, other in zip(loaded.submaps, now.submaps, strict=True):
        assert one.stamps == other.stamps
        assert (one.index, one.shared) == (other.index, other.shared)
        assert one.is_joined == other.is_joined
        np.testing.assert_array_equal(one.T_map_camera, other.T_map_camera)
        np.testing.assert_array_equal(one.cloud_map(1.0).points, other.cloud_map(1.0).points)
        for kept, keyframe in zip(one.keyframes, other.keyframes, strict=True):
            assert kept.stamp == keyframe.stamp
            assert kept.picture == keyframe.picture
            assert (kept.camera, kept.is_calibrated) == (keyframe.camera, keyframe.is_calibrated)
            assert kept.sketch.camera == keyframe.sketch.camera
            np.testing.assert_array_equal(kept.sketch.depth, keyframe.sketch.depth)
            np.testing.assert_array_equal(kept.signature, keyframe.signature)
    assert loaded.scale == now.scale
    assert loaded.scale is not None and loaded.scale.source == "odometry"
    assert loaded.up is not None and loaded.up.source == "tf"
    assert loaded.loops == now.loops
    assert len(loaded.graph.factors) == len(now.graph.factors)
    assert loaded.grounds.heights(loaded.submaps) == now.grounds.heights(now.submaps)


def test_the_files_for_others_say_the_same_as_the_map(slam: Slam[Any], saved: Path) -> None:
    trajectory = slam.map.trajectory()
    stamps_ns, poses = read_tum(saved / "trajectory.tum")
    assert stamps_ns == [frame.stamp_ns for frame in trajectory.frames]
    np.testing.assert_allclose(poses, trajectory.T_map_camera, atol=1e-9)
    points, _ = read_ply(saved / "map.ply")
    assert len(points) == pytest.approx(len(slam.map.cloud()[0]), rel=0.05)
    graph = read_pose_graph(saved / "pose_graph.g2o")
    assert len(graph.poses) == len(slam.map.submaps)
    assert yaml.safe_load((saved / "map.yaml").read_text())["image"] == "map.pgm"
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["model"] == {"name": MODEL.name, "sha256": MODEL.sha256, "revision": "1"}
    assert manifest["is_metric"] is True
    assert manifest["frames"] == {"map": "map", "cameras": ["camera"]}


def test_saving_changes_nothing_and_the_snapshot_does_not_grow(slam: Slam[Any]) -> None:
    before = slam.map.snapshot()
    live = before.submaps[-1]
    assert live.frames == slam.map.live.frames
    assert live is not slam.map.live
    assert slam.map.live.clouds_camera
    assert len(before.graph.fixed) == 0


def test_a_condensed_submap_keeps_its_poses(slam: Slam[Any], tmp_path: Path) -> None:
    snapshot = slam.map.snapshot()
    emptied = Map(CONFIG, snapshot).snapshot()
    emptied.submaps[1].condense()
    save_map(tmp_path / "a", Map(CONFIG, emptied), CONFIG, MODEL)
    loaded = load_map(tmp_path / "a", MODEL)
    assert [submap.is_condensed for submap in loaded.submaps] == [False, True, False, False, False]
    np.testing.assert_array_equal(
        loaded.submaps[1].T_map_camera, snapshot.submaps[1].T_map_camera
    )


def test_there_is_nothing_to_save_before_something_is_mapped(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no map yet"):
        save_map(tmp_path / "a", Map(CONFIG), CONFIG, MODEL)
    assert names(tmp_path) == []


def test_an_older_map_is_only_replaced_where_that_is_asked_for(
    slam: Slam[Any], copy: Path
) -> None:
    before = contents(copy)
    with pytest.raises(FileExistsError, match="exists already"):
        save_map(copy, slam.map, CONFIG, MODEL)
    assert contents(copy) == before
    other = MapModel("other", "cd" * 32, "")
    save_map(copy, slam.map, CONFIG, other, overwrite=True)
    assert load_map(copy, other).submaps
    assert names(copy.parent) == ["copy"]


def test_what_is_no_map_is_never_overwritten(slam: Slam[Any], tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("precious")
    before = contents(tmp_path)
    for name in ("papers", "file"):
        with pytest.raises(FileExistsError, match=f"{name} is no saved map.*another name"):
            save_map(tmp_path / name, slam.map, CONFIG, MODEL, overwrite=True)
    assert contents(tmp_path) == before


def test_the_map_of_another_model_is_refused_with_both_names_and_the_remedy(saved: Path) -> None:
    other = MapModel("flashvggt-r2", "cd" * 32, "1")
    with pytest.raises(ValueError, match="flashvggt-mini") as error:
        load_map(saved, other)
    for words in ("abababababab", "flashvggt-r2", "cdcdcdcdcdcd", "load the checkpoint"):
        assert words in str(error.value)
    load_map(saved, MapModel("renamed", MODEL.sha256, "2"))


@pytest.mark.parametrize("version", [3, 5, "4", None])
def test_another_version_is_refused(copy: Path, version: Any) -> None:
    change_manifest(copy, lambda manifest: manifest.update(version=version))
    with pytest.raises(ValueError, match="this package reads 4"):
        load_map(copy, MODEL)


@pytest.mark.parametrize(
    "name",
    ["submaps.npz", "keyframes.npz", "clouds.npz", "map.ply", "map.pgm", "map.yaml",
     "trajectory.tum", "pose_graph.g2o", "keyframes/000003.jpg"],
)
def test_a_file_that_is_torn_changed_missing_or_a_link_is_refused_by_name(
    copy: Path, name: str
) -> None:
    whole = (copy / name).read_bytes()
    for damaged in (whole[:-1], whole + b"x", whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        (copy / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            load_map(copy, MODEL)
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_map(copy, MODEL)
    (copy.parent / "elsewhere").write_bytes(whole)
    (copy / name).symlink_to(copy.parent / "elsewhere")
    with pytest.raises(OSError, match=name):
        load_map(copy, MODEL)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ValueError, match="not a regular file"):
        load_map(copy, MODEL)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../room/map.ply", "keyframes/../../x", "extra.bin", "", "keyframes",
             "keyframes/999999.jpg", "manifest.json"]
)
def test_a_manifest_that_names_anything_else_is_refused(copy: Path, name: str) -> None:
    entry = {"size": 1, "sha256": "00" * 32}
    change_manifest(copy, lambda manifest: manifest["files"].update({name: entry}))
    with pytest.raises(ValueError, match="must not name"):
        load_map(copy, MODEL)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m["files"].pop("clouds.npz"), "must name the file 'clouds.npz'"),
        (lambda m: m["files"].pop("map.pgm"), "must name the file 'map.pgm'"),
        (lambda m: m["files"]["map.ply"].update(size=2**50), "more than"),
        (lambda m: m["files"]["map.ply"].update(size=-1), "no size and SHA-256"),
        (lambda m: m["files"]["map.ply"].update(size=True), "not int"),
        (lambda m: m["files"]["map.ply"].update(sha256="0"), "no size and SHA-256"),
        (lambda m: m["counts"].update(keyframes=10**12), "keyframes"),
        (lambda m: m["counts"].update(keyframes=-1), "less than nothing"),
        (lambda m: m["counts"].update(submaps=3), "contradicts itself"),
        (lambda m: m["counts"].update(loops="1"), "not int"),
        (lambda m: m.update(format="other"), "its format"),
        (lambda m: m.pop("model"), "lacks"),
        (lambda m: m.update(files=[]), "lacks"),
        (lambda m: m["scale"].update(meters_per_unit=-1.0), "no scale"),
        (lambda m: m["scale"].update(sigma=float("nan")), "no scale"),
        (lambda m: m["up"].update(up_submap=[1.0, 1.0, 1.0]), "no direction"),
        (lambda m: m["frames"].update(cameras=[]), "unknown camera"),
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    change_manifest(copy, change)
    with pytest.raises(ValueError, match=complaint):
        load_map(copy, MODEL)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(copy: Path, text: bytes) -> None:
    (copy / "manifest.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        load_map(copy, MODEL)


def test_a_manifest_larger_than_the_map_can_need_is_not_read(copy: Path) -> None:
    (copy / "manifest.json").write_bytes(b"[" + b"[]," * 1_000_000 + b"[]]")
    with pytest.raises(ValueError, match=r"manifest\.json has 3000004 bytes, more than"):
        load_map(copy, MODEL)


def test_a_folder_without_a_manifest_is_no_map(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no saved map$"):
        load_map(copy, MODEL)
    with pytest.raises(FileNotFoundError, match="no such map"):
        load_map(copy / "nowhere", MODEL)


def test_a_folder_with_a_map_in_it_is_refused_with_the_name_of_that(copy: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no saved map; name {copy}$"):
        load_map(copy.parent, MODEL)


ARRAY_LIES: dict[str, tuple[str, dict[str, Callable[[np.ndarray], np.ndarray]], str]] = {
    "objects": ("keyframes.npz", {"signature": lambda a: a.astype(object)}, "array signature"),
    "not a number": ("clouds.npz", {"weights": lambda a: put(a, 0, np.nan)}, "not finite"),
    "a longer array": ("clouds.npz", {"colors": lambda a: np.vstack([a, a])}, "array colors"),
    "no rotation": ("submaps.npz", {"rotation": lambda a: 1.1 * a}, "does not rotate"),
    "a mirror": ("submaps.npz", {"rotation": lambda a: -a}, "does not rotate"),
    "a bent pose": ("keyframes.npz", {"T_submap_camera": lambda a: put(a, (0, 3, 0), 1)}, "rigid"),
    "a negative scale": ("submaps.npz", {"scale": lambda a: -a}, "scale is not positive"),
    "far away": ("submaps.npz", {"translation": lambda a: a + 1e12}, "beyond"),
    "negative counts": ("submaps.npz", {"points": lambda a: put(a, 0, -a[0])}, "points"),
    "overflowing counts": (
        "submaps.npz", {"points": lambda a: a + 2**62}, "points",
    ),
    "all poses shared": ("submaps.npz", {"shared": lambda a: a + 99}, "shared"),
    "half the keyframes": (
        "submaps.npz", {"keyframes": lambda a: put(a, slice(2), [a[0] - 1, a[1] + 1])}, "only some",
    ),
    "an unknown camera": ("keyframes.npz", {"frame_id": lambda a: a + 1}, "unknown camera"),
    "a giant sketch": ("keyframes.npz", {"sketch_size": lambda a: a * 10**6}, "size of an image"),
    "a giant picture": (
        "keyframes.npz", {"camera_size": lambda a: put(a, 0, 8000)}, "size of an image"
    ),
    "a larger sketch": ("keyframes.npz", {"sketch_size": lambda a: a + 1}, "another size"),
    "no focal length": ("keyframes.npz", {"camera": lambda a: 0 * a}, "focal length"),
    "an unknown node": ("submaps.npz", {"edge_nodes": lambda a: a + 9}, "is not one of the"),
    "a negative node": ("submaps.npz", {"edge_nodes": lambda a: a - 9}, "is not one of the"),
    "no covariance": ("submaps.npz", {"edge_covariance": lambda a: -a}, "positive definite"),
    "a weightless point": ("clouds.npz", {"weights": lambda a: put(a, 0, 0)}, "weight"),
    "a measured nothing": ("submaps.npz", {"scale_measured": lambda a: 0 * a}, "not positive"),
    "merged into nothing": ("submaps.npz", {"carrier": lambda a: put(a, 1, 99)}, "there is not"),
    "merged into itself": ("submaps.npz", {"carrier": lambda a: put(a, 1, 1)}, "there is not"),
    "merged and not": ("submaps.npz", {"carrier": lambda a: put(a, 1, 0)}, "more than poses"),
    "an odd number": ("submaps.npz", {"carrier": lambda a: put(a, 1, -2)}, "there is not"),
    "a short up": ("submaps.npz", {"up_measured": lambda a: 0.5 * a}, "length 1"),
}  # fmt: skip


@pytest.mark.parametrize("lie", ARRAY_LIES)
def test_arrays_that_make_no_sense_are_refused_although_they_are_signed(
    copy: Path, lie: str
) -> None:
    name, columns, complaint = ARRAY_LIES[lie]
    change_arrays(copy, name, **columns)
    with pytest.raises(ValueError, match=complaint):
        load_map(copy, MODEL)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(copy: Path) -> None:
    name = "keyframes/000000.jpg"
    picture = (copy / name).read_bytes()
    size = (96).to_bytes(2, "big") + (128).to_bytes(2, "big")
    (copy / name).write_bytes(picture.replace(size, b"\xff\xff\xff\xff", 1))
    sign(copy, name)
    with pytest.raises(ValueError, match=f"{name} is 65535x65535, its camera 128x96"):
        load_map(copy, MODEL)


def test_a_member_whose_header_is_torn_is_refused(copy: Path) -> None:
    path = copy / "clouds.npz"
    path.write_bytes(path.read_bytes().replace(b"'shape': (", b"'shape': ((", 1))
    sign(copy, "clouds.npz")
    with pytest.raises(ValueError, match=r"clouds\.npz"):
        load_map(copy, MODEL)
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("points_submap", "colors", "weights", "seen_by"):
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': ((3,), }".ljust(118)
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00\x76\x00" + header)
    sign(copy, "clouds.npz")
    with pytest.raises(ValueError, match=r"clouds\.npz is damaged"):
        load_map(copy, MODEL)


def test_a_folder_in_the_place_of_a_file_is_refused(copy: Path) -> None:
    (copy / "map.ply").unlink()
    (copy / "map.ply").mkdir()
    with pytest.raises(ValueError, match=r"map\.ply is not a regular file"):
        load_map(copy, MODEL)
