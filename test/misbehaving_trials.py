"""Trials that go wrong, in a module that a child process can import."""

import os
import signal
from random import Random

from flashvggt_ros.tools.soak_checks.trial import InsaneError, Trial

WRONG_AT = 3


def misbehave(wrong: str) -> Trial:
    """A trial that goes wrong once, at number WRONG_AT of its process; "exit": each time.

    The first call of a process is for practice.
    """
    number = iter(range(-1, 100))

    def trial(random: Random) -> bool:
        is_time = next(number) == WRONG_AT
        if wrong == "exit":
            os._exit(7)
        if is_time and wrong == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if is_time and wrong == "raise":
            raise InsaneError("wrong")
        if is_time and wrong == "memory":
            bytearray(b"x") * 300_000_000
        while is_time and wrong == "hang":
            signal.pause()
        return random.random() < 0.5

    return trial
