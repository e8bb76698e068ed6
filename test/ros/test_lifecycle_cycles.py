"""The short form of what the soak does at length: nothing is left behind by a life of the node."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_memory_threads_and_shared_memory_come_back_after_cleanup(tmp_path: Path) -> None:
    found = tmp_path / "cycles.json"
    done = subprocess.run(
        [sys.executable, "-m", "flashvggt_ros.ros.lifecycle_cycles", "--cycles", "3",
         "--json", str(found)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cycles = json.loads(found.read_text())
    print(done.stdout)
    assert cycles["frames_mapped"] == [8] * 3
    assert cycles["growth_mb"] < 50
    assert cycles["new_threads"] <= 0
    assert cycles["new_shared_memory"] <= 0
