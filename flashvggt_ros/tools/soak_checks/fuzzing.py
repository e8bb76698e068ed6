"""Broken messages and files by the thousand: no crash, no hang, no memory beyond the bound."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.soak_checks.bag_trials import bag_trial
from flashvggt_ros.tools.soak_checks.checkpoint_trials import checkpoint_trial
from flashvggt_ros.tools.soak_checks.map_trials import export_trial, map_trial, save_sound_map
from flashvggt_ros.tools.soak_checks.message_trials import message_trials
from flashvggt_ros.tools.soak_checks.parameter_trials import parameter_trial
from flashvggt_ros.tools.soak_checks.sound_messages import SOUND
from flashvggt_ros.tools.soak_checks.trial import MakeTrial, Trial, run_trials

MESSAGES = 10_000  # of each type
FILES = 1_000  # of each kind
MESSAGE_MEMORY, FILE_MEMORY = 40.0, 150.0  # most that one may take for a while [MB]
MESSAGE_SECONDS, FILE_SECONDS = 1.0, 10.0  # most CPU time of one [s]
FILE_KINDS: dict[str, Callable[[Path], Trial]] = {
    "saved maps": map_trial,
    "ply, tum and g2o": export_trial,
    "checkpoints": checkpoint_trial,
    "parameter files": parameter_trial,
    "recordings": bag_trial,
}


def check_messages(part: float) -> Iterator[Finding]:
    """Give broken messages of each type to what takes them; a node does it in one thread."""
    for kind in SOUND:
        count = max(1, round(part * MESSAGES))
        yield from _findings(f"{kind} messages", partial(_message_trial, kind), count,
                             MESSAGE_MEMORY, MESSAGE_SECONDS)


def check_files(part: float) -> Iterator[Finding]:
    """Load broken files of each kind."""
    with tempfile.TemporaryDirectory(prefix="soak_files_") as name:
        folder = Path(name)
        save_sound_map(folder / "map")
        for kind, make in FILE_KINDS.items():
            of_map = make in (map_trial, export_trial)
            count = max(1, round(part * FILES))
            yield from _findings(kind, partial(make, folder / "map" if of_map else folder), count,
                                 FILE_MEMORY, FILE_SECONDS)


def _findings(
    what: str, make: MakeTrial, count: int, memory: float, seconds: float
) -> Iterator[Finding]:
    outcome = run_trials(make, count)
    for number, fault in outcome.faults.items():
        print(f"{what}, trial {number}: {fault}", file=sys.stderr)
    refused = outcome.trials - outcome.accepted - len(outcome.faults)
    yield Finding(f"{what}: faults in {outcome.trials}, {refused} refused with a reason",
                  len(outcome.faults), 0, "")
    yield Finding(f"{what}: most memory of one", outcome.memory / 1e6, memory, "MB")
    yield Finding(f"{what}: most CPU time of one", outcome.seconds, seconds, "s")


def _message_trial(kind: str) -> Trial:
    return message_trials()[kind]
