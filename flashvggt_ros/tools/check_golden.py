"""Checks the model against golden outputs: small random models with known results.

    python -m flashvggt_ros.tools.check_golden FILE... [--output OUT.safetensors]

Prints the relative rms error of each tensor; the exit status is 1 above the limit. ``--output``
(one FILE) writes our pose_enc, depth and depth_conf.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from flashvggt_ros.model.flashvggt import FlashVGGT, ModelConfig

LIMIT = 2e-6
RESULTS = ("pose_enc", "depth", "depth_conf")


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """A model, its input, and what it must compute; ``expected`` by name of the tensor."""

    model: FlashVGGT
    images: Tensor
    chunk_size: int | None
    keyframes: list[int] | None
    expected: dict[str, Tensor]


def read_golden(path: Path) -> Golden:
    """Read a golden file; its weights are loaded strictly."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    weights = _below("weights.", tensors)
    config = model_config(json.loads(metadata["config"]), weights)
    model = FlashVGGT(config).eval()
    model.load_state_dict(weights, strict=True)
    is_single = config.variant == "single"
    chunk_size = json.loads(metadata.get("chunk_size", "null"))
    keyframes = json.loads(metadata.get("keyframe_indices", "null"))
    missing = [name for name in RESULTS if f"expected.{name}" not in tensors]
    if missing:
        raise ValueError(f"{path} does not say what to expect of {', '.join(missing)}")
    return Golden(
        model=model,
        images=tensors["images_u8"].float() / 255,
        chunk_size=None if is_single else chunk_size,
        keyframes=keyframes if is_single else None,
        expected=_below("expected.", tensors) | {
            f"intermediate.{name}": tensor
            for name, tensor in _below("intermediate.", tensors).items()
        },
    )


def model_config(sizes: dict[str, Any], weights: dict[str, Tensor]) -> ModelConfig:
    """Read the sizes off a golden's metadata, and off its weights where that leaves some out."""
    width = sizes["embed_dim"]
    encoder = "aggregator.patch_embed."
    return ModelConfig(
        revision=f"r{sizes['rev']}",
        variant=sizes["variant"],
        patch_size=sizes["patch_size"],
        image_width=sizes["img_size"],
        position_grid=sizes["img_size"] // sizes["patch_size"],
        width=width,
        encoder_depth=sizes["dino_depth"],
        encoder_heads=sizes["dino_heads"],
        encoder_mlp_ratio=len(weights[encoder + "blocks.0.mlp.fc1.bias"]) / width,
        encoder_registers=weights[encoder + "register_tokens"].shape[1],
        depth=sizes["depth"],
        heads=sizes["num_heads"],
        mlp_ratio=sizes["mlp_ratio"],
        registers=sizes["num_register_tokens"],
        taps=tuple(sizes["intermediate_layer_idx"]),
        descriptor_range=(
            sizes.get("global_start_idx", 0), sizes.get("global_end_idx", sizes["depth"] - 1)
        ),
        kv_downfactor=sizes["kv_downfactor"],
        keyframe_every=sizes["keyframe_every"],
        rope_base=sizes["rope_freq"],
        layer_scale=sizes["init_values"],
        camera_depth=sizes["cam_trunk_depth"],
        camera_heads=sizes["cam_heads"],
        camera_mlp_ratio=len(weights["camera_head.trunk.0.mlp.fc1.bias"]) / (2 * width),
        depth_features=sizes["dpt_features"],
        depth_channels=tuple(sizes["dpt_out_channels"]),
    )


def run_golden(golden: Golden) -> dict[str, Tensor]:
    """Return what our model computes, under the golden's names."""
    model, images = golden.model, golden.images
    with torch.inference_mode():
        whole = model(images, golden.chunk_size, golden.keyframes)
        features = model.encode_chunk(
            images[: golden.chunk_size], model.new_cache(), golden.keyframes
        )
    return {
        "pose_enc": whole.pose_enc,
        "depth": whole.depth,
        "depth_conf": whole.depth_conf,
        "intermediate.dino_patchtokens_first_call": features.encoder.flatten(0, 1),
        "intermediate.agg_last_first_call": features.taps[-1],
    }


def relative_rms(ours: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference over that of ``expected``; infinite for other shapes."""
    if ours.shape != expected.shape:
        return float("inf")
    difference = (ours.double() - expected.double()).square().mean().sqrt()
    return float(difference / expected.double().square().mean().sqrt())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="check_golden", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, help="where to write our results (one FILE only)")
    options = parser.parse_args(arguments)
    if options.output and len(options.files) > 1:
        parser.error("--output needs exactly one FILE")
    is_good = True
    for path in options.files:
        golden = read_golden(path)
        results = run_golden(golden)
        print(path)
        for name, expected in golden.expected.items():
            error = relative_rms(results[name], expected)
            is_within = error <= LIMIT
            is_good &= is_within
            print(f"  {name:45s} {error:9.2e}  {'ok' if is_within else f'ABOVE {LIMIT:g}'}")
        if options.output:
            save_file({name: results[name].contiguous() for name in RESULTS}, options.output)
    return 0 if is_good else 1


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


if __name__ == "__main__":
    sys.exit(main())
