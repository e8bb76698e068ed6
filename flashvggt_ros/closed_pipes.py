"""What a command says where nobody reads on, as in ``flashvggt_evaluate ... | head``."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import wraps
from io import StringIO
from typing import Any, ParamSpec

P = ParamSpec("P")


def silent_when_unread(main: Callable[P, int]) -> Callable[P, int]:
    """Let a command finish in silence once the reader of its stdout or stderr is gone.

    Its files are written and its exit code is as if all had been read. A signal, as it ends
    other tools, would take the results along.
    """
    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        before = sys.stdout, sys.stderr
        outputs = _Output(sys.stdout), _Output(sys.stderr)
        sys.stdout, sys.stderr = outputs  # type: ignore[assignment]
        try:
            return main(*args, **kwargs)
        finally:
            for output in outputs:
                output.flush()
            sys.stdout, sys.stderr = before

    return run


class _Output:
    """A text stream that leads nowhere once its pipe or terminal is gone, or if there is none."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream if stream is not None else StringIO()  # None: started with >&-

    def write(self, text: str) -> int:
        """Write, and say how much."""
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._lead_nowhere(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lead_nowhere(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lead_nowhere(self, error: OSError) -> None:
        """Raise the error where it says something else than that nobody reads."""
        is_terminal_gone = error.errno == errno.EIO and stat.S_ISCHR(
            os.fstat(self._stream.fileno()).st_mode
        )
        if error.errno != errno.EPIPE and not is_terminal_gone:
            raise error
        lead_nowhere(self._stream.fileno())


def lead_nowhere(output: int) -> None:
    """Let what is written to a file descriptor from now on be lost, without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)
