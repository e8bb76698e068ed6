"""How the model's CPU threads wait for each other."""

from __future__ import annotations

import os
import sys


def let_idle_threads_sleep() -> bool:
    """Let waiting OpenMP threads sleep instead of spin; return whether that will take effect.

    Call it before torch is imported, which reads the setting once. Spinning threads starve the work
    they wait for as soon as another process is busy; ``python -m benchmarks.cpu_threads`` shows by
    how much. A value of OMP_WAIT_POLICY that is set already is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return "torch" not in sys.modules
