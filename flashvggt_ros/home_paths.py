"""Paths as people write them, with ~ for a home."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Put the home in for ``~`` or ``~user``, as a shell does; unknown users' stay as they are."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of Path raises for unknown users
