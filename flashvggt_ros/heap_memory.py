"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import os

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameters of glibc's mallopt
KEPT = 1 << 28  # bytes: blocks up to this size are taken from freed ones, of which so many are kept


def keep_freed_memory() -> bool:
    """Let arrays of megabytes reuse freed memory; return whether that takes effect.

    By default glibc gives it back to the system and takes it anew, page by page, each of which the
    system clears: a few percent of what the model costs on a CPU. Where glibc's own environment
    variables set either limit they are kept; other C libraries are left alone.
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in names):
        return False
    return all(mallopt(limit, KEPT) == 1 for limit in (MMAP_THRESHOLD, TRIM_THRESHOLD))
