"""flashvggt_view: show a map in the browser, of a running node, a bag, a run or a saved map."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.commands import importing
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.viewer.options import PROGRAM, add_node_options, view_parser

ROS_ARGUMENTS = "--ros-args"
NO_ROS = "there is no ROS here to listen to a node with: name a bag, a run or a saved map to show"


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line until SIGINT or SIGTERM; return 0, 1 (nothing mapped) or 2 (misuse)."""
    given = list(sys.argv[1:] if argv is None else argv)
    path = _path_among(given)
    if path:
        return _show_path(expanded(path), given)
    if {"-h", "--help"} & set(given):
        view_parser().parse_args(["--help"])
    try:
        with importing():
            from flashvggt_ros.ros import node_view
    except ImportError as error:
        print(f"{PROGRAM}: {NO_ROS} ({error})", file=sys.stderr)
        return 2
    return node_view.main(given)


def _path_among(given: Sequence[str]) -> str:
    """The word that is neither an option nor an option's value; empty where there is none."""
    with importing():
        from flashvggt_ros.tools.replay_options import add_replay_options  # NumPy and more

    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    parser.add_argument("path", nargs="?", default="")
    add_node_options(parser)
    add_replay_options(parser)
    ours = takewhile(lambda word: word != ROS_ARGUMENTS, given)
    return str(parser.parse_known_args(list(ours))[0].path)


def _show_path(path: Path, given: Sequence[str]) -> int:
    with importing():
        from flashvggt_ros.tools import replay, saved_view  # torch and more
        from flashvggt_ros.tools.evaluation.inputs import is_other_file, is_run_folder

    if not path.exists():
        print(f"{PROGRAM}: {path} does not exist", file=sys.stderr)
        return 2
    if saved_view.is_saved(path):
        return saved_view.main(given)
    if is_run_folder(path) or is_other_file(path):
        print(f"{PROGRAM}: {path} is neither a run nor a saved map (it has no {saved_view.CLOUD}), "
              "nor a bag (metadata.yaml, .mcap or .db3)", file=sys.stderr)
        return 2
    return replay.main(["--view", *given])


if __name__ == "__main__":
    sys.exit(main())
