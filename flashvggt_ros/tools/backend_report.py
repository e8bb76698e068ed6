"""What the back end must hold, measured in worlds with known truth: one table.

python -m flashvggt_ros.tools.backend_report
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

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
from flashvggt_ros.tools.limit_table import Row, print_rows, run_findings

PROGRAM = "backend_report"
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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, row by row; return 1 if a limit is not kept."""
    options = _parser().parse_args(argv)
    names = options.only or ([] if options.bags else list(CHECKS))
    rows = run_checks(names, options.quick, options.bags or ())
    return print_rows(rows, is_json=options.json)


def run_checks(
    names: Iterable[str], is_quick: bool, bags: Sequence[str] = ()
) -> Iterator[Row]:
    """Run checks by name, then that of ``bags``; rows come as they are found."""
    findings = {name: CHECKS[name](is_quick) for name in names}
    if bags:
        findings["bags"] = check_bags(bags)
    return run_findings(findings)


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
