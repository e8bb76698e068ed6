"""A finished run, or a saved map, in the live view."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from flashvggt_ros.config import Config
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import MANIFEST, load_map
from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.mapping.map_manifest import read_manifest
from flashvggt_ros.mapping.trails import Trajectory, paths
from flashvggt_ros.tools.map_layers import KeyframePictures, camera_path
from flashvggt_ros.tools.replay_view import hold
from flashvggt_ros.tools.run_folder import MAP_FOLDER
from flashvggt_ros.viewer.camera_path import CameraPath
from flashvggt_ros.viewer.options import PROGRAM, add_page_options, open_page
from flashvggt_ros.viewer.page import Page

CLOUD, TRAJECTORY = "map.ply", "trajectory.tum"


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a run, or a saved map."""
    return (folder / CLOUD).is_file()


def main(argv: Sequence[str]) -> int:
    """Show the folder among ``argv`` until it gets a signal; return 0, or 2 (misuse)."""
    parser = argparse.ArgumentParser(prog=PROGRAM)
    parser.add_argument("folder", type=Path, help="a run, or a saved map")
    add_page_options(parser)
    arguments = parser.parse_args(argv)
    folder = expanded(arguments.folder)
    try:
        with open_page(arguments) as page:
            show_folder(folder, page)
            print(f"{PROGRAM}: {folder}, until Ctrl-C", flush=True)
            hold()
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def show_folder(folder: Path, page: Page) -> None:
    """Show a run or a saved map; ValueError and OSError for files that are damaged."""
    page.show_cloud(*read_ply(folder / CLOUD))
    for archive in (folder, folder / MAP_FOLDER):
        if (archive / MANIFEST).is_file():
            _show_map(archive, page)
            return
    stamps_ns, T_map_camera = read_tum(folder / TRAJECTORY)
    frames = tuple(FrameStamp(stamp, "") for stamp in stamps_ns)
    none = np.zeros((0, 2), np.int64)
    page.show_path(
        CameraPath(frames, T_map_camera, np.full(len(frames), -1), none), lambda _: None
    )
    report = folder / "report.json"
    known = json.loads(report.read_text("utf-8")) if report.is_file() else {}
    names = ("frames_used", "submaps", "loops", "frames_per_second")
    page.show_status({
        "state": "finished", **{name.replace("_", " "): str(known[name]) for name in names
                                if name in known},
    })


def _show_map(folder: Path, page: Page) -> None:
    """Show what a saved map has besides its cloud."""
    manifest = read_manifest((folder / MANIFEST).read_bytes())
    snapshot = load_map(folder, manifest.model)
    own = [*paths(snapshot.submaps, snapshot.trails)]
    frames = tuple(frame for path in own for frame in path.frames)
    trajectory = Trajectory(frames, np.concatenate([path.T_map_camera for path in own]))
    path = camera_path(trajectory, snapshot.submaps, snapshot.graph)
    page.show_path(path, KeyframePictures(snapshot.submaps))
    grid = Map(Config(), snapshot).grid()
    if grid is not None:
        page.show_grid(grid)
    scale = manifest.scale
    page.show_status({
        "state": "saved map",
        **{name: f"{count:,}" for name, count in asdict(manifest.counts).items()},
        "scale": f"{scale.meters_per_unit:.4g} ({scale.source})" if scale else "not metric",
        "made with": manifest.model.name,
    })
