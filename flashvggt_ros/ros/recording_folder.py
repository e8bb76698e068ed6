"""The folder of a recording, in which an earlier one stays until the new one has something."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from types import TracebackType
from typing import TextIO

STATUS = "status.jsonl"
PARTIAL = f".{STATUS}.partial"  # until the first message comes
RESULTS = re.compile(  # of an earlier recording, and the scores of it
    r"(trajectory|odometry)\.tum|map\.ply|status\.jsonl|report\.(json|md|html)"
    r"|(metrics|errors)\.json|evaluation\.png|\.\w+\.jsonl?\.partial"
)


class RecordingFolder:
    """Makes the folder and, in a ``with`` block, writes status lines into it as they come.

    Raises ValueError where it holds anything but an earlier recording and logs, or where another
    recording is written; OSError where nothing can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_begun = False
        path.mkdir(parents=True, exist_ok=True)
        foreign = [entry.name for entry in self._entries()
                   if entry.is_dir() or not RESULTS.fullmatch(entry.name)]
        if foreign:
            raise ValueError(f"--output {path} holds other files ({', '.join(foreign[:3])}): name "
                             "a new folder, or one of an earlier recording")
        self._status_file = self._open()

    def begin(self) -> None:
        """Remove the earlier recording, and its scores; logs stay. Done once, it does no more."""
        if self.has_begun:
            return
        for entry in self._entries():
            if entry.name != PARTIAL:
                entry.unlink()
        (self.path / PARTIAL).rename(self.path / STATUS)
        self.has_begun = True

    def add_status(self, line: str) -> None:
        """Write a line of status.jsonl."""
        self._status_file.write(line + "\n")
        self._status_file.flush()

    def __enter__(self) -> RecordingFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.has_begun:
            (self.path / PARTIAL).unlink(missing_ok=True)
        self._status_file.close()

    def _entries(self) -> list[Path]:
        return sorted(entry for entry in self.path.iterdir() if entry.suffix != ".log")

    def _open(self) -> TextIO:
        """Open the status file under its first name, and keep the folder to this recording."""
        status = self.path / STATUS
        if status.is_file():
            with status.open("rb") as earlier:
                self._lock(earlier.fileno())
        partial = (self.path / PARTIAL).open("a", encoding="utf-8")
        try:
            self._lock(partial.fileno())
        except ValueError:
            partial.close()
            raise
        partial.truncate(0)
        return partial

    def _lock(self, file: int) -> None:
        """Lock a status file; ValueError where another has it. Some file systems cannot."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"--output {self.path} is in use: another recording is written "
                             "there") from None
        except OSError:
            pass
