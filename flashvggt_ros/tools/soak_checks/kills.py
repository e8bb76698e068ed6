"""The node, killed again and again while it maps and saves: the map on the disk stays whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from flashvggt_ros.mapping.map_archive import MANIFEST, load_map
from flashvggt_ros.mapping.map_manifest import read_manifest
from flashvggt_ros.tools.backend_checks.archive import killed_saves
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.child_process import Child
from flashvggt_ros.tools.soak_checks.live_node import (
    Load,
    own_environment,
    sample_images,
    start_feed,
    start_node,
    start_probe,
    wait,
)
from flashvggt_ros.tools.soak_checks.map_trials import CONFIG, save_sound_map

KILLS = 100
LATEST_S = 2.0  # from a save to the kill; another save begins at once
MAP = "room"
SMALL = {"chunk.size": "4", "image.queue_size": "4", "predictor.width": "112"}  # saves come often
OF_ROS = ("fastdds", "lttng")  # in the names of what ROS itself has in shared memory
LEFT_BY_ROS = 8  # files of each process: those of killed ones stay, and others use them again
SHARED_MEMORY = Path("/dev/shm")


@dataclass(slots=True)
class Damage:
    """Maps that could not be loaded, and most entries that were beside one after a kill."""

    broken: int = 0
    litter: int = 0
    left: list[str] = field(default_factory=list)


def check_kills(part: float) -> Iterator[Finding]:
    """Kill the node at random moments; the last saved map always loads, and nothing is left."""
    kills = max(1, round(part * KILLS))
    before = _shared()
    with tempfile.TemporaryDirectory(prefix="soak_kills_") as name:
        sound, target = Path(name, "sound"), Path(name, "killed", "room")
        save_sound_map(sound)
        broken = killed_saves(sound, target, CONFIG, 3 * kills)
        yield Finding(f"maps not whole after {3 * kills} kills of a save", broken, 0, "")
        yield Finding("most unfinished saves beside it", len(_beside(target.parent, "room")), 1, "")
        damage = _kill(kills, Path(name))
    new = _shared() - before
    of_ros = sum(any(part in name for part in OF_ROS) for name in new)
    yield Finding(f"maps not whole after {kills} kills of the node", damage.broken, 0, "")
    yield Finding("most unfinished saves beside a map after a kill", damage.litter, 1, "")
    yield Finding("unfinished saves after one more save", len(damage.left), 0, "")
    yield Finding("files of our own left in shared memory", len(new) - of_ros, 0, "")
    yield Finding("files of ROS left there, of each process", of_ros / (kills + 3), LEFT_BY_ROS, "")


def _kill(kills: int, folder: Path) -> Damage:
    bag, maps, env = sample_images(folder), folder / "maps", own_environment()
    load, damage = Load(float("inf"), rate=10.0), Damage()
    parameters = {"map_directory": str(maps), **SMALL}
    with ExitStack() as stack:
        others = (
            stack.enter_context(start_feed(bag, load, env, folder)),
            stack.enter_context(
                start_probe(["--json", str(folder / "probe.json"), "--save", MAP], env, folder)
            ),
        )
        for number in range(kills):
            node = start_node(load.topics, parameters, env, folder)
            try:
                _wait_for_save(folder / "probe.log", (node, *others))
                time.sleep(Random(number).uniform(0, LATEST_S))
            finally:
                node.kill()
            damage.broken += not _is_whole(maps / MAP)
            damage.litter = max(damage.litter, len(_beside(maps, MAP)))
        with start_node(load.topics, parameters, env, folder) as last:
            _wait_for_save(folder / "probe.log", (last, *others))
            _wait_for_save(folder / "probe.log", (last, *others))
        damage.left = _beside(maps, MAP)
    return damage


def _wait_for_save(log: Path, children: tuple[Child, ...]) -> None:
    before = _saves(log)
    wait(lambda: _saves(log) > before, children)


def _saves(log: Path) -> int:
    return log.read_bytes().count(b"saved ") - log.read_bytes().count(b"not saved")


def _is_whole(folder: Path) -> bool:
    try:
        load_map(folder, read_manifest((folder / MANIFEST).read_bytes()).model)
    except (ValueError, OSError):
        return False
    return True


def _beside(maps: Path, name: str) -> list[str]:
    return [path.name for path in maps.iterdir() if path.name != name]


def _shared() -> set[str]:
    return {path.name for path in SHARED_MEMORY.iterdir()}
