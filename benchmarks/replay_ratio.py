"""How much faster replays are than at an earlier commit, in turn on this machine.

Run as ``python -m benchmarks.replay_ratio REVISION BAG...`` in a clone, on an idle machine. Both
versions run from their sources with this environment's Python and their own defaults; nothing is
installed. Arguments of flashvggt_replay follow ``--``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print frames/s and CPU seconds of each run, the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="commit to compare with")
    parser.add_argument("bags", nargs="+", type=Path, help="rosbag2 folders or files")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each [count]")
    parser.add_argument("--replay", nargs=argparse.REMAINDER, default=[], metavar="ARGUMENT",
                        help="all that follows goes to flashvggt_replay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        git("worktree", "add", "--quiet", "--detach", str(before), options.revision)
        try:
            for bag in options.bags:
                compare(bag.resolve(), before, Path(folder), options.repeats, options.replay)
        finally:
            git("worktree", "remove", "--force", str(before))


def compare(bag: Path, before: Path, folder: Path, repeats: int, arguments: list[str]) -> None:
    """Replay a bag by both versions in turn and print what came of it."""
    runs: dict[str, list[tuple[float, float]]] = {"before": [], "now": []}
    for number in range(repeats):
        for name, tree in (("before", before), ("now", HERE)):
            run = replay(bag, tree, folder / f"{name}{number}", arguments)
            runs[name].append(run)
            print(f"{bag.name} {name}: {run[0]:.2f} frames/s, {run[1]:.1f} s of CPU", flush=True)
    (old, old_cpu), (new, new_cpu) = (
        [statistics.median(column) for column in zip(*runs[name], strict=True)] for name in runs
    )
    print(f"{bag.name}: {new / old:.2f} times as fast ({old:.2f} to {new:.2f} frames/s), "
          f"{old_cpu / new_cpu:.2f} times less CPU ({old_cpu:.1f} to {new_cpu:.1f} s)")


def replay(bag: Path, tree: Path, output: Path, arguments: list[str]) -> tuple[float, float]:
    """Return frames per second, writing left out, and the CPU seconds of the whole process."""
    command = [sys.executable, "-m", "flashvggt_ros.tools.replay", str(bag), "--output",
               str(output), *arguments]
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True,
                   capture_output=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
    report = json.loads((output / "report.json").read_text())
    return float(report["frames_per_second"]), seconds


def git(*arguments: str) -> None:
    """Run git in this clone."""
    subprocess.run(["git", "-C", str(HERE), *arguments], check=True)


if __name__ == "__main__":
    main()
