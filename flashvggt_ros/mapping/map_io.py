"""Trajectories and clouds as files, and where a map may be written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
LATEST_S = 2**33  # of a stamp: its nanoseconds fit into 64 bits [s]
FARTHEST_M = 1e9  # of a pose that is read: its powers stay finite [m]
PLY_VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])
PLY_PROPERTIES = (
    *(f"property float {axis}" for axis in "xyz"),
    *(f"property uchar {color}" for color in ("red", "green", "blue")),
)


def write_ply(path: Path, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
    """Write points (M, 3) and RGB colors (M, 3) as a binary little-endian PLY point cloud."""
    vertices = np.empty(len(points), PLY_VERTEX)
    vertices["position"] = points
    vertices["color"] = colors
    header = (
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *PLY_PROPERTIES,
        "end_header\n",
    )
    with Path(path).open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(vertices.tobytes())


def read_ply(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read the points (M, 3) and RGB colors (M, 3) of a PLY file as ``write_ply`` writes it.

    Raises ValueError for a PLY file of another layout, one that ends too early, and points that
    are not finite.
    """
    content = Path(path).read_bytes()
    end = content.find(b"end_header\n")
    lines = content[: max(end, 0)].decode("ascii", errors="replace").splitlines()
    lines = [line for line in lines if not line.startswith("comment ")]
    count = re.fullmatch(r"element vertex (\d+)", lines[2]) if len(lines) > 2 else None
    is_ours = lines[:2] == ["ply", "format binary_little_endian 1.0"]
    if count is None or not is_ours or tuple(lines[3:]) != PLY_PROPERTIES:
        raise ValueError(f"{path} is not a binary PLY file of float x y z, uchar red green blue")
    body = content[end + len(b"end_header\n") :]
    wanted = int(count[1]) * PLY_VERTEX.itemsize
    if len(body) < wanted:
        raise ValueError(f"{path} ends after {len(body)} of {wanted} bytes of points")
    vertices = np.frombuffer(body[:wanted], PLY_VERTEX)
    if not np.isfinite(vertices["position"]).all():
        raise ValueError(f"{path} has points that are not finite")
    return vertices["position"].copy(), vertices["color"].copy()


def write_tum(path: Path, stamps_ns: Sequence[int], T_map_camera: NDArray[np.float64]) -> None:
    """Write poses (K, 4, 4) in TUM format: seconds tx ty tz qx qy qz qw, one pose a line.

    Seconds have nine decimals, made of the integer nanoseconds, so that none is lost.
    """
    if len(stamps_ns) != len(T_map_camera):
        raise ValueError(f"{len(stamps_ns)} stamps for {len(T_map_camera)} poses")
    numbers = np.hstack(
        [T_map_camera[:, :3, 3], se3.quaternion_from_matrix(T_map_camera[:, :3, :3])]
    )
    with Path(path).open("w", encoding="ascii") as file:
        for stamp_ns, row in zip(stamps_ns, numbers, strict=True):
            sign, (seconds, rest) = "-" * (stamp_ns < 0), divmod(abs(int(stamp_ns)), 10**9)
            pose = " ".join(f"{value:.12g}" for value in row)
            file.write(f"{sign}{seconds}.{rest:09d} {pose}\n")


def read_tum(path: Path) -> tuple[list[int], NDArray[np.float64]]:
    """Read stamps [ns] and poses (K, 4, 4) of a file in TUM format, in its order.

    Raises ValueError, with the line, for anything that is not a stamp and a pose.
    """
    return _read_poses(path, tum_lines(path))


def read_tracked_tum(path: Path) -> tuple[list[int], NDArray[np.float64], int]:
    """Read a file as ``read_tum`` does, but for lines that are lost; return their number, too."""
    lines = list(tum_lines(path))
    tracked = [(number, entries) for number, entries in lines if not is_lost(entries)]
    return *_read_poses(path, tracked), len(lines) - len(tracked)


def is_lost(entries: Sequence[str]) -> bool:
    """Whether a line has a pose that is not finite: a tracker had lost what it followed."""
    try:
        values = [float(entry) for entry in entries[1:]]
    except ValueError:
        return False
    return len(values) == 7 and not np.isfinite(values).all()


def _read_poses(
    path: Path, lines: Iterable[tuple[int, list[str]]]
) -> tuple[list[int], NDArray[np.float64]]:
    stamps_ns: list[int] = []
    rows: list[list[float]] = []
    for number, entries in lines:
        try:
            stamp_ns, values = _read_pose(entries)
        except (ArithmeticError, ValueError):
            raise ValueError(
                f"{path}, line {number}: not a pose in TUM format (seconds x y z qx qy qz qw): "
                f"{' '.join(entries)[:200]}"
            ) from None
        stamps_ns.append(stamp_ns)
        rows.append(values)
    numbers = np.array(rows, np.float64).reshape(-1, 7)
    return stamps_ns, se3.pose(se3.matrix_from_quaternion(numbers[:, 3:]), numbers[:, :3])


def tum_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and entries of each line that has any: blanks or commas divide, # begins a comment."""
    with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if entries := line.split("#")[0].replace(",", " ").split():
                yield number, entries


def _read_pose(entries: Sequence[str]) -> tuple[int, list[float]]:
    """Return stamp [ns] and x y z qx qy qz qw; ValueError or ArithmeticError where it is none."""
    stamp = Decimal(entries[0])
    values = [float(entry) for entry in entries[1:]]
    if not abs(stamp) < LATEST_S or len(values) != 7 or not np.isfinite(values).all():
        raise ValueError(entries)
    if np.abs(values[:3]).max() > FARTHEST_M:
        raise ValueError("no place")
    if not 1e-6 < np.abs(values[3:]).max() < 1e6:
        raise ValueError("no rotation")
    return int((stamp * 10**9).to_integral_value()), values


def safe_map_folder(map_directory: str | Path, name: str) -> Path:
    """Return the folder ``name`` directly below ``map_directory`` (~ is expanded).

    Raises ValueError where the name could lead anywhere else: it takes 1 to 128 letters, digits,
    '.', '_' and '-', does not begin with '.', and is no symbolic link.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"map name {name!r} is not allowed: use 1 to 128 letters, digits, '.', '_' and '-', "
            "not beginning with '.'"
        )
    try:
        folder = Path(map_directory).expanduser().resolve() / name
    except RuntimeError as error:  # pathlib knows no home of that name, or links lead in a ring
        raise ValueError(
            f"map_directory is '{map_directory}', which leads nowhere: {error}; write it in full"
        ) from None
    if folder.is_symlink():
        raise ValueError(f"map name {name!r} is not allowed: {folder} is a symbolic link")
    return folder
