"""flashvggt_view: show a map in the browser, of a running node, a bag, a run or a saved map."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.viewer.options import PROGRAM, view_parser

NO_ROS = "there is no ROS here to listen to a node with: name a bag, a run or a saved map to show"


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until SIGINT or SIGTERM; return 0, 1 (nothing mapped) or 2 (misuse)."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and not given[0].startswith("-"):
        return _show_path(Path(given[0]).expanduser(), given[1:])
    if {"-h", "--help"} & set(given):
        view_parser().parse_args(["--help"])
    try:
        from flashvggt_ros.ros import node_view
    except ImportError as error:
        print(f"{PROGRAM}: {NO_ROS} ({error})", file=sys.stderr)
        return 2
    return node_view.main(given)


def _show_path(path: Path, options: Sequence[str]) -> int:
    from flashvggt_ros.tools import replay, saved_view  # torch and more
    from flashvggt_ros.tools.evaluation.inputs import is_other_file, is_run_folder

    if not path.exists():
        print(f"{PROGRAM}: {path} does not exist", file=sys.stderr)
        return 2
    if saved_view.is_saved(path):
        return saved_view.main(path, options)
    if is_run_folder(path) or is_other_file(path):
        print(f"{PROGRAM}: {path} is neither a run nor a saved map (it has no {saved_view.CLOUD}), "
              "nor a bag (metadata.yaml, .mcap or .db3)", file=sys.stderr)
        return 2
    return replay.main([str(path), "--view", *options])


if __name__ == "__main__":
    sys.exit(main())
