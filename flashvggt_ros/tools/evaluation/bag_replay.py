"""The replay of one bag as a process of its own: its memory is its own, and so is its end.

Started as a program, this module is flashvggt_replay, which says on a line how far it is.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flashvggt_ros.tools import replay
from flashvggt_ros.tools.child_process import Child, ChildError
from flashvggt_ros.tools.replay_options import PROGRAM

ROOT = Path(__file__).resolve().parents[3]  # the package's folder is in it
POLL_S = 0.1
LINE_PERIOD_S = 0.2
PROGRESS = re.compile(r"^progress (\d+) of (\d+)$", re.MULTILINE)
TAIL = 20_000  # of a log, in which its last words stand [bytes]

Watch = Callable[[int, int], object]
"""Is told how many images were read, and how many there are."""


def watch_nothing(read: int, total: int) -> None:
    """Take notice of nothing."""


def replay_bag(arguments: Sequence[str], log: Path, watch: Watch = watch_nothing) -> None:
    """Run flashvggt_replay with ``arguments``; what it says goes to ``log``.

    Raises ValueError with its last words where it does not map the bag whole.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    child = Child("flashvggt_replay_of_evaluate", __name__, arguments, env, log)
    try:
        while not child.has_ended():
            steps = PROGRESS.findall(_tail(log))
            if steps:
                watch(*map(int, steps[-1]))
            time.sleep(POLL_S)
    except ChildError as error:
        code = str(error).partition(";")[0].rpartition(" ")[2]
        raise ValueError(f"{_last_words(log, code)} (log: {log})") from error
    finally:
        child.kill()


def _last_words(log: Path, code: str) -> str:
    if code.startswith("-"):
        return f"the replay was killed by signal {code[1:]}: is there too little memory?"
    words = [line for line in _tail(log).splitlines()
             if line.strip() and not PROGRESS.match(line) and not line.startswith("written to")]
    last = words[-1] if words else "it said nothing"
    return f"exit code {code}: {last.removeprefix(f'{PROGRAM}: ')}"


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        return file.read().decode("utf-8", errors="replace")


class ProgressLines:
    """Says how far a replay is, some times a second; ends it where nobody listens any more."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._read = 0
        self._said_s = -LINE_PERIOD_S
        self._parent = os.getppid()

    def update(self) -> None:
        """Count an image."""
        self._read += 1
        if time.monotonic() - self._said_s >= LINE_PERIOD_S or self._read == self._total:
            self._said_s = time.monotonic()
            print(f"progress {self._read} of {self._total}", flush=True)
            if os.getppid() != self._parent:
                signal.raise_signal(signal.SIGTERM)  # shells start their jobs deaf to SIGINT


@contextmanager
def _progress_lines(total: int) -> Iterator[ProgressLines]:
    yield ProgressLines(total)


if __name__ == "__main__":
    sys.exit(replay.main(show_progress=_progress_lines))
