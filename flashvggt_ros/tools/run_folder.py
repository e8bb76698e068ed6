"""The folder that a run leaves behind: trajectory, map, pictures, report."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import MANIFEST, save_map
from flashvggt_ros.mapping.map_io import write_ply, write_tum
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.tools.plots import ARBITRARY, METERS, draw_map, draw_trajectory

REPORT = "report.json"
COUNTS = ("frames_read", "frames_placed", "frames_interpolated")  # in the report
MAP_FOLDER = "map"
LOCK_TIMEOUT_S = 10.0  # for a run whose caller was killed to write what it has
POLL_S = 0.1
OWN_FILES = re.compile(
    r"trajectory(_\w+)?\.(tum|png)|(odometry|keyframes)\.tum|map\.ply"
    r"|(map_top|scene|evaluation)\.png|status\.jsonl|report\.(md|html)|\w+\.log"
    r"|(report|metrics|errors|finished|record)\.json|\.\w+\.jsonl?\.partial"
)


class RunFolder:
    """A folder for results. Raises ValueError when it holds files that no run of ours wrote."""

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--output {self.path} is a file: name a folder")
        foreign = [
            entry.name
            for entry in sorted(self.path.glob("*"))
            if not (_is_map(entry) if entry.is_dir() else OWN_FILES.fullmatch(entry.name))
        ]
        if foreign:
            raise ValueError(
                f"--output {self.path} holds other files ({', '.join(foreign[:3])}): "
                "name a new folder, or one that an earlier run wrote"
            )

    def create(self) -> None:
        """Make the folder, keep it to this run, and remove the results of an earlier one.

        Raises ValueError where another run writes its results there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._keep()
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _keep(self) -> None:
        """Lock the folder for as long as this object lives; some network file systems cannot."""
        lock = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, lock)
        end = time.monotonic() + LOCK_TIMEOUT_S
        while not _locks(lock):
            if time.monotonic() > end:
                raise ValueError(f"--output {self.path} is in use: another run writes there")
            time.sleep(POLL_S)

    def write_trajectory(self, trajectory: Trajectory, keyframes: Trajectory) -> dict[str, str]:
        """Write trajectory.tum, all frames by stamp; return each camera's file.

        With several cameras each has a file of its own beside it. keyframes.tum has the frames
        that the model saw, those of all cameras.
        """
        cameras = sorted({frame.camera for frame in trajectory.frames})
        self._write_tum("keyframes.tum", keyframes, cameras)
        self._write_tum("trajectory.tum", trajectory, cameras)
        if len(cameras) <= 1:
            return dict.fromkeys(cameras, "trajectory.tum")
        files: dict[str, str] = {}
        for index, camera in enumerate(cameras):
            slug = re.sub(r"\W+", "_", camera).strip("_") or "camera"
            name = f"trajectory_{slug}.tum"
            if name in files.values():
                name = f"trajectory_{slug}_{index}.tum"
            self._write_tum(name, trajectory, [camera])
            files[camera] = name
        return files

    def write_map(self, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
        """Write map.ply: ``points`` (M, 3) [m] and ``colors`` (M, 3) RGB."""
        write_ply(self.path / "map.ply", points, colors)

    def save_map(self, current: Map, config: Config, model: MapModel) -> None:
        """Write the map as a folder that a later run, or the node, may load."""
        save_map(self.path / MAP_FOLDER, current, config, model)

    def draw(
        self,
        trajectory: Trajectory,
        points: NDArray[np.float32],
        colors: NDArray[np.uint8],
        title: str,
        *,
        is_metric: bool,
    ) -> None:
        """Write trajectory.png and map_top.png; their axes are in meters only if that is known."""
        unit = METERS if is_metric else ARBITRARY
        order = _by_stamp(trajectory)
        stamps = np.array([frame.stamp_ns for frame in trajectory.frames], np.int64)[order]
        positions = trajectory.T_map_camera[order, :3, 3]
        draw_trajectory(self.path / "trajectory.png", stamps, positions, unit, title)
        draw_map(self.path / "map_top.png", points, colors, positions, unit, title)

    def write_report(self, report: dict[str, Any]) -> None:
        """Write report.json."""
        text = json.dumps(report, indent=2, allow_nan=False)
        (self.path / REPORT).write_text(text + "\n", encoding="utf-8")

    def _write_tum(self, name: str, trajectory: Trajectory, cameras: list[str]) -> None:
        rows = [row for row in _by_stamp(trajectory) if trajectory.frames[row].camera in cameras]
        stamps = [trajectory.frames[row].stamp_ns for row in rows]
        write_tum(self.path / name, stamps, trajectory.T_map_camera[rows])


def _locks(folder: int) -> bool:
    """Lock an open folder, or find that it cannot be locked at all; False: another has it."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def read_run(run_folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the report (empty where there is none) and the first camera's trajectory.

    Raises ValueError where they are missing or damaged.
    """
    if not run_folder.is_dir():
        raise ValueError(f"there is no run folder {run_folder}")
    report_file = run_folder / REPORT
    try:
        report = json.loads(report_file.read_text(encoding="utf-8")) if report_file.exists() else {}
    except ValueError as error:
        raise ValueError(f"{report_file} is damaged: {error}; replay the bag again") from None
    if not _is_report(report):
        raise ValueError(f"{report_file} is no report of a run; replay the bag again")
    files = list(report.get("trajectories", {}).values()) or ["trajectory.tum"]
    trajectory = run_folder / files[0]
    if not trajectory.is_file():
        raise ValueError(f"{run_folder} has no {files[0]}: it is not the folder of a run, "
                         "and it holds no bag (metadata.yaml, .mcap or .db3) either")
    return report, trajectory


def _is_report(content: Any) -> bool:
    """Whether a JSON document has the form of a report, as far as it is read."""
    return isinstance(content, dict) and all(
        isinstance(content.get(name, {}), dict) for name in ("trajectories", "checkpoint")
    ) and all(isinstance(content.get(name, 0), int | float) for name in COUNTS)


def _is_map(folder: Path) -> bool:
    """Whether a folder is the map of an earlier run, or is empty."""
    return folder.name == MAP_FOLDER and not folder.is_symlink() and (
        (folder / MANIFEST).is_file() or not any(folder.iterdir())
    )


def _by_stamp(trajectory: Trajectory) -> NDArray[np.intp]:
    """Rows of a trajectory in order of their stamps."""
    stamps = np.array([frame.stamp_ns for frame in trajectory.frames], np.int64)
    return np.argsort(stamps, kind="stable")
