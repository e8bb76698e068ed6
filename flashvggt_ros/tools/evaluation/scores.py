"""How far a run's trajectory and map are from the truth: numbers of evo, a table, a picture."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map_io import is_lost, read_ply, read_tum, tum_lines, write_tum
from flashvggt_ros.tools.evaluation.depth_accuracy import measure_depth
from flashvggt_ros.tools.evaluation.truth_matching import LEAST_POSES, match_truth, mismatch
from flashvggt_ros.tools.evo_command import EvoResult, run_evo
from flashvggt_ros.tools.ground_truth import GroundTruth, read_ground_truth
from flashvggt_ros.tools.map_accuracy import fit_map, format_map_accuracy, measure_map
from flashvggt_ros.tools.plots import draw_comparison
from flashvggt_ros.tools.replay_report import COMPLETE
from flashvggt_ros.tools.run_folder import read_run

logger = logging.getLogger(__name__)
METRICS, ERRORS, PICTURE = "metrics.json", "errors.json", "evaluation.png"
DRIFT_SHARE = 0.1  # of the path: the stretches along which drift is measured
RUN_FIGURES = ("frames_per_second", "peak_memory_mb", "peak_gpu_memory_mb", "submaps", "loops",
               "bag", "checkpoint")  # of report.json


def evaluate(
    run_folder: Path, ground_truth: str, output: Path, surfaces: str | Path | None = None
) -> dict[str, Any]:
    """Compare a run with the truth; write metrics.json and evaluation.png; return the metrics.

    ``surfaces``: a PLY file of points on the true surfaces, in the frame of the true poses; the
    map's points are then compared with them, as their path places them and after a fit. Raises
    ValueError when there are too few poses at common times, or evo cannot align them.
    """
    report, trajectory = read_run(run_folder)
    clouds = None if surfaces is None else (
        read_ply(run_folder / "map.ply")[0], read_ply(expanded(surfaces))[0]
    )
    stamps, T_map_camera = read_tum(trajectory)
    truth = read_ground_truth(ground_truth)
    matched = match_truth(np.array(stamps, np.int64), np.array(truth.stamps_ns, np.int64))
    if len(matched) < LEAST_POSES:
        raise ValueError(mismatch("run", "poses", stamps, truth, len(matched)))
    output.mkdir(parents=True, exist_ok=True)
    length = _length(truth.T_world_camera[matched, :3, 3])
    with _file_of(truth) as truth_file:
        results = _run_all(truth_file, trajectory)
        drift = measure_drift(truth_file, trajectory, length)
    metrics = {
        "run": str(run_folder),
        "ground_truth": ground_truth,
        "frames_read": report.get("frames_read"),
        "frames_placed": report.get("frames_placed", len(stamps)),
        "frames_interpolated": report.get("frames_interpolated", 0),
        "matched_poses": len(matched),
        "placed_percent": _placed_percent(report),
        **_numbers(results, length),
        "drift_percent": drift,
        **{name: report[name] for name in RUN_FIGURES if name in report},
    }
    if clouds is not None:
        metrics |= _map_accuracy(*clouds, results["ape_sim3_m"].S_truth_map)
    if depth := _depth_accuracy(run_folder, report, metrics["scale_factor"]):
        metrics["depth"] = depth
    if warnings := _warnings(report, truth):
        metrics["warning"] = "; ".join(warnings)
    write_json(output / METRICS, metrics)
    write_json(output / ERRORS, _error_curves(results))
    _draw(output / PICTURE, truth, T_map_camera, results, metrics)
    return metrics


def _warnings(report: dict[str, Any], truth: GroundTruth) -> list[str]:
    """What makes the scores of a run mean less than they seem to."""
    found = []
    if not report.get("checkpoint", {}).get("is_trained", True):
        found.append("untrained weights: the geometry means nothing")
    if (end := report.get("stopped_by", COMPLETE[0])) not in COMPLETE:
        found.append(f"the run was ended by {end}: what came after is not scored")
    if lost := report.get("frames_lost"):
        found.append(f"{lost} images of the bag could not be read: it is damaged")
    if truth.lost:
        found.append(f"{truth.lost} true poses are not finite and were left out")
    return found


def _placed_percent(report: dict[str, Any]) -> float | None:
    """Share of the images of all cameras that have a pose; None where the run does not say."""
    read, placed = report.get("frames_read"), report.get("frames_placed")
    return 100 * placed / read if read and placed is not None else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    text = json.dumps(content, indent=2, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def _error_curves(results: dict[str, EvoResult]) -> dict[str, list[float]]:
    seconds = results["ape_sim3_m"].timestamps
    return {"seconds": list(seconds - seconds[0]),
            **{name: list(results[name].errors) for name in ("ape_sim3_m", "ape_se3_m")}}


def format_table(metrics: dict[str, Any]) -> str:
    """Return the metrics as text for a terminal."""
    read = metrics["frames_read"]
    share = f" of {read} frames read ({metrics['frames_placed'] / read:.0%})" if read else ""
    between = metrics["frames_interpolated"]
    rows = [
        f"placed  {metrics['frames_placed']} frames{share}"
        + (f", {between} of them between keyframes" if between else ""),
        f"truth   {metrics['matched_poses']} poses have a true pose, along "
        f"{metrics['path_length_m']:.3f} m",
        f"scale   map is {metrics['scale_error']:+.2%} against the truth (factor "
        f"{metrics['scale_factor']:.6g} corrects it)",
        "",
        f"{'':<26}{'rmse':>10}{'mean':>10}{'median':>10}{'max':>10}",
    ]
    for key, label in LABELS.items():
        values = (metrics[key][name] for name in ("rmse", "mean", "median", "max"))
        rows.append(f"{label:<26}" + "".join(f"{value:>10.4f}" for value in values))
    rows += ["", f"APE rmse of the path: {metrics['ape_sim3_percent']:.2f} % after Sim(3), "
                 f"{metrics['ape_se3_percent']:.2f} % after SE(3)"]
    if metrics["drift_percent"] is not None:
        rows.append(f"drift along a tenth of the path: {metrics['drift_percent']:.2f} % of it")
    if "map" in metrics:
        fitted = metrics["map_fitted"]
        scale = f"scale {fitted['scale_against_path']:.3f} of the path's"
        rows += [format_map_accuracy(metrics["map"], "placed by its path"),
                 format_map_accuracy(fitted, f"fitted to the surfaces ({scale})")]
    if "depth" in metrics:
        depth = metrics["depth"]
        rows.append(f"depth   {depth['abs_rel']:.3f} relative error, "
                    f"{depth['within_25_percent']:.1%} within 25 %, of {depth['images']} images")
    if "warning" in metrics:
        rows.append(f"WARNING: {metrics['warning']}")
    return "\n".join(rows)


# Name in metrics.json: label, and how evo is called: metric, relation, with scale.
LABELS = {
    "ape_sim3_m": "APE, Sim(3) [m]",
    "ape_se3_m": "APE, SE(3) [m]",
    "ape_rotation_deg": "APE, rotation [deg]",
    "rpe_sim3_m": "RPE, Sim(3) [m]",
    "rpe_se3_m": "RPE, SE(3) [m]",
    "rpe_rotation_deg": "RPE, rotation [deg]",
}
CALLS = {
    "ape_sim3_m": ("ape", "trans_part", True),
    "ape_se3_m": ("ape", "trans_part", False),
    "ape_rotation_deg": ("ape", "angle_deg", True),  # the same rotation aligns with and without
    "rpe_sim3_m": ("rpe", "trans_part", True),
    "rpe_se3_m": ("rpe", "trans_part", False),
    "rpe_rotation_deg": ("rpe", "angle_deg", True),
}


@contextmanager
def _file_of(truth: GroundTruth) -> Iterator[Path]:
    """Give the truth as evo takes it: of a file all numbers as they stand, in order of time.

    So evo by hand says the same, and says it of files with commas, tabs and empty lines too; it
    takes the motions of RPE from one line to the next. Lines that are lost are left out.
    """
    own = expanded(truth.source)
    with tempfile.TemporaryDirectory(prefix="flashvggt_truth_") as folder:
        path = Path(folder, "truth.tum")
        if own.is_file():
            tracked = (words for _, words in tum_lines(own) if not is_lost(words))
            lines = sorted(tracked, key=lambda words: Decimal(words[0]))
            path.write_text("".join(f"{' '.join(words)}\n" for words in lines), "utf-8")
        else:
            write_tum(path, truth.stamps_ns, truth.T_world_camera)
        yield path


def _run_all(truth: Path, estimate: Path) -> dict[str, EvoResult]:
    """Every comparison; the processes run two at a time."""
    with ThreadPoolExecutor(2) as pool:
        pending = {
            name: pool.submit(run_evo, metric, truth, estimate, relation, with_scale=with_scale)
            for name, (metric, relation, with_scale) in CALLS.items()
        }
        return {name: future.result() for name, future in pending.items()}


def _length(positions: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


def measure_drift(truth: Path, estimate: Path, length: float) -> float | None:
    """Error of a motion by a tenth of the path, in % of it, rmse over all such motions by evo.

    None where evo finds no such motions, as on a path that goes nowhere.
    """
    stretch = DRIFT_SHARE * length
    if not stretch:
        return None
    options = ("--delta", f"{stretch:.12f}", "--delta_unit", "m", "--all_pairs")
    try:
        result = run_evo("rpe", truth, estimate, "trans_part", with_scale=True, options=options)
    except ValueError:
        return None
    return 100 * result.statistics["rmse"] / stretch


def _numbers(results: dict[str, EvoResult], length: float) -> dict[str, Any]:
    factor = float(np.cbrt(np.linalg.det(results["ape_sim3_m"].S_truth_map[:3, :3])))
    numbers: dict[str, Any] = {name: result.statistics for name, result in results.items()}
    numbers["path_length_m"] = length
    for alignment in ("sim3", "se3"):
        rmse = numbers[f"ape_{alignment}_m"]["rmse"]
        numbers[f"ape_{alignment}_percent"] = 100 * rmse / length if length else 0.0
    numbers["scale_factor"] = factor
    numbers["scale_error"] = 1 / factor - 1
    return numbers


def _map_accuracy(
    points_map: NDArray[np.float32],
    surfaces: NDArray[np.float32],
    S_truth_map: NDArray[np.float64],
) -> dict[str, Any]:
    """Compare the map with surfaces: where the aligned path puts it, and fitted to them."""
    S_fitted = fit_map(points_map, surfaces, S_truth_map)
    volumes = np.linalg.det(S_fitted[:3, :3]) / np.linalg.det(S_truth_map[:3, :3])
    return {
        "map": measure_map(points_map, surfaces, S_truth_map),
        "map_fitted": {
            **measure_map(points_map, surfaces, S_fitted),
            "scale_against_path": float(np.cbrt(volumes)),
        },
    }


def _depth_accuracy(run: Path, report: dict[str, Any], scale_factor: float) -> dict[str, float]:
    """Compare with the depth images of the run's bag; nothing where there are none to read."""
    try:
        return measure_depth(run, Path(str(report.get("bag", "no bag"))), scale_factor)
    except (ValueError, OSError) as error:
        logger.warning("depth is not compared: %s", error)
        return {}


def _draw(
    path: Path,
    truth: GroundTruth,
    T_map_camera: NDArray[np.float64],
    results: dict[str, EvoResult],
    metrics: dict[str, Any],
) -> None:
    sim3, se3 = results["ape_sim3_m"], results["ape_se3_m"]
    S = sim3.S_truth_map
    aligned = T_map_camera[:, :3, 3] @ S[:3, :3].T + S[:3, 3]
    up = -truth.T_world_camera[:, :3, 1].mean(axis=0)  # image rows run downwards
    title = f"APE rmse {metrics['ape_sim3_m']['rmse']:.3f} m after Sim(3)"
    if "warning" in metrics:
        title += f"\n{metrics['warning']}"
    draw_comparison(
        path, truth.T_world_camera[:, :3, 3], aligned, sim3.timestamps - sim3.timestamps[0],
        {"after Sim(3)": sim3.errors, "after SE(3)": se3.errors}, int(np.abs(up).argmax()), title,
    )
