"""The node, taken up and down again and again: nothing stays behind."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.child_process import Child
from flashvggt_ros.tools.soak_checks.live_node import POLL_S, own_environment

CYCLES, LEAST_CYCLES = 20, 3
GROWTH_MB = 50.0


def check_lifecycle(part: float) -> Iterator[Finding]:
    """Configure, activate, map, deactivate and clean up in one process; see lifecycle_cycles."""
    cycles = max(LEAST_CYCLES, round(part * CYCLES))
    with tempfile.TemporaryDirectory(prefix="soak_lifecycle_") as name:
        report, log = Path(name, "cycles.json"), Path(name, "cycles.log")
        arguments = ["--cycles", str(cycles), "--json", str(report)]
        module = "flashvggt_ros.ros.lifecycle_cycles"
        with Child("lifecycle_cycles", module, arguments, own_environment(), log) as child:
            while not child.has_ended():
                time.sleep(POLL_S)
        yield from findings(cycles, json.loads(report.read_text("utf-8")))


def findings(cycles: int, found: dict[str, Any]) -> Iterator[Finding]:
    """Return what lifecycle_cycles found, with the limits."""
    yield Finding(f"{cycles} lives of a node: least images mapped in one",
                  min(found["frames_mapped"]), 8, "", is_at_most=False)
    yield Finding(f"{cycles} lives: memory growth", found["growth_mb"], GROWTH_MB, "MB")
    yield Finding(f"{cycles} lives: threads left", found["new_threads"], 0, "")
    yield Finding(f"{cycles} lives: shared memory left", found["new_shared_memory"], 0, "")
