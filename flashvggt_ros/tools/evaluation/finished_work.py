"""What of a job is done already: a record of everything that its results depend on."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from flashvggt_ros import __version__
from flashvggt_ros.config import Config, flatten
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.tools.evaluation.inputs import named_file
from flashvggt_ros.tools.evaluation.scores import write_json

RECORD = "finished.json"
WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "weights"


class FinishedWork:
    """The record in a job's folder: for each step, what it was done with.

    A step is finished if it was done with the very same; an unreadable record means nothing is.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD

    def has(self, step: str, basis: dict[str, Any]) -> bool:
        """Whether ``step`` was finished on this basis."""
        return bool(self._read().get(step) == json.loads(json.dumps(basis)))

    def add(self, step: str, basis: dict[str, Any]) -> None:
        """Note that ``step`` is finished."""
        write_json(self._path, {**self._read(), step: basis})

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def replay_basis(bag: Path, config: Config, max_frames: int) -> dict[str, Any]:
    """Everything that the run of a bag depends on."""
    return {
        "version": __version__,
        "bag": describe_files(bag),
        "parameters": flatten(config),
        "weights": _weights(config),
        "max_frames": max_frames,
    }


def score_basis(run: Path, truth: str, surfaces: str) -> dict[str, Any]:
    """Everything that the scores of a run depend on."""
    return {
        "version": __version__,
        "run": {name: _sha256(run / name) for name in _run_files(run)},
        "truth": [truth, describe_files(expanded(named_file(truth)))],
        "surfaces": [surfaces, describe_files(Path(surfaces)) if surfaces else {}],
    }


def describe_files(path: Path) -> dict[str, list[int]]:
    """Size and time of change [ns] of a file, or of each file right in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = {file.name: file.stat() for file in files if file.is_file()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}


def _run_files(run: Path) -> list[str]:
    return [file.name for file in sorted(run.iterdir())
            if file.suffix in (".tum", ".ply") or file.name == "report.json"]


def _weights(config: Config) -> str:
    """SHA-256 of the checkpoint's file; its name where that stands for one content."""
    embedded = WEIGHTS_FOLDER / f"{config.checkpoint}.safetensors"
    for file in (expanded(config.checkpoint), embedded):
        if file.is_file():
            return _file_sha256(file, file.stat().st_mtime_ns)
    return config.checkpoint


@lru_cache
def _file_sha256(path: Path, _changed_ns: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
