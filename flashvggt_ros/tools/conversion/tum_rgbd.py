"""TUM RGB-D (Sturm et al., IROS 2012): rgb.txt, groundtruth.txt, depth.txt where it is there."""

from __future__ import annotations

import re
from pathlib import Path

from flashvggt_ros.mapping.map_io import read_tracked_tum
from flashvggt_ros.tools.conversion.recording import (
    NO_TRUTH,
    CameraModel,
    Recording,
    TimedFile,
    Truth,
    nanoseconds_of,
    require,
    say_lost,
    text_of,
)

SOURCE = ("name the folder of a sequence as it is unpacked; they and their license are at "
          "https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download")
# Of the color cameras: fx fy cx cy, k1 k2 p1 p2 k3; images of freiburg3 are undistorted.
CAMERAS = {
    "1": CameraModel((517.3, 516.5, 318.6, 255.3), "plumb_bob",
                     (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": CameraModel((520.9, 521.0, 325.1, 249.7), "plumb_bob",
                     (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": CameraModel((535.4, 539.2, 320.1, 247.6)),
}
CAMERA_IN_NAME = re.compile(r"(?:freiburg|fr)([123])(?!\d)")
DEPTH_UNIT = 0.2  # [mm]: 5000 stand for a meter


def read_tum_rgbd(folder: Path) -> Recording:
    """Read a sequence; its folder's name says which camera it is of.

    True poses that are not finite are left out, and said. Raises ValueError that names what is
    missing.
    """
    camera = CAMERA_IN_NAME.search(folder.resolve().name.lower())
    if camera is None:
        raise ValueError(
            f"{folder.resolve().name} does not say which camera it is of: let the folder's name "
            "contain freiburg1, freiburg2 or freiburg3, as it is published"
        )
    images = _files(folder, require(folder, "rgb.txt", SOURCE))
    depth, truth = folder / "depth.txt", folder / "groundtruth.txt"
    return Recording(
        camera=CAMERAS[camera[1]],
        images=images,
        truth=_read_truth(truth) if truth.is_file() else NO_TRUTH,
        depth=_files(folder, depth) if depth.is_file() else (),
        depth_unit=DEPTH_UNIT,
    )


def _read_truth(path: Path) -> Truth:
    stamps_ns, poses, lost = read_tracked_tum(path)
    say_lost(path, lost)
    return Truth(stamps_ns, poses)


def _files(folder: Path, index: Path) -> tuple[TimedFile, ...]:
    """The files of an index: lines of a stamp [s] and a name, and comments."""
    files = []
    for number, line in enumerate(text_of(index).splitlines(), start=1):
        entries = line.split("#")[0].split(maxsplit=1)  # the name may have blanks
        if not entries:
            continue
        place = f"{index}, line {number}"
        if len(entries) != 2:
            raise ValueError(f"{place}: no stamp and file: {line[:80]}")
        stamp, name = entries
        files.append(TimedFile(nanoseconds_of(stamp, place), folder / name.strip()))
    return tuple(files)
