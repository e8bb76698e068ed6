"""Saved maps with something wrong, loaded and used: one trial after another."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import ARRAY_FILES, MANIFEST, load_map, save_map
from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.pose_graph_file import read_pose_graph
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, run_slam, settings
from flashvggt_ros.tools.soak_checks.mangling import FLOATS, INTEGERS, mangled, mangled_text
from flashvggt_ros.tools.soak_checks.sound_messages import of_size
from flashvggt_ros.tools.soak_checks.trial import Trial, require
from flashvggt_ros.worlds import (
    TruthCache,
    TruthPredictor,
    World,
    furnished_room,
    mount,
    photograph,
    roaming,
)

MODEL = MapModel("truth", "0" * 64, "")
CONFIG = settings({"map.voxel_size": 0.2, "publish_unscaled": True})
WORLD_FRAMES = 34
USED = 0.1  # share of the maps accepted that a robot goes on in

Change = Callable[[Path, Random], None]


def save_sound_map(folder: Path) -> None:
    """Save a map of two submaps of a room."""
    world = _world()
    current = run_slam(CONFIG, TruthPredictor(world, depth_noise=0.01), world.frames).map
    save_map(folder, current, CONFIG, MODEL)


def map_trial(sound: Path) -> Trial:
    """Change a copy of a sound map in one way, load it, draw it, and sometimes go on in it.

    What does not match its manifest must be refused.
    """
    folder = Path(tempfile.mkdtemp(prefix="map_trial_", dir=sound.parent), "map")
    shutil.copytree(sound, folder)
    whole = {path.relative_to(folder): path.read_bytes()
             for path in folder.rglob("*") if path.is_file()}
    world = _world()

    def trial(random: Random) -> bool:
        change = random.choice(CHANGES)
        change(folder, random)
        slam: Slam[TruthCache] | None = None
        try:
            snapshot = load_map(folder, MODEL)
            if random.random() < USED:
                slam = Slam(CONFIG, TruthPredictor(world))
                slam.load_map(folder, MODEL)
        except (ValueError, OSError) as error:
            require(str(folder) in str(error), f"the reason does not name the file: {error}")
            return False
        finally:
            is_same = _restore(folder, whole)
        require(is_same or change is not _break_unsigned, "damage was not noticed")
        _use(snapshot)
        if slam is not None:
            _go_on(slam, world)
        return True

    return trial


def export_trial(sound: Path) -> Trial:
    """Read a broken map.ply, trajectory.tum or pose_graph.g2o."""
    folder = Path(tempfile.mkdtemp(prefix="export_trial_", dir=sound.parent))
    whole = {name: (sound / name).read_bytes() for name in ("map.ply", "trajectory.tum",
                                                            "pose_graph.g2o")}

    def trial(random: Random) -> bool:
        name = random.choice(list(whole))
        path, content = folder / name, whole[name]
        if random.random() < 0.6:
            head, tail = content[:400].decode("latin-1"), content[400:]
            content = mangled_text(head, random).encode("utf-8") + tail
        path.write_bytes(mangled(content, random) if random.random() < 0.5 else content)
        try:
            if name == "map.ply":
                _check_finite(read_ply(path)[0])
            elif name == "trajectory.tum":
                _check_finite(read_tum(path)[1])
            else:
                _check_finite(*(S.matrix for S in read_pose_graph(path).poses))
        except ValueError as error:
            require(str(path) in str(error), f"the reason does not name the file: {error}")
            return False
        return True

    return trial


def _world() -> World:
    return photograph(
        furnished_room(), roaming(WORLD_FRAMES), {"camera": mount()}, pinhole=SMALL
    )


def _use(snapshot: MapSnapshot) -> None:
    """Draw a map and look at its pictures as a node that goes on in it does."""
    drawn = Map(CONFIG, snapshot)
    _check_finite(drawn.cloud()[0], drawn.trajectory().T_map_camera)
    drawn.grid()
    for submap in snapshot.submaps:
        for keyframe in submap.keyframes:
            size = keyframe.camera.height, keyframe.camera.width, 3
            require(max(size) <= 4096, f"a picture of {size}")
            try:
                image = keyframe.frame().image
            except ValueError:
                continue
            require(image.shape == size, f"the picture is {image.shape}, not {size}")


def _go_on(slam: Slam[TruthCache], world: World) -> None:
    for frame in world.frames[:9]:
        slam.add_frame(frame)
    slam.flush()
    _check_finite(slam.map.trajectory().T_map_camera)


def _check_finite(*arrays: np.ndarray) -> None:
    require(all(bool(np.isfinite(array).all()) for array in arrays), "it has NaN or Inf")


def _restore(folder: Path, whole: dict[Path, bytes]) -> bool:
    """Make the map sound again; return whether it was."""
    is_same = True
    for name, content in whole.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
            is_same = False
            _remove(path)
            path.write_bytes(content)
    return is_same


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[str]:
    files: dict[str, object] = json.loads((folder / MANIFEST).read_bytes())["files"]
    return list(files)


def sign(folder: Path, *names: str) -> None:
    """Let the manifest agree with changed files, as an attacker would."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name in names:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {
            "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
        }
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def _break_unsigned(folder: Path, random: Random) -> None:
    name = random.choice(_files(folder))
    (folder / name).write_bytes(mangled((folder / name).read_bytes(), random))


def _break_signed(folder: Path, random: Random) -> None:
    name = random.choice([*ARRAY_FILES, random.choice(_files(folder))])
    (folder / name).write_bytes(mangled((folder / name).read_bytes(), random))
    sign(folder, name)


def _break_manifest(folder: Path, random: Random) -> None:
    content = (folder / MANIFEST).read_bytes()
    if random.random() < 0.7:
        content = mangled_text(content.decode("utf-8"), random).encode("utf-8", "replace")
    else:
        content = mangled(content, random)
    (folder / MANIFEST).write_bytes(content)


def _break_member(folder: Path, random: Random) -> None:
    """Break one .npy inside an archive that is whole: its header may lie about the shape."""
    name = random.choice(list(ARRAY_FILES))
    with zipfile.ZipFile(folder / name) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    broken = random.choice(list(members))
    content = members[broken]
    header = content[10:128].decode("latin-1")
    if random.random() < 0.6:
        lie = mangled_text(header, random)[:118].ljust(118).encode("latin-1", "replace")
        members[broken] = content[:10] + lie + content[128:]
    else:
        members[broken] = mangled(content, random)
    way = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(folder / name, "w", way) as archive:
        for entry, content in members.items():
            archive.writestr(entry, content)
    sign(folder, name)


def _change_array(folder: Path, random: Random) -> None:
    name = random.choice(list(ARRAY_FILES))
    with np.load(folder / name) as loaded:
        arrays = dict(loaded)
    key = random.choice(list(arrays))
    array = arrays[key]
    for _ in range(random.randint(1, 3) if array.size else 0):
        at = random.randrange(array.size)
        if array.dtype.kind == "f":
            near = float(array.flat[at]) * random.choice((-1, 0, 0.5, 2, 1e6))
            with np.errstate(over="ignore"):
                array.flat[at] = random.choice((near, near, random.choice(FLOATS)))
        elif array.dtype.kind == "i":
            wild = random.choice(INTEGERS) % 2**63
            array.flat[at] = random.choice((int(array.flat[at]) + random.choice((-1, 1)), wild))
        else:
            array.flat[at] = not array.flat[at]
    if random.random() < 0.2:
        arrays[key] = array[: len(array) // 2]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    (folder / name).write_bytes(stream.getvalue())
    sign(folder, name)


def _enlarge_picture(folder: Path, random: Random) -> None:
    """Let a picture and its camera agree that it is enormous."""
    width, height = random.choice(((32_000, 32_000), (60_000, 2), (1, 1), (8_000, 8_000)))
    picture = folder / "keyframes/000000.jpg"
    picture.write_bytes(of_size(picture.read_bytes(), width, height))
    with np.load(folder / "keyframes.npz") as loaded:
        arrays = dict(loaded)
    arrays["camera_size"][0] = width, height
    np.savez(folder / "keyframes.npz", **arrays)
    sign(folder, "keyframes/000000.jpg", "keyframes.npz")


def _swap_files(folder: Path, random: Random) -> None:
    first, second = random.sample(_files(folder), 2)
    contents = (folder / first).read_bytes(), (folder / second).read_bytes()
    (folder / second).write_bytes(contents[0])
    (folder / first).write_bytes(contents[1])
    if random.random() < 0.7:
        sign(folder, first, second)


def _replace_file(folder: Path, random: Random) -> None:
    """Put something that is no regular file in the place of one."""
    path = folder / random.choice([*_files(folder), MANIFEST])
    _remove(path)
    kind = random.randrange(5)
    if kind == 0:
        path.symlink_to("/dev/zero")
    elif kind == 1:
        path.symlink_to(path.name)
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.mkdir()


CHANGES: tuple[Change, ...] = (
    _break_unsigned, _break_signed, _break_signed, _break_manifest, _break_manifest, _break_member,
    _break_member, _change_array, _change_array, _enlarge_picture, _swap_files, _replace_file,
)  # fmt: skip
