"""What the node must endure, tried for as long as it takes: one table.

python -m flashvggt_ros.tools.soak_report
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.limit_table import print_rows, run_findings
from flashvggt_ros.tools.soak_checks.fuzzing import check_files, check_messages
from flashvggt_ros.tools.soak_checks.kills import check_kills
from flashvggt_ros.tools.soak_checks.lifecycle import check_lifecycle
from flashvggt_ros.tools.soak_checks.load import (
    check_latency,
    check_load,
    check_steady,
    check_still,
)

PROGRAM = "soak_report"
CHECKS: dict[str, Callable[[float], Iterator[Finding]]] = {
    "messages": check_messages,
    "files": check_files,
    "kills": check_kills,
    "lifecycle": check_lifecycle,
    "steady": check_steady,
    "latency": check_latency,
    "load": check_load,
    "still": check_still,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, row by row; return 1 if a limit is not kept."""
    options = _parser().parse_args(argv)
    names = options.only or list(CHECKS)
    rows = run_findings({name: CHECKS[name](options.part) for name in names})
    return print_rows(rows, is_json=options.json)


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Break what the node is given, kill it, load it, and measure."
    )
    parser.add_argument("--part", type=_share, default=1.0, metavar="SHARE",
                        help="of the full numbers and times, which take hours (1)")
    parser.add_argument("--only", action="append", choices=list(CHECKS), metavar="CHECK",
                        help=f"one of {', '.join(CHECKS)}; may be given more than once")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
