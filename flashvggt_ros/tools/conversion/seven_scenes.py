"""7-Scenes (Shotton et al., CVPR 2013): frame-000000.color.png, .depth.png and .pose.txt."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.tools.conversion.recording import (
    START_NS,
    CameraModel,
    Recording,
    TimedFile,
    Truth,
    check_poses,
    numbers_of,
    require,
    text_of,
)

SOURCE = ("name a folder like chess/seq-01, its archive unpacked; they and their license are at "
          "https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes")
CAMERA = CameraModel((525.0, 525.0, 320.0, 240.0))  # nominal: the color camera is not calibrated
RATE_HZ = 30  # assumed: the frames have no stamps
SUFFIX = ".color.png"
NOT_FINITE = re.compile(r"-?1\.#\w+([+-]\d+)?")  # as Windows writes NaN and Inf
logger = logging.getLogger(__name__)


def read_seven_scenes(folder: Path) -> Recording:
    """Read a sequence; poses that are not finite (tracking lost) are left out, and said.

    Its depth images are not registered to the color images, and are not used. Raises ValueError
    that names what is missing.
    """
    images, stamps_ns, poses, lost = [], [], [], 0
    for path in sorted(folder.glob(f"frame-*{SUFFIX}")):
        frame = path.name.removesuffix(SUFFIX)
        number = frame.removeprefix("frame-")
        if not number.isdecimal():
            raise ValueError(f"{path} has no number: {SOURCE}")
        stamp_ns = START_NS + round(int(number) * 10**9 / RATE_HZ)
        images.append(TimedFile(stamp_ns, path))
        T = _read_pose(require(folder, f"{frame}.pose.txt", SOURCE))
        if np.isfinite(T).all():
            stamps_ns.append(stamp_ns)
            poses.append(T)
        else:
            lost += 1
    if not images:
        raise ValueError(f"{folder} has no frame-000000{SUFFIX}: {SOURCE}")
    if lost:
        logger.warning("%s: %d images have no true pose", folder, lost)
    truth = Truth(stamps_ns, np.array(poses, np.float64).reshape(-1, 4, 4))
    return Recording(CAMERA, tuple(images), truth)


def _read_pose(path: Path) -> NDArray[np.float64]:
    """T_world_camera (4, 4)."""
    text = NOT_FINITE.sub("nan", text_of(path))
    numbers = numbers_of(text, str(path))
    if len(numbers) != 16:
        raise ValueError(f"{path} has {len(numbers)} numbers instead of 16")
    T = np.array(numbers).reshape(4, 4)
    if np.isfinite(T).all():
        check_poses(T[None], str(path))
    return T
