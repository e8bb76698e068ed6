"""What the back end must hold, measured in worlds with known truth: one table.

python -m flashvggt_ros.tools.backend_report
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from flashvggt_ros.tools.backend_checks.archive import check_archive
from flashvggt_ros.tools.backend_checks.bags import check_bags
from flashvggt_ros.tools.backend_checks.corridor import check_corridor
from flashvggt_ros.tools.backend_checks.endurance import check_endurance
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.floor import check_floor
from flashvggt_ros.tools.backend_checks.grid import check_grid
from flashvggt_ros.tools.backend_checks.localization import check_localization
from flashvggt_ros.tools.backend_checks.lookalikes import check_lookalikes
from flashvggt_ros.tools.backend_checks.rig import check_rig
from flashvggt_ros.tools.backend_checks.scale import check_scale

PROGRAM = "backend_report"
WIDTH = 76  # of the first column
HEADER = f"{'what':<{WIDTH}}  {'value':>8}  {'limit':>7}  {'':<3}  ok   seconds"
CHECKS: dict[str, Callable[[bool], Iterator[Finding]]] = {
    "corridor": check_corridor,
    "lookalikes": check_lookalikes,
    "scale": check_scale,
    "rig": check_rig,
    "floor": check_floor,
    "grid": check_grid,
    "archive": check_archive,
    "localization": check_localization,
    "endurance": check_endurance,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A finding, the check that it comes from, and how long it took [s]."""

    check: str
    finding: Finding
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, row by row; return 1 if a limit is not kept."""
    options = _parser().parse_args(argv)
    names = options.only or ([] if options.bags else list(CHECKS))
    rows = []
    if not options.json:
        print(HEADER)
    for row in run_checks(names, options.quick, options.bags or ()):
        rows.append(row)
        if not options.json:
            tqdm.write(format_row(row))
    kept = sum(row.finding.is_ok for row in rows)
    if options.json:
        print(json.dumps([_as_json(row) for row in rows], indent=2, allow_nan=False))
    else:
        print(f"{kept} of {len(rows)} limits kept")
    return 0 if kept == len(rows) else 1


def run_checks(
    names: Iterable[str], is_quick: bool, bags: Sequence[str] = ()
) -> Iterator[Row]:
    """Run checks by name, then that of ``bags``; rows come as they are found.

    A progress bar is shown where standard error is a terminal.
    """
    findings = {name: CHECKS[name](is_quick) for name in names}
    if bags:
        findings["bags"] = check_bags(bags)
    with tqdm(findings.items(), unit="check", disable=None, leave=False) as bar:
        for name, found in bar:
            bar.set_description(name)
            begun = time.perf_counter()
            for finding in found:
                now = time.perf_counter()
                yield Row(name, finding, now - begun)
                begun = now


def format_row(row: Row) -> str:
    """Return a row of the table as text: what, value, limit, unit, ok, seconds."""
    finding = row.finding
    limit = f"{'<=' if finding.is_at_most else '>='} {finding.limit:g}"
    return (
        f"{finding.what:<{WIDTH}}  {finding.value:>8.4g}  {limit:>7}  {finding.unit:<3}  "
        f"{'yes' if finding.is_ok else 'NO':<3}  {row.seconds:>7.1f}"
    )


def _as_json(row: Row) -> dict[str, Any]:
    finding = row.finding
    return {
        "check": row.check,
        "what": finding.what,
        "value": finding.value if math.isfinite(finding.value) else None,
        "limit": finding.limit,
        "limit_is": "most" if finding.is_at_most else "least",
        "unit": finding.unit,
        "ok": finding.is_ok,
        "seconds": round(row.seconds, 2),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Measure the back end in worlds with known truth."
    )
    parser.add_argument("--quick", action="store_true",
                        help="smaller worlds and fewer of them: seconds instead of minutes")
    parser.add_argument("--only", action="append", choices=list(CHECKS), metavar="CHECK",
                        help=f"one of {', '.join(CHECKS)}; may be given more than once")
    parser.add_argument("--bags", nargs="+", metavar="BAG=GROUND_TRUTH",
                        help="real bags with true trajectories, as flashvggt_evaluate takes them; "
                        "alone, nothing else is checked")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
