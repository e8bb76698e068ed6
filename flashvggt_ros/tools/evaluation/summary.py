"""Outcomes side by side: the columns of the tables, and the mean over all that were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from flashvggt_ros import __version__
from flashvggt_ros.tools.evaluation.runner import Outcome

MISSING = "–"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of each outcome: where it stands in the metrics, its head, and how it is written."""

    path: str
    head: str
    form: str = "{:.3f}"

    def value(self, metrics: dict[str, Any]) -> float | None:
        """The figure; None where it was not measured."""
        found: Any = metrics
        for name in self.path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return None if found is None else float(found)

    def text(self, metrics: dict[str, Any]) -> str:
        """The figure as it is written."""
        value = self.value(metrics)
        return MISSING if value is None else self.form.format(value)


TABLES: dict[str, tuple[Column, ...]] = {
    "Trajectory": (
        Column("frames_placed", "images placed", "{:.0f}"),
        Column("placed_percent", "of those read [%]", "{:.1f}"),
        Column("path_length_m", "path [m]", "{:.2f}"),
        Column("ape_sim3_m.rmse", "APE Sim(3) [m]", "{:.4f}"),
        Column("ape_sim3_percent", "of the path [%]", "{:.2f}"),
        Column("ape_se3_m.rmse", "APE SE(3) [m]", "{:.4f}"),
        Column("scale_error_percent", "scale error [%]", "{:+.2f}"),
        Column("ape_rotation_deg.rmse", "APE rotation [deg]", "{:.2f}"),
        Column("rpe_sim3_m.rmse", "RPE Sim(3) [m]", "{:.4f}"),
        Column("rpe_se3_m.rmse", "RPE SE(3) [m]", "{:.4f}"),
        Column("rpe_rotation_deg.rmse", "RPE rotation [deg]", "{:.2f}"),
        Column("drift_percent", "drift [%]", "{:.2f}"),
    ),
    "Map and depth": (
        Column("map.near_share", "points near a surface", "{:.1%}"),
        Column("map.median_m", "median distance [m]"),
        Column("map.p90_m", "90 % within [m]"),
        Column("map.covered_share", "surfaces covered", "{:.1%}"),
        Column("map_fitted.median_m", "median, fitted [m]"),
        Column("depth.abs_rel", "depth error, relative", "{:.3f}"),
        Column("depth.within_25_percent", "depth within 25 %", "{:.1%}"),
    ),
    "Run": (
        Column("frames_per_second", "images/s", "{:.2f}"),
        Column("peak_memory_mb", "peak memory [MB]", "{:.0f}"),
        Column("peak_gpu_memory_mb", "of the GPU [MB]", "{:.0f}"),
        Column("submaps", "submaps", "{:.0f}"),
        Column("loops", "loops", "{:.0f}"),
    ),
}
NOTES = """APE: distance of matched poses after alignment; RPE: error of the motion from one matched
pose to the next; all rmse, by evo. Sim(3) corrects the scale, SE(3) does not. Drift: error of the
motion along a tenth of the path, in % of it. The mean of scale errors is that of their sizes. The
scale of a single camera is arbitrary: errors of SE(3) and of the scale mean something only where a
scale source was configured (scale.source)."""


def with_percent(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return metrics with the scale error in %."""
    return {**metrics, "scale_error_percent": 100 * metrics["scale_error"]}


def mean_of(scored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each figure over those that have it; of scale errors, the mean of their sizes."""
    mean: dict[str, Any] = {}
    for column in (column for columns in TABLES.values() for column in columns):
        values = [value for value in map(column.value, scored) if value is not None]
        if values:
            is_signed = column.path == "scale_error_percent"
            _put(mean, column.path, fmean(map(abs, values) if is_signed else values))
    return mean


def summarize(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what metrics.json says of several inputs."""
    scored = {outcome.name: with_percent(outcome.metrics)
              for outcome in outcomes if not outcome.failure}
    return {
        "tool": "flashvggt_evaluate",
        "version": __version__,
        "bags": scored,
        "mean": mean_of(list(scored.values())),
        "failed": {outcome.name: outcome.failure for outcome in outcomes if outcome.failure},
    }


def _put(target: dict[str, Any], path: str, value: float) -> None:
    *above, last = path.split(".")
    for name in above:
        target = target.setdefault(name, {})
    target[last] = value
