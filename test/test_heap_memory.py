"""Whether memory that is freed is used again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Page faults of twenty arrays of 2 MB, one after the other, once the first was there.
PROGRAM = """
import resource, numpy
from flashvggt_ros.heap_memory import keep_freed_memory
print(int(keep_freed_memory()))
for number in range(21):
    if number == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(1 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LIMITS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def run(**limits: str) -> tuple[int, int]:
    kept = {name: value for name, value in os.environ.items() if name not in LIMITS}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=kept | limits, cwd=ROOT, capture_output=True,
        text=True, check=True,
    )
    takes_effect, faults = map(int, done.stdout.split())
    return takes_effect, faults


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_large_arrays_are_made_of_freed_ones() -> None:
    takes_effect, faults = run()
    assert takes_effect
    assert faults < 1024  # 512 pages make one array


def test_the_users_own_limits_are_kept() -> None:
    takes_effect, faults = run(MALLOC_MMAP_THRESHOLD_="100000")
    assert not takes_effect
    assert faults > 8192
