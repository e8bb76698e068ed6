"""Real bags, mapped with the embedded checkpoint, with the back end and without it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from flashvggt_ros.tools import replay
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.evaluation.scores import evaluate

WORSE = 1.05  # how many times the error without back end is still not worse
ON_AND_OFF = {
    "on": (),
    "off": ("loop.enabled=false", "bundle_adjustment.enabled=false", "gravity.source=none"),
}


def check_bags(bags: Sequence[str]) -> Iterator[Finding]:
    """Replay each BAG=GROUND_TRUTH twice and compare the errors of both trajectories by evo.

    GROUND_TRUTH is what flashvggt_evaluate takes. Raises ValueError where one cannot be mapped.
    """
    for entry in bags:
        bag, _, truth = entry.partition("=")
        if not truth:
            raise ValueError(f"'{entry}' names no ground truth: write BAG=GROUND_TRUTH")
        errors = {name: _error(bag, truth, values) for name, values in ON_AND_OFF.items()}
        what = f"{Path(bag).name}: ATE {errors['on']:.4g} m with back end, " \
               f"{errors['off']:.4g} m without"
        yield Finding(what, errors["on"] / errors["off"], WORSE, "")


def _error(bag: str, truth: str, values: Sequence[str]) -> float:
    """Root mean square error [m] after Sim(3)."""
    with tempfile.TemporaryDirectory(prefix="backend_report_") as folder:
        output = Path(folder, "run")
        arguments = [bag, "--output", str(output)]
        for value in values:
            arguments += ["--set", value]
        if replay.main(arguments) != 0:
            raise ValueError(f"{bag} could not be mapped with {' '.join(values) or 'the defaults'}")
        return float(evaluate(output, truth, output)["ape_sim3_m"]["rmse"])
