"""How threads of the CPU wait for each other, and how many there are."""

from __future__ import annotations

import os
import sys

import cv2
from threadpoolctl import ThreadpoolController


def let_idle_threads_sleep() -> bool:
    """Let threads sleep, not spin, while they have no work; return whether that will take effect.

    Spinning threads starve the work they wait for as soon as something else is busy. Call it before
    torch is imported: its OpenMP reads the setting once (``python -m benchmarks.cpu_threads`` shows
    how much it matters; a value of OMP_WAIT_POLICY that is set already is kept). OpenBLAS, which
    NumPy and SciPy bring along, cannot sleep between products that follow each other as closely as
    in bundle adjustment; these are small, and two threads need twice the CPU for the same time. So
    it keeps to the thread that asks, unless OPENBLAS_NUM_THREADS says otherwise. OpenCV's threads
    spin as well, and have read how long when it was imported: it leaves half of the processors to
    the model, unless OPENCV_FOR_THREADS_NUM is set.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    if "OPENCV_FOR_THREADS_NUM" not in os.environ:
        cv2.setNumThreads(max(1, cv2.getNumberOfCPUs() // 2))
    return "torch" not in sys.modules
