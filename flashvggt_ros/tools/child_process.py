"""A program that runs beside ours: started, watched, and stopped as a user would, with Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

STOP_TIMEOUT_S = 20.0
DOMAINS = range(50, 100)  # their ports stay below those that systems hand out


class ChildError(RuntimeError):
    """A child that ended early or badly; the text names it, its exit code and its last words."""


class Child:
    """One of our commands as a process of its own, its output in ``log``.

    Leaving the ``with`` block stops it. A terminal's Ctrl-C does not reach it: we stop it then.
    """

    def __init__(
        self, command: str, module: str, arguments: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        """Start the installed ``command``, or ``module`` of the source tree where there is none."""
        self.name = command
        self._log = log
        beside = Path(sys.executable).with_name(command)
        installed = str(beside) if beside.is_file() else shutil.which(command)
        program = [installed] if installed else [sys.executable, "-m", module]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*program, *arguments], env=dict(env), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process, which may be one that has started the program again in its place."""
        return self._process.pid

    def kill(self) -> None:
        """End it without a warning, as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def has_ended(self) -> bool:
        """Say whether it ended well; raises ChildError when it ended badly."""
        code = self._process.poll()
        if code:
            raise ChildError(self._words(f"ended with exit code {code}"))
        return code == 0

    def check_running(self) -> None:
        """Raise ChildError when it has ended."""
        if self._process.poll() is not None:
            raise ChildError(self._words(f"ended early, exit code {self._process.returncode}"))

    def stop(self) -> None:
        """Send SIGINT and wait for the end; raises ChildError unless its exit code is 0."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ChildError(self._words(f"ignored SIGINT for {STOP_TIMEOUT_S:g} s")) from None
        if code:
            raise ChildError(self._words(f"stopped with exit code {code}"))

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
            return
        try:
            self.stop()
        except ChildError as second:
            print(second, file=sys.stderr)

    def _words(self, event: str) -> str:
        last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        return "\n  ".join([f"{self.name} {event}; the end of {self._log}:", *last])


def loopback_environment() -> dict[str, str]:
    """Our environment, on loopback and in a ROS domain that nobody else uses."""
    env = {**os.environ, "ROS_DOMAIN_ID": str(_free_domain()), "PYTHONUNBUFFERED": "1",
           "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if env.get("ROS_DISTRO") == "humble":  # it does not know the discovery range yet
        env["ROS_LOCALHOST_ONLY"] = "1"
    return env


def _free_domain() -> int:
    """Find a domain whose first ports are free (RTPS: 7400 + 250 times the domain)."""
    offset = os.getpid() % len(DOMAINS)
    for domain in (*DOMAINS[offset:], *DOMAINS[:offset]):
        ports = [7400 + 250 * domain + number for number in (0, 10, 11)]
        if all(_is_free(port) for port in ports):
            return domain
    raise ChildError(f"no free ROS_DOMAIN_ID in {DOMAINS.start} to {DOMAINS.stop - 1}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
