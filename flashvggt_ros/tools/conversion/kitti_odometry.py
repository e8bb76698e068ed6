"""KITTI odometry (Geiger et al., CVPR 2012): sequences/00 with image_2, poses/00.txt beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.se3 import inverse
from flashvggt_ros.tools.conversion.recording import (
    NO_TRUTH,
    START_NS,
    CameraModel,
    Recording,
    TimedFile,
    Truth,
    check_poses,
    nanoseconds_of,
    numbers_of,
    require,
    text_of,
)

SOURCE = ("name a folder like dataset/sequences/00, with the color images, calib.txt and times.txt "
          "of the odometry benchmark; they and their license are at "
          "https://www.cvlibs.net/datasets/kitti/eval_odometry.php")
IMAGES, PROJECTION = "image_2", "P2"  # the left color camera


def read_kitti_odometry(folder: Path) -> Recording:
    """Read the left color camera of a sequence; 00 to 10 have true poses, in ../../poses.

    The poses are of the left gray camera, and are moved to the color camera by P2. Raises
    ValueError that names what is missing.
    """
    K, T_color_gray = _read_calibration(require(folder, "calib.txt", SOURCE))
    times = require(folder, "times.txt", SOURCE)
    require(folder, IMAGES, SOURCE)
    stamps_ns = [START_NS + nanoseconds_of(line, str(times)) for line in text_of(times).split()]
    images = tuple(TimedFile(stamp_ns, folder / IMAGES / f"{number:06d}.png")
                   for number, stamp_ns in enumerate(stamps_ns))
    poses = folder.resolve().parent.parent / "poses" / f"{folder.resolve().name}.txt"
    truth = _read_poses(poses, stamps_ns, T_color_gray) if poses.is_file() else NO_TRUTH
    model = CameraModel((K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    return Recording(model, images, truth)


def _read_calibration(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return K (3, 3) of the color camera, and T_color_gray (4, 4): P2 = K [I | t]."""
    for line in text_of(path).splitlines():
        name, _, text = line.partition(":")
        if name.strip() == PROJECTION:
            numbers = numbers_of(text, str(path))
            if len(numbers) != 12:
                break
            P = np.array(numbers).reshape(3, 4)
            if not np.linalg.det(P[:, :3]):
                raise ValueError(f"{path}: {PROJECTION} is no projection of a camera: {text}")
            T_color_gray = np.eye(4)
            T_color_gray[:3, 3] = np.linalg.solve(P[:, :3], P[:, 3])
            return P[:, :3], T_color_gray
    raise ValueError(f"{path} has no {PROJECTION} of 12 numbers: {SOURCE}")


def _read_poses(path: Path, stamps_ns: list[int], T_color_gray: NDArray[np.float64]) -> Truth:
    rows = [numbers_of(line, str(path)) for line in text_of(path).splitlines() if line.strip()]
    if len(rows) != len(stamps_ns) or any(len(row) != 12 for row in rows):
        raise ValueError(f"{path} has {len(rows)} poses for {len(stamps_ns)} images, or others "
                         "than of 12 numbers")
    T_world_gray = np.tile(np.eye(4), (len(rows), 1, 1))
    T_world_gray[:, :3] = np.array(rows).reshape(-1, 3, 4)
    check_poses(T_world_gray, str(path))
    return Truth(stamps_ns, T_world_gray @ inverse(T_color_gray))
