"""Maps on disk: one folder, from which a map goes on, or a robot finds where it is.

trajectory.tum, map.ply, map.yaml with map.pgm and pose_graph.g2o are for others to read; the map
itself is in the .npz files and the JPEG keyframes. manifest.json names them all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from flashvggt_ros import __version__
from flashvggt_ros.config import Config
from flashvggt_ros.mapping.array_file import read_arrays, write_arrays
from flashvggt_ros.mapping.grid_file import PGM, YAML, write_grid
from flashvggt_ros.mapping.jpeg_size import jpeg_size
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_io import write_ply, write_tum
from flashvggt_ros.mapping.map_manifest import (
    FileEntry,
    MapCounts,
    MapManifest,
    MapModel,
    read_manifest,
)
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.new_folder import new_folder
from flashvggt_ros.mapping.pose_graph_file import write_pose_graph
from flashvggt_ros.mapping.snapshot_arrays import (
    CLOUDS,
    KEYFRAMES,
    SUBMAPS,
    SnapshotArrays,
    from_arrays,
    to_arrays,
)
from flashvggt_ros.mapping.trails import paths

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SUBMAP_FILE, KEYFRAME_FILE, CLOUD_FILE = "submaps.npz", "keyframes.npz", "clouds.npz"
ARRAY_FILES = {SUBMAP_FILE: SUBMAPS, KEYFRAME_FILE: KEYFRAMES, CLOUD_FILE: CLOUDS}
PICTURE_FOLDER = "keyframes"
FOR_OTHERS = ("pose_graph.g2o", "trajectory.tum", "map.ply")
REQUIRED = (*FOR_OTHERS, *ARRAY_FILES)
GRID_FILES = (YAML, PGM)
LARGEST_FILE = 2**34  # [bytes]
PLAIN_MANIFEST, MANIFEST_ENTRY = 2**20, 300  # most of it, and of what it says of a picture [bytes]
MOST_KEYFRAMES = 1_000_000


def save_map(
    folder: Path, current: Map, config: Config, model: MapModel, *, overwrite: bool = False
) -> MapManifest:
    """Write a map as a folder, which appears complete or not at all; see new_folder.

    All is drawn anew from what is saved, so that a loaded map gives the very same files. Raises
    ValueError where there is no map yet, FileExistsError, also for anything but a map that would be
    overwritten, and OSError when it cannot be written.
    """
    snapshot = current.snapshot()
    if not snapshot.submaps:
        raise ValueError("there is no map yet: no image has been placed")
    if overwrite and os.path.lexists(folder) and not (folder / MANIFEST).is_file():
        raise FileExistsError(
            f"{folder} is no saved map and is not overwritten: choose another name, or move it away"
        )
    with new_folder(folder, overwrite=overwrite) as partial:
        manifest = _write(partial, snapshot, config, model)
    logger.info(
        "%s: %d keyframes of %d submaps, %d points", folder, manifest.counts.keyframes,
        manifest.counts.submaps, manifest.counts.points,
    )
    return manifest


def load_map(folder: Path, model: MapModel) -> MapSnapshot:
    """Read a map that ``save_map`` wrote, if ``model`` is the one that it was made with.

    Everything is checked before it is used: the names, sizes and hashes of the files, the shapes
    of arrays, and that numbers are finite and make a geometry. Nothing that a file holds is
    executed, and no more memory is taken than the files are large. Raises ValueError naming the
    file and, of another model, both and the remedy; OSError for files that cannot be read.
    """
    manifest = _manifest(folder)
    if manifest.model.sha256 != model.sha256:
        raise ValueError(
            f"{folder} was saved with the model {_named(manifest.model)}, but {_named(model)} "
            f"runs: load the checkpoint {manifest.model.name} again, or map anew"
        )
    _check_names(folder, manifest)
    for name in sorted(set(manifest.files) & {*FOR_OTHERS, *GRID_FILES}):
        _checked(folder, name, manifest)
    pictures = [
        _checked(folder, name, manifest) for name in _picture_names(manifest.counts.keyframes)
    ]
    placed, seen, shown = (
        read_arrays(_checked(folder, name, manifest), specs, str(folder / name))
        for name, specs in ARRAY_FILES.items()
    )
    arrays = SnapshotArrays(placed, seen, shown, manifest.cameras)
    try:
        snapshot = MapSnapshot(
            *from_arrays(arrays, pictures), manifest.scale, manifest.up, manifest.counts.loops
        )
        _check_counts(snapshot, manifest.counts)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise ValueError(f"{folder} contradicts itself: {error}") from None
    _check_pictures(folder, snapshot)
    return snapshot


def _picture_names(count: int) -> list[str]:
    return [f"{PICTURE_FOLDER}/{number:06d}.jpg" for number in range(count)]


def _named(model: MapModel) -> str:
    return f"{model.name} (SHA-256 {model.sha256[:12]})"


def _write(
    folder: Path, snapshot: MapSnapshot, config: Config, model: MapModel
) -> MapManifest:
    """Write everything into an empty folder, the manifest last."""
    drawn = Map(config, snapshot)
    own = [*paths(snapshot.submaps, snapshot.trails)]
    stamps_ns = [stamp.stamp_ns for path in own for stamp in path.frames]
    poses = np.concatenate([path.T_map_camera for path in own])
    points, colors = drawn.cloud()
    write_pose_graph(snapshot.graph, folder / "pose_graph.g2o")
    write_tum(folder / "trajectory.tum", stamps_ns, poses)
    write_ply(folder / "map.ply", points, colors)
    grid = drawn.grid()
    if grid is not None and grid.cells.size:
        write_grid(folder, grid)
    arrays = to_arrays(snapshot)
    write_arrays(folder / SUBMAP_FILE, arrays.submaps)
    write_arrays(folder / KEYFRAME_FILE, arrays.keyframes)
    write_arrays(folder / CLOUD_FILE, arrays.clouds)
    keyframes = [keyframe for submap in snapshot.submaps for keyframe in submap.keyframes]
    (folder / PICTURE_FOLDER).mkdir()
    for name, keyframe in zip(_picture_names(len(keyframes)), keyframes, strict=True):
        (folder / name).write_bytes(keyframe.picture)
    manifest = MapManifest(
        package_version=__version__,
        model=model,
        map_frame=config.tf.map_frame,
        cameras=arrays.cameras,
        scale=snapshot.scale,
        up=snapshot.up,
        counts=_counts(snapshot, len(points)),
        files=_entries(folder, (path for path in folder.rglob("*") if path.is_file())),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def _counts(snapshot: MapSnapshot, points: int) -> MapCounts:
    submaps = snapshot.submaps
    return MapCounts(
        submaps=len(submaps),
        poses=sum(submap.frames - submap.shared for submap in submaps)
        + sum(len(trail.stamps) for trail in snapshot.trails),
        keyframes=sum(len(submap.keyframes) for submap in submaps),
        points=points,
        loops=snapshot.loops,
    )


def _entries(folder: Path, paths: Iterable[Path]) -> dict[str, FileEntry]:
    entries = {}
    for path in paths:
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        entries[name] = FileEntry(len(content), hashlib.sha256(content).hexdigest())
    return entries


def _manifest(folder: Path) -> MapManifest:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: there is no such map")
    try:
        return read_manifest(_content(path, _largest_manifest(folder)))
    except FileNotFoundError:
        maps = sorted(folder.glob(f"*/{MANIFEST}"))  # as a run has one
        inside = f"; name {maps[0].parent}" if maps else ""
        raise FileNotFoundError(f"{folder} has no {MANIFEST}: it is no saved map{inside}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _largest_manifest(folder: Path) -> int:
    """Bytes that it may have: JSON takes many times the memory, so that it is not read unseen."""
    pictures = folder / PICTURE_FOLDER
    count = sum(1 for _ in os.scandir(pictures)) if pictures.is_dir() else 0
    return PLAIN_MANIFEST + MANIFEST_ENTRY * min(count, MOST_KEYFRAMES)


def _check_names(folder: Path, manifest: MapManifest) -> None:
    """Check that the manifest names the files of a map, all of them and no others."""
    names, count = set(manifest.files), manifest.counts.keyframes
    if count > min(MOST_KEYFRAMES, len(names)):
        raise ValueError(f"{folder / MANIFEST}: {count} keyframes, but {len(names)} files")
    wanted = {*REQUIRED, *_picture_names(count)}
    if names & {*GRID_FILES}:
        wanted |= {*GRID_FILES}
    for name in sorted(names ^ wanted)[:1]:
        problem = "must name" if name in wanted else "must not name"
        raise ValueError(f"{folder / MANIFEST} {problem} the file {name!r}")


def _checked(folder: Path, name: str, manifest: MapManifest) -> bytes:
    """Return a file's bytes if they are those that the manifest promises."""
    entry, path = manifest.files[name], folder / name
    if entry.size > LARGEST_FILE:
        raise ValueError(f"{path} would have {entry.size} bytes, more than {LARGEST_FILE}")
    try:
        content = _content(path, entry.size)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the map is not whole") from None
    if len(content) != entry.size:
        raise ValueError(f"{path} has {len(content)} bytes, not {entry.size}: it is damaged")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ValueError(f"{path} has another SHA-256 than {MANIFEST} says: it is damaged")
    return content


def _content(path: Path, most: int) -> bytes:
    """Return what a regular file holds; ValueError where that is more than ``most`` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        size = status.st_size
        if size > most:
            raise ValueError(f"{path} has {size} bytes, more than {most}")
        return file.read(size)


def _check_counts(snapshot: MapSnapshot, counts: MapCounts) -> None:
    """Check that the arrays have as much as the manifest says."""
    found = _counts(snapshot, counts.points)
    if found != counts:
        raise ValueError(f"{MANIFEST} counts {counts}, the arrays have {found}")


def _check_pictures(folder: Path, snapshot: MapSnapshot) -> None:
    """Check that no picture is larger, once decoded, than its camera says."""
    keyframes = [keyframe for submap in snapshot.submaps for keyframe in submap.keyframes]
    for name, keyframe in zip(_picture_names(len(keyframes)), keyframes, strict=True):
        camera = keyframe.camera
        try:
            size = jpeg_size(keyframe.picture)
        except ValueError as error:
            raise ValueError(f"{folder / name}: {error}") from None
        if size != (camera.width, camera.height):
            raise ValueError(
                f"{folder / name} is {size[0]}x{size[1]}, its camera {camera.width}x{camera.height}"
            )
