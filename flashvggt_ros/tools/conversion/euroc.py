"""EuRoC MAV (Burri et al., IJRR 2016), and others in the ASL form: mav0/cam0/data.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from flashvggt_ros.geometry.se3 import matrix_from_quaternion, pose
from flashvggt_ros.tools.conversion.recording import (
    NO_TRUTH,
    CameraModel,
    Recording,
    TimedFile,
    Truth,
    check_poses,
    require,
    say_lost,
    text_of,
)

SOURCE = ("name the folder of a sequence, its ASL archive unpacked; they and their license are at "
          "https://doi.org/10.3929/ethz-b-000690084")
TRUTH = "state_groundtruth_estimate0"
LONGEST_STAMP = 40  # [characters]
DISTORTIONS = {"radial-tangential": "plumb_bob", "radtan": "plumb_bob",
               "equidistant": "equidistant"}


def read_euroc(folder: Path) -> Recording:
    """Read the left camera (cam0) of a sequence, and its true poses.

    The ground truth is of the body, and is moved to the camera by its T_BS. Raises ValueError
    that names what is missing.
    """
    root = folder / "mav0" if (folder / "mav0").is_dir() else folder
    camera = root / "cam0"
    index = require(root, "cam0/data.csv", SOURCE)
    model, T_body_camera = _read_sensor(require(root, "cam0/sensor.yaml", SOURCE))
    images = []
    for row in _rows(index, 2):
        images.append(TimedFile(_integer(row[0], index), camera / "data" / row[1].strip()))
    truth = root / TRUTH / "data.csv"
    return Recording(
        model, tuple(images), _read_truth(truth, T_body_camera) if truth.is_file() else NO_TRUTH
    )


def _read_sensor(path: Path) -> tuple[CameraModel, NDArray[np.float64]]:
    """Return the camera and T_body_camera (4, 4)."""
    try:
        document: Any = yaml.safe_load(text_of(path).replace("%YAML:1.0", ""))
        distortion = DISTORTIONS[document["distortion_model"]]
        given = [float(value) for value in document["distortion_coefficients"]]
        fx, fy, cx, cy = (float(value) for value in document["intrinsics"])
        T_body_camera = np.array(document["T_BS"]["data"], np.float64).reshape(4, 4)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no description of a pinhole camera: {error!r}") from None
    check_poses(T_body_camera[None], f"T_BS of {path}")
    coefficients = (*given, 0.0) if distortion == "plumb_bob" and len(given) == 4 else (*given,)
    return CameraModel((fx, fy, cx, cy), distortion, coefficients), T_body_camera


def _read_truth(path: Path, T_body_camera: NDArray[np.float64]) -> Truth:
    """Rows are stamp [ns], position [m], quaternion w x y z of the body, and more.

    Those that are not finite are left out, and said.
    """
    stamps_ns, rows, lost = [], [], 0
    for row in _rows(path, 8):
        stamp_ns = _integer(row[0], path)
        try:
            values = [float(entry) for entry in row[1:8]]
        except ValueError:
            values = []
        if not any(values[3:]):
            raise ValueError(f"{path} has a row that is no pose: {row[:8]}")
        if np.isfinite(values).all():
            stamps_ns.append(stamp_ns)
            rows.append(values)
        else:
            lost += 1
    say_lost(path, lost)
    numbers = np.array(rows, np.float64).reshape(-1, 7)
    R_world_body = matrix_from_quaternion(numbers[:, [4, 5, 6, 3]])
    T_world_camera = pose(R_world_body, numbers[:, :3]) @ T_body_camera
    check_poses(T_world_camera, str(path))
    return Truth(stamps_ns, T_world_camera)


def _rows(path: Path, least: int) -> Iterator[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text_of(path), newline="")))
    except csv.Error as error:
        raise ValueError(f"{path} is no table: {error}") from None
    for row in rows:
        if not row or row[0].lstrip().startswith("#"):
            continue
        if len(row) < least:
            raise ValueError(f"{path} has a row of {len(row)} columns, not {least}: {row}")
        yield row


def _integer(text: str, path: Path) -> int:
    if not text.strip().isdecimal() or len(text) > LONGEST_STAMP:
        raise ValueError(f"{path} has a stamp that is no number of nanoseconds: {text[:40]}")
    return int(text)
