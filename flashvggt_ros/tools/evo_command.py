"""Runs evo's command lines for APE and RPE.

evo (github.com/MichaelGrupp/evo) is GPL-3: it is an optional tool that runs as its own process and
is never imported.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_TIME_DIFFERENCE_S = 0.01  # evo's own default for --t_max_diff
NOISE = re.compile(r"\x1b\[\d*m|\[ERROR\] |Initialized new \S*/settings\.json")
DEGENERATE = "; the true path or the mapped one is a point or a straight line: score one with turns"
REMEDY = "evo is not installed: pip install 'flashvggt_ros[evaluate]' (or: pip install evo)"


@dataclass(frozen=True, slots=True, eq=False)
class EvoResult:
    """What evo says: statistics (rmse, mean, median, std, min, max, sse), each error, and times.

    ``errors`` and ``timestamps`` (N,) [m or deg, s]; ``S_truth_map`` (4, 4), the alignment.
    """

    statistics: dict[str, float]
    errors: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    S_truth_map: NDArray[np.float64]


def run_evo(
    metric: str, truth: Path, estimate: Path, relation: str, *, with_scale: bool,
    options: Sequence[str] = (),
) -> EvoResult:
    """Run ``evo_ape`` or ``evo_rpe`` on two TUM files after Umeyama alignment, evo's defaults else.

    ``metric``: ape or rpe; ``relation``: trans_part [m] or angle_deg; ``options``: more of evo's.
    Raises ValueError with evo's own words when it refuses, and with the remedy when it is not
    installed.
    """
    with tempfile.TemporaryDirectory(prefix="flashvggt_evo_") as home:
        archive = Path(home, "result.zip")
        command = [_executable(f"evo_{metric}"), "tum", str(truth), str(estimate), "--align",
                   "--pose_relation", relation, "--t_max_diff", str(MAX_TIME_DIFFERENCE_S),
                   "--save_results", str(archive), "--no_warnings", *options]
        if with_scale:
            command.append("--correct_scale")
        done = subprocess.run(command, env=_environment(home), capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL)
        if done.returncode or not archive.exists():
            raise ValueError(f"evo_{metric} failed: {_reason(done)}")
        return _read(archive)


def check_evo() -> None:
    """Raise ValueError, with the remedy, where evo is not installed."""
    _executable("evo_ape")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last words of an evo that failed."""
    lines = NOISE.sub("", done.stdout + done.stderr).splitlines()
    said = " ".join([line.strip() for line in lines if line.strip()][-3:])
    return said + DEGENERATE if "Degenerate" in said else said or f"exit code {done.returncode}"


def _executable(name: str) -> str:
    for folder in _folders():
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise ValueError(REMEDY)
    return found


def _folders() -> tuple[Path, ...]:
    """Where pip puts commands; they need not be on PATH."""
    return (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")),
            Path(site.getuserbase(), "bin"))


def _environment(home: str) -> dict[str, str]:
    """Give evo and matplotlib an empty home, so that a user's settings change nothing."""
    return {**os.environ, "HOME": home, "MPLCONFIGDIR": home, "MPLBACKEND": "Agg",
            "PYTHONUSERBASE": site.getuserbase()}


def _read(archive: Path) -> EvoResult:
    with zipfile.ZipFile(archive) as content:
        def array(name: str) -> NDArray[np.float64]:
            return np.load(io.BytesIO(content.read(f"{name}.npy")))

        return EvoResult(
            statistics={key: float(value)
                        for key, value in json.loads(content.read("stats.json")).items()},
            errors=array("error_array"),
            timestamps=array("timestamps"),
            S_truth_map=array("alignment_transformation_sim3"),
        )
