"""Weights in and out: fp16 parts that are small enough to travel, and the one file we ship."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from flashvggt_ros.model.flashvggt import FlashVGGT, ModelConfig

PART_BYTES = 15_500_000


def save_parts(weights: dict[str, Tensor], config: ModelConfig, folder: Path, stem: str) -> None:
    """Write fp16 weights as STEM.0.safetensors ... of at most PART_BYTES each."""
    parts: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, value in weights.items():
        half = value.detach().to("cpu", torch.float16).contiguous()
        if used + half.nbytes > PART_BYTES:
            parts.append({})
            used = 0
        parts[-1][name] = half
        used += half.nbytes
    for number, part in enumerate(parts):
        save_file(part, folder / f"{stem}.{number}.safetensors", {"config": config.to_json()})


def join_parts(parts: list[Path], out: Path) -> str:
    """Write the parts as one checkpoint with its SHA-256 beside it; return the digest."""
    weights: dict[str, Tensor] = {}
    for part in parts:
        weights |= load_file(part)
    return _write(weights, parts[0], out)


def mean_of(checkpoints: list[Path], out: Path) -> str:
    """Write the mean of checkpoints that grew from the same weights; return its SHA-256.

    Of runs from one starting point the mean is often better than each, above all where rates had
    not yet fallen to the end (model soups, arXiv 2203.05482).
    """
    states = [load_file(path) for path in checkpoints]
    if any(state.keys() != states[0].keys() for state in states):
        raise ValueError("the checkpoints do not have the same weights")
    mean = {name: torch.stack([state[name].float() for state in states]).mean(0).half()
            for name in states[0]}
    return _write(mean, checkpoints[0], out)


def _write(weights: dict[str, Tensor], like: Path, out: Path) -> str:
    with safe_open(like, "pt") as file:
        metadata = file.metadata()
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(sorted(weights.items())), out, metadata)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    out.with_name(out.name + ".sha256").write_text(f"{digest}  {out.name}\n")
    return digest


def load_into(model: FlashVGGT, path: Path) -> None:
    """Load a checkpoint of the same configuration, one file or the first of its parts."""
    paths = [path]
    if path.name.endswith(".0.safetensors"):
        paths = sorted(path.parent.glob(path.name.replace(".0.", ".*.")))
    weights: dict[str, Tensor] = {}
    for part in paths:
        weights |= load_file(part)
    missing, unexpected = model.load_state_dict(
        {name: value.float() for name, value in weights.items()}, strict=False)
    if missing or unexpected:
        raise ValueError(f"{path} does not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")


def main() -> None:
    """Join the parts of a checkpoint, or average checkpoints with --mean: OUT FILE..."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--mean", action="store_true")
    options = parser.parse_args()
    print((mean_of if options.mean else join_parts)(options.files, options.out))


if __name__ == "__main__":
    main()
