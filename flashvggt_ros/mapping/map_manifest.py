"""The manifest of a saved map: what it is, which model made it, and what its files must be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flashvggt_ros.mapping.gravity import UpDirection
from flashvggt_ros.mapping.metric_scale import ScaleEstimate

FORMAT, VERSION = "flashvggt_ros map", 4
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class MapModel:
    """Which weights a map is made with: only the same ones understand its signatures.

    ``sha256`` of the checkpoint, in hexadecimal; ``name`` and ``revision`` for people.
    """

    name: str
    sha256: str
    revision: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size [bytes] and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MapCounts:
    """How much a map has of everything."""

    submaps: int
    poses: int
    keyframes: int
    points: int
    loops: int


@dataclass(frozen=True, slots=True, eq=False)
class MapManifest:
    """``files`` by their names in the folder; ``cameras``: frame ids; the rest as MapSnapshot."""

    package_version: str
    model: MapModel
    map_frame: str
    cameras: tuple[str, ...]
    scale: ScaleEstimate | None
    up: UpDirection | None
    counts: MapCounts
    files: Mapping[str, FileEntry]

    def to_json(self) -> str:
        """Return it as text; equal manifests give equal text."""
        up = self.up and {
            "up_submap": self.up.up_submap.tolist(),
            "sigma_rad": self.up.sigma_rad,
            "source": self.up.source,
        }
        content = {
            "format": FORMAT,
            "version": VERSION,
            "package_version": self.package_version,
            "model": asdict(self.model),
            "frames": {"map": self.map_frame, "cameras": list(self.cameras)},
            "is_metric": self.scale is not None,
            "scale": self.scale and asdict(self.scale),
            "up": up,
            "counts": asdict(self.counts),
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_manifest(content: bytes) -> MapManifest:
    """Read what ``to_json`` wrote; ValueError, without the file's name, for anything else."""
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT:
        raise ValueError(f"its format is not '{FORMAT}'")
    if loaded.get("version") != VERSION:
        raise ValueError(
            f"its version is {loaded.get('version')!r}, this package reads {VERSION}: map anew, or "
            "use the package that wrote it"
        )
    try:
        return _manifest(loaded)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it lacks something or has it in another type: {error!r}") from None


def _manifest(loaded: dict[str, Any]) -> MapManifest:
    scale, up, frames = loaded["scale"], loaded["up"], loaded["frames"]
    cameras = [_typed(camera, str) for camera in _typed(frames["cameras"], list)]
    return MapManifest(
        package_version=_typed(loaded["package_version"], str),
        model=_record(MapModel, loaded["model"]),
        map_frame=_typed(frames["map"], str),
        cameras=tuple(cameras),
        scale=None if scale is None else _scale(scale),
        up=None if up is None else _up(up),
        counts=_counts(loaded["counts"]),
        files={name: _entry(entry) for name, entry in loaded["files"].items()},
    )


def _typed(value: Any, kind: type) -> Any:
    """Return a value that is of this very type; bool is no int."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _record(kind: type, loaded: dict[str, Any]) -> Any:
    """Make a record whose members are plain, each of the type that it is declared with."""
    names = {"str": str, "int": int, "float": float}
    fields = {name: names[str(hint)] for name, hint in kind.__annotations__.items()}
    return kind(**{name: _typed(loaded[name], hint) for name, hint in fields.items()})


def _entry(loaded: dict[str, Any]) -> FileEntry:
    entry: FileEntry = _record(FileEntry, loaded)
    if entry.size < 0 or not SHA256.fullmatch(entry.sha256):
        raise TypeError(f"{loaded} is no size and SHA-256")
    return entry


def _counts(loaded: dict[str, Any]) -> MapCounts:
    counts: MapCounts = _record(MapCounts, loaded)
    if min(asdict(counts).values()) < 0:
        raise TypeError(f"{loaded} counts less than nothing")
    return counts


def _scale(loaded: dict[str, Any]) -> ScaleEstimate:
    scale: ScaleEstimate = _record(ScaleEstimate, loaded)
    if not all(0 < value < math.inf for value in (scale.meters_per_unit, scale.sigma)):
        raise TypeError(f"{loaded} is no scale")
    return scale


def _up(loaded: dict[str, Any]) -> UpDirection:
    numbers = [_typed(value, float) for value in loaded["up_submap"]]
    up, sigma_rad = np.array(numbers), _typed(loaded["sigma_rad"], float)
    if up.shape != (3,) or not abs(float(np.linalg.norm(up)) - 1) < 1e-6 or not sigma_rad > 0:
        raise TypeError(f"{loaded} is no direction")
    return UpDirection(up, sigma_rad, _typed(loaded["source"], str))
