"""Make the embedded checkpoint anew, from photographs to the table of scores.

    python -m training.reproduce --out OUT [--gpus 2]

Fetches the photographs, trains in four stages (from scratch; on longer sequences; twice at falling
rates), each from the weights of the one before, writes the mean of the last two as
OUT/flashvggt-mini.safetensors and scores it. Stages whose weights are there already are not run
again. An hour and a half on two H200 GPUs; on slower ones give more time with ``--patience``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from training.checkpoints import join_parts, mean_of

_REFINING = ("--muon-rate", "2e-3", "--adam-rate", "6e-4", "--frames", "1536")
STAGES = (
    ("1", "scratch", 1440, ("--muon-rate", "6e-3", "--adam-rate", "1.5e-3")),
    ("2", "continue", 1440, ("--muon-rate", "3e-3", "--adam-rate", "7.5e-4")),
    ("3", "refine", 1420, _REFINING),
    ("4", "refine", 1060, _REFINING),
)
"""Folder, schedule, seconds on two H200, and options of training.train."""
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
    wholes: list[Path] = []
    for seed, (name, schedule, seconds, rates) in enumerate(STAGES):
        folder, whole = options.out / name, options.out / name / f"{NAME}.safetensors"
        if not whole.exists():
            given = ("--init", str(wholes[-1])) if wholes else ()
            how = _tiny() if options.tiny else (
                "--schedule", schedule, "--compile", "--seconds", str(seconds * options.patience),
                "--textures", str(options.textures), *rates)
            _run("training.train", *how, *given, "--seed", str(seed), "--out", str(folder),
                 gpus=0 if options.tiny else options.gpus)
            join_parts(sorted(folder.glob(f"{NAME}.?.safetensors")), whole)
        wholes.append(whole)
    out = options.out / f"{NAME}.safetensors"
    print(f"{mean_of(wholes[-2:], out)}  {out}")
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
