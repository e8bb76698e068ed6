"""Make the embedded checkpoint anew, from photographs to the table of scores.

    python -m training.reproduce --out OUT [--gpus 2]

Fetches the photographs, trains in three stages (from scratch; on longer sequences; at falling
rates), each from the weights of the one before, joins the parts to
OUT/flashvggt-mini.safetensors and scores it. Stages whose weights are there already are not run
again. An hour and a quarter on two H200 GPUs; on slower ones give more time with ``--patience``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from training.checkpoints import join_parts

STAGES = (
    ("scratch", 1440, ("--muon-rate", "6e-3", "--adam-rate", "1.5e-3")),
    ("continue", 1440, ("--muon-rate", "3e-3", "--adam-rate", "7.5e-4")),
    ("refine", 1420, ("--muon-rate", "2e-3", "--adam-rate", "6e-4", "--frames", "1536")),
)
"""Schedule, seconds on two H200, and options of training.train."""
NAME = "flashvggt-mini"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for weights")
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--patience", type=float, default=1.0, help="times the seconds of a stage")
    parser.add_argument("--textures", type=Path, default=Path(".textures"))
    parser.add_argument("--tiny", action="store_true", help="a toy model, on a CPU")
    options = parser.parse_args()
    if not options.tiny and not options.textures.exists():
        _run("training.textures", "--out", str(options.textures))
    weights: Path | None = None
    for seed, (schedule, seconds, rates) in enumerate(STAGES):
        folder = options.out / schedule
        first = folder / f"{NAME}.0.safetensors"
        if not first.exists():
            given = () if weights is None else ("--init", str(weights))
            how = _tiny() if options.tiny else (
                "--schedule", schedule, "--compile", "--seconds", str(seconds * options.patience),
                "--textures", str(options.textures), *rates)
            _run("training.train", *how, *given, "--seed", str(seed), "--out", str(folder),
                 gpus=0 if options.tiny else options.gpus)
        weights = first
    out = options.out / f"{NAME}.safetensors"
    print(f"{join_parts(sorted(folder.glob(f'{NAME}.?.safetensors')), out)}  {out}")
    if not options.tiny:
        _run("training.evaluate", "--checkpoint", str(out), "--textures", str(options.textures))


def _tiny() -> tuple[str, ...]:
    return ("--tiny", "--device", "cpu", "--steps", "1", "--textures", os.devnull)


def _run(module: str, *arguments: str, gpus: int = 0) -> None:
    """Run a module of ours, under torchrun where it is to use several GPUs."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(gpus)] if gpus > 1 else []
    command = [sys.executable, *launcher, "-m", module, *arguments]
    print("$", *command[1:], flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
