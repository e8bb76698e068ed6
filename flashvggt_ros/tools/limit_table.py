"""Findings of checks with their limits, found row by row and printed as one table or as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from flashvggt_ros.tools.backend_checks.finding import Finding

WIDTH = 76  # of the first column
HEADER = f"{'what':<{WIDTH}}  {'value':>8}  {'limit':>7}  {'':<3}  ok   seconds"


@dataclass(frozen=True, slots=True)
class Row:
    """A finding, the check that it comes from, and how long it took [s]."""

    check: str
    finding: Finding
    seconds: float


def run_findings(findings: Mapping[str, Iterable[Finding]]) -> Iterator[Row]:
    """Run checks, by name; rows come as they are found.

    A progress bar is shown where standard error is a terminal.
    """
    with tqdm(findings.items(), unit="check", disable=None, leave=False) as bar:
        for name, found in bar:
            bar.set_description(name)
            begun = time.perf_counter()
            for finding in found:
                now = time.perf_counter()
                yield Row(name, finding, now - begun)
                begun = now


def print_rows(rows: Iterable[Row], *, is_json: bool) -> int:
    """Print the table, row by row, or JSON at the end; return 1 if a limit is not kept."""
    printed = []
    if not is_json:
        print(HEADER, flush=True)
    for row in rows:
        printed.append(row)
        if not is_json:
            tqdm.write(format_row(row))
            sys.stdout.flush()
    kept = sum(row.finding.is_ok for row in printed)
    if is_json:
        print(json.dumps([_as_json(row) for row in printed], indent=2, allow_nan=False))
    else:
        print(f"{kept} of {len(printed)} limits kept")
    return 0 if kept == len(printed) else 1


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
