"""The measurements as a table to read, and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flashvggt_ros.tools.benchmarking.accuracy import Errors
from flashvggt_ros.tools.benchmarking.case import Case
from flashvggt_ros.tools.benchmarking.dense import DenseMeasurement
from flashvggt_ros.tools.benchmarking.measurement import Measurement

LABEL_WIDTH = 38


@dataclass(frozen=True, slots=True)
class Report:
    """All that one call of the benchmark found out; empty where nothing was asked for."""

    machine: dict[str, str | int | bool]
    case: Case
    image_source: str
    measurements: tuple[Measurement, ...]
    dense: tuple[DenseMeasurement, ...]
    errors: tuple[Errors, ...]

    def lines(self) -> Iterator[str]:
        """The table, line by line."""
        case = self.case
        yield ", ".join(f"{name} {value}" for name, value in self.machine.items())
        yield (f"{case.label}: {case.frames} frames of {case.height}x{case.width} "
               f"({self.image_source}), chunks of {case.chunk}, "
               f"{case.kernels} kernels, attention {case.attention}")
        for measurement in self.measurements:
            yield from _measurement_lines(measurement)
        for dense in self.dense:
            yield from self._dense_lines(dense)
        if self.errors:
            yield from _error_lines(self.errors)

    def to_json(self) -> dict[str, Any]:
        """The same, and the time of every chunk, in seconds and bytes."""
        case = {
            field.name: getattr(self.case, field.name) for field in dataclasses.fields(self.case)
        }
        precision = {
            name: str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
            for name, value in dataclasses.asdict(self.case.precision).items()
        }
        return {
            "machine": self.machine,
            "case": case | {"device": str(self.case.device), "precision": precision},
            "images": self.image_source,
            "measurements": [_measurement_json(each) for each in self.measurements],
            "dense": [dataclasses.asdict(each) for each in self.dense],
            "errors_against_fp32": [_error_json(each) for each in self.errors],
        }

    def _dense_lines(self, dense: DenseMeasurement) -> Iterator[str]:
        scope = ("" if dense.blocks == dense.of_blocks
                 else f", {dense.blocks} of {dense.of_blocks} blocks run, the rest extrapolated")
        yield f"dense global attention as in VGGT, by autocast, one call{scope}"
        yield _row("total", f"{dense.total_s:.2f} s")
        for stage, seconds in dense.stages_s.items():
            yield _row(f"  {stage}", f"{seconds:.3f} s")
        for measurement in self.measurements:
            share = 100 * measurement.total_s / dense.total_s
            yield _row(f"{measurement.label} takes", f"{share:.1f} % of that")


def _measurement_lines(measurement: Measurement) -> Iterator[str]:
    chunks_ms = 1e3 * measurement.chunk_s
    run = measurement.runs[-1]
    runs = f", median of {len(measurement.runs)} runs" if len(measurement.runs) > 1 else ""
    yield _row("warm-up, not counted", f"{measurement.warm_up_s:.2f} s")
    yield _row("total", f"{measurement.total_s:.2f} s "
               f"({measurement.frames / measurement.total_s:.1f} frames/s{runs})")
    yield _row("CPU time of this process", f"{measurement.cpu_s:.2f} s")
    yield _row("chunk, first: p50, p95", _quantiles(chunks_ms[:, 0]))
    yield _row("chunk, last: p50, p95", _quantiles(chunks_ms[:, -1]))
    yield _row("chunk, all: p50, p95", _quantiles(chunks_ms))
    if measurement.late_over_early is not None:
        yield _row("last 100 chunks / chunks 100 to 200", f"{measurement.late_over_early:.3f}")
    yield _row("cache: held, allocated", f"{run.cache_bytes / 1e6:.1f} MB, "
               f"{run.cache_allocated_bytes / 1e6:.1f} MB")
    yield _row("peak memory", f"{measurement.peak_bytes / 2**30:.2f} GiB")
    if measurement.stages_s:
        rest = measurement.stages_total_s - sum(measurement.stages_s.values())
        yield _row("stages, in a run of their own", f"{measurement.stages_total_s:.2f} s")
        for stage, seconds in (measurement.stages_s | {"between them": rest}).items():
            share = 100 * seconds / measurement.stages_total_s
            yield _row(f"  {stage}", f"{seconds:.3f} s ({share:.1f} %)")


def _error_lines(errors: tuple[Errors, ...]) -> Iterator[str]:
    names = [field.name for field in dataclasses.fields(Errors) if field.name != "label"]
    yield "relative rms errors against fp32 (log_depth: absolute)"
    yield _row("", " ".join(f"{name:>11}" for name in names))
    for row in errors:
        yield _row(f"  {row.label}", " ".join(f"{getattr(row, name):11.3e}" for name in names))
    if len(errors) > 1:
        ours, yardstick = errors
        ratios = (_ratio(getattr(ours, name), getattr(yardstick, name)) for name in names)
        yield _row(f"  {ours.label} / {yardstick.label}",
                   " ".join(f"{ratio:11.3f}" for ratio in ratios))


def _measurement_json(measurement: Measurement) -> dict[str, Any]:
    return dataclasses.asdict(measurement) | {
        "total_s": measurement.total_s,
        "cpu_s": measurement.cpu_s,
        "frames_per_s": measurement.frames / measurement.total_s,
        "first_chunk_s": [float(value) for value in measurement.chunk_s[:, 0]],
        "last_chunk_s": [float(value) for value in measurement.chunk_s[:, -1]],
        "late_over_early": measurement.late_over_early,
    }


def _error_json(errors: Errors) -> dict[str, str | float | None]:
    """Null stands for what is no finite number, which JSON does not have."""
    return {
        name: value if name == "label" or math.isfinite(value) else None
        for name, value in dataclasses.asdict(errors).items()
    }


def _quantiles(milliseconds: np.ndarray) -> str:
    middle, high = np.percentile(milliseconds, [50, 95])
    return f"{middle:.1f} ms, {high:.1f} ms"


def _ratio(ours: float, yardstick: float) -> float:
    return ours / yardstick if yardstick else float("nan")


def _row(name: str, value: str) -> str:
    return f"  {name:<{LABEL_WIDTH}}{value}"
