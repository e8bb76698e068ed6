"""What a chunk of eight frames costs on the CPU, with other processes busy, and without.

Run as ``python -m benchmarks.cpu_threads``. Each measurement is a process of its own, because torch
reads the wait policy of OpenMP once. Random weights of the embedded model's size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

FRAMES, HEIGHT, WIDTH = 8, 168, 224


def main() -> None:
    """Print the median time of a chunk for each policy, idle and beside busy processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="chunks of each [count]")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(chunk_time(options.repeats))
        return
    for busy in (0, 1):
        spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                    for _ in range(busy)]
        try:
            for policy in ("ACTIVE", "PASSIVE", "unset"):
                seconds = measured(policy, options.repeats)
                print(f"{busy} busy processes, OMP_WAIT_POLICY {policy}: {seconds:.2f} s a chunk")
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()


def measured(policy: str, repeats: int) -> float:
    """Median seconds of a chunk in a fresh process with ``policy``."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if policy != "unset":
        environment["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, "-m", "benchmarks.cpu_threads", "--child", "--repeats", str(repeats)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def chunk_time(repeats: int) -> float:
    """Median seconds of one chunk in this process, the first left out."""
    import torch

    from flashvggt_ros.model.checkpoint import UNTRAINED, resolve_checkpoint

    model, _ = resolve_checkpoint(UNTRAINED)
    images = torch.rand(FRAMES, 3, HEIGHT, WIDTH)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model.forward_chunk(images, model.new_cache())
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
