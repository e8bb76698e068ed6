"""The short form of what the soak does at length: nothing is left behind by a life of the node."""

import json
from pathlib import Path

from flashvggt_ros.ros.lifecycle_cycles import main


def test_memory_threads_and_shared_memory_come_back_after_cleanup(tmp_path: Path) -> None:
    found = tmp_path / "cycles.json"
    assert main(["--cycles", "3", "--json", str(found)]) == 0
    cycles = json.loads(found.read_text())
    assert cycles["frames_mapped"] == [8] * 3
    assert cycles["growth_mb"] < 50
    assert cycles["new_threads"] <= 0
    assert cycles["new_shared_memory"] <= 0
