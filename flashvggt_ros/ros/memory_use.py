"""How much memory the process holds."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from flashvggt_ros.ros.gpu import cuda_in_use

STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory of the process, and what torch holds of the GPU, 0 where it uses none."""

    host_bytes: int
    gpu_bytes: int


def memory_use() -> MemoryUse:
    """Return what is held now; never imports torch, nor makes it begin to use a GPU."""
    return MemoryUse(_resident_bytes(), _gpu_bytes())


def _resident_bytes() -> int:
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):  # no Linux: the most that it ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def _gpu_bytes() -> int:
    cuda = cuda_in_use()
    return int(cuda.memory_reserved()) if cuda is not None else 0
