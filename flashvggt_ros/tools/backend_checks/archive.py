"""Whether a map survives being saved, and its saving being killed."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map, save_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, run_slam, settings
from flashvggt_ros.worlds import TruthPredictor, furnished_room, mount, photograph, roaming

KILLS = 100
MODEL = MapModel("truth", "0" * 64, "")
LATEST = 1.5  # when the last process is killed, in durations of a save


def check_archive(is_quick: bool) -> Iterator[Finding]:
    """Save a map of a room, load it, save it again; kill processes that save it."""
    config = settings({"map.voxel_size": 0.1, "publish_unscaled": True})
    world = photograph(furnished_room(), roaming(52), {"camera": mount()}, pinhole=SMALL)
    current = run_slam(config, TruthPredictor(world, depth_noise=0.01), world.frames).map
    with tempfile.TemporaryDirectory() as name:
        maps = Path(name)
        save_map(maps / "first", current, config, MODEL)
        save_map(maps / "second", Map(config, load_map(maps / "first", MODEL)), config, MODEL)
        differing = differing_files(maps / "first", maps / "second")
        yield Finding("files that loading and saving changes", differing, 0, "")
        try:
            load_map(maps / "first", MapModel("other", "1" * 64, ""))
            accepted = 1
        except ValueError:
            accepted = 0
        yield Finding("maps of other models accepted", accepted, 0, "")
        kills = 6 if is_quick else KILLS
        broken = killed_saves(maps / "first", maps / "killed" / "room", config, kills)
        yield Finding(f"maps not whole after {kills} kills", broken, 0, "")


def differing_files(first: Path, second: Path) -> int:
    """Return how many files of two folders are not the same, byte by byte."""
    ours, theirs = _contents(first), _contents(second)
    return sum(ours.get(name) != theirs.get(name) for name in ours.keys() | theirs.keys())


def killed_saves(source: Path, target: Path, config: Config, kills: int) -> int:
    """Kill processes that save one map over and over; return how often ``target`` was not whole.

    Whole is what loads and has the same bytes as ``source``.
    """
    begun = time.perf_counter()
    save_map(target, Map(config, load_map(source, MODEL)), config, MODEL)
    duration = time.perf_counter() - begun
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    broken = 0
    for delay in np.linspace(0, LATEST * duration, kills):
        is_ready = context.Event()
        process = context.Process(target=_save_forever, args=(source, target, config, is_ready))
        process.start()
        if not is_ready.wait(60):
            raise RuntimeError("a process that was to save a map did not begin")
        time.sleep(delay)
        process.kill()
        process.join()
        broken += not _is_whole(source, target)
    return broken


def _save_forever(source: Path, target: Path, config: Config, is_ready: Event) -> None:
    current = Map(config, load_map(source, MODEL))
    is_ready.set()
    while True:
        save_map(target, current, config, MODEL, overwrite=True)


def _is_whole(source: Path, target: Path) -> bool:
    try:
        load_map(target, MODEL)
    except (ValueError, OSError):
        return False
    return differing_files(source, target) == 0


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
