"""One trial of a fuzzed input, and many of them in a process of their own, watched."""

from __future__ import annotations

import logging
import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from flashvggt_ros.closed_pipes import lead_nowhere

Trial = Callable[[Random], bool]
"""Break something at random and use it: whether it was accepted. Raises where that went wrong."""

MakeTrial = Callable[[], Trial]
"""Make a trial in the process that runs it; must be a function of a module."""

HANG_S = 60.0  # without a result of one trial
ADDRESS_SPACE = 8 << 30  # beyond what the process has when the trials begin [bytes]
TOLD = 5  # faults that are told of one kind


class InsaneError(AssertionError):
    """What came out of an accepted input makes no sense."""


def require(holds: bool, otherwise: str) -> None:
    """Raise InsaneError unless something holds."""
    if not holds:
        raise InsaneError(otherwise)


@dataclass(slots=True)
class Outcome:
    """What became of ``trials``: accepted, refused, and ``faults`` by the trial's number.

    ``memory``: most that one took [bytes]; ``seconds``: most CPU time of one.
    """

    trials: int = 0
    accepted: int = 0
    memory: int = 0
    seconds: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)


def run_trials(make: MakeTrial, count: int) -> Outcome:
    """Run trials number 0 to ``count`` - 1 in a child process; its end or hanging is a fault.

    Each has a Random of its own that is seeded with its number. After a fault that ends the process
    the next trial runs in a new one.
    """
    outcome = Outcome()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.fuzzing"])
    while outcome.trials < count:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_run, args=(make, outcome.trials, count, theirs))
        child.start()
        theirs.close()
        is_heard = _listen(ours, outcome)
        if is_heard:
            outcome.faults[outcome.trials] = f"no answer for {HANG_S:g} s"
            child.kill()
        child.join()
        if outcome.trials < count:
            outcome.faults.setdefault(outcome.trials, f"the process ended, code {child.exitcode}")
            outcome.trials += 1
    return outcome


def _listen(results: Connection, outcome: Outcome) -> bool:
    """Take in results until there are no more; True where they stopped coming."""
    while results.poll(HANG_S):
        try:
            accepted, memory, seconds, fault = results.recv()
        except EOFError:
            return False
        if fault:
            outcome.faults[outcome.trials] = fault
        outcome.trials += 1
        outcome.accepted += accepted
        outcome.memory = max(outcome.memory, memory)
        outcome.seconds = max(outcome.seconds, seconds)
    return True


def _run(make: MakeTrial, first: int, count: int, results: Connection) -> None:
    trial = make()
    logging.lastResort = None  # thousands of refusals
    lead_nowhere(2)  # libpng and libjpeg speak for themselves
    _limit_memory()
    measured(trial, first)  # brings decoders into RAM, which is not that one's fault
    for number in range(first, count):
        results.send(measured(trial, number))
    results.close()


def measured(trial: Trial, number: int) -> tuple[bool, int, float, str]:
    """Run one trial: whether it was accepted, memory [bytes], CPU time [s], and its fault."""
    accepted, fault = False, ""
    resident = _begin_peak()
    begun = time.process_time()
    try:
        accepted = trial(Random(number))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        fault = f"{type(error).__name__}: {str(error)[:200]} ({place})"
    seconds = time.process_time() - begun
    return accepted, _status("VmHWM") - resident, seconds, fault


def _limit_memory() -> None:
    """Let memory beyond all reason be a MemoryError, not the end of other processes."""
    limit = _status("VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _begin_peak() -> int:
    """Begin to watch the peak of the memory in RAM anew; return what is there now [bytes]."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _status("VmRSS")


def _status(name: str) -> int:
    """Return a size that /proc tells of this process [bytes]; Linux only."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")
