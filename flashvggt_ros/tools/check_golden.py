"""Checks the model against golden outputs: small random models with known results.

    python -m flashvggt_ros.tools.check_golden FILE... [--output OUT.safetensors]

Prints the relative rms error of each tensor; the exit status is 1 above the limit, 2 for a file
that cannot be read or says too little. ``--output`` (one FILE) writes our pose_enc, depth and
depth_conf; only then may FILE leave out what to expect of them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flashvggt_ros.model.checkpoint import without_ignored
from flashvggt_ros.model.flashvggt import PRESETS, FlashVGGT, ModelConfig

LIMIT = 2e-6
RESULTS = ("pose_enc", "depth", "depth_conf")


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """A model, its input (N, 3, H, W) or (B, N, 3, H, W), and what it must compute.

    ``expected`` by name of the tensor; it may hold more than we compute.
    """

    model: FlashVGGT
    images: Tensor
    chunk_size: int | None
    keyframes: list[int] | None
    expected: dict[str, Tensor]


def read_golden(path: Path) -> Golden:
    """Read a golden file; its weights are loaded strictly.

    Raises ValueError for what is missing or makes no sense, OSError or SafetensorError for a file
    that is not there or damaged.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    weights = without_ignored(_below("weights.", tensors), path)
    try:
        config = model_config(json.loads(metadata["config"]), weights)
        model = FlashVGGT(config).eval()
        model.load_state_dict(weights, strict=True)
        images = tensors["images_u8"].float() / 255
        return Golden(
            model=model,
            images=images,
            chunk_size=_chunk_size(metadata) if config.variant == "stream" else None,
            keyframes=_keyframes(metadata) if config.variant == "single" else None,
            expected=_below("expected.", tensors) | {
                name: tensor for name, tensor in tensors.items() if name.startswith("intermediate.")
            },
        )
    except KeyError as error:
        raise ValueError(f"it does not say {error}") from error
    except (TypeError, RuntimeError) as error:  # sizes of a wrong type, weights that do not fit
        raise ValueError(str(error)) from error


def model_config(sizes: dict[str, Any], weights: dict[str, Tensor]) -> ModelConfig:
    """Read off the weights what their shapes say, and the rest off a golden's metadata.

    Where that leaves out what upstream has a default for, it is upstream's. Raises KeyError.
    """
    revision = "r" + str(sizes["rev"]).lower().removeprefix("r")
    released = PRESETS["flashvggt-r2"]
    encoder = "aggregator.patch_embed."
    width = weights["aggregator.camera_token"].shape[-1]
    patch_size = weights[encoder + "patch_embed.proj.weight"].shape[-1]
    grid = math.isqrt(weights[encoder + "pos_embed"].shape[1] - 1)
    first, last = released.descriptor_range
    channels = [len(weights[f"depth_head.projects.{i}.bias"]) for i in range(4)]
    return ModelConfig(
        revision=revision,
        variant=str(sizes["variant"]).lower(),
        patch_size=patch_size,
        image_width=grid * patch_size,
        position_grid=grid,
        width=width,
        encoder_depth=_blocks(encoder + "blocks.", weights),
        encoder_heads=sizes["dino_heads"],
        encoder_mlp_ratio=len(weights[encoder + "blocks.0.mlp.fc1.bias"]) / width,
        encoder_registers=weights[encoder + "register_tokens"].shape[1],
        depth=_blocks("aggregator.frame_blocks.", weights),
        heads=width // len(weights["aggregator.frame_blocks.0.attn.q_norm.weight"]),
        mlp_ratio=len(weights["aggregator.frame_blocks.0.mlp.fc1.bias"]) / width,
        registers=weights["aggregator.register_token"].shape[2],
        taps=tuple(sizes["intermediate_layer_idx"]),
        descriptor_range=(sizes.get("global_start_idx", first), sizes.get("global_end_idx", last)),
        kv_downfactor=sizes["kv_downfactor"],
        keyframe_every=sizes.get("keyframe_every", released.keyframe_every),
        rope_base=sizes.get("rope_freq", released.rope_base),
        camera_depth=_blocks("camera_head.trunk.", weights),
        camera_heads=sizes["cam_heads"],
        camera_mlp_ratio=len(weights["camera_head.trunk.0.mlp.fc1.bias"]) / (2 * width),
        depth_features=len(weights["depth_head.scratch.layer1_rn.weight"]),
        depth_channels=(channels[0], channels[1], channels[2], channels[3]),
    )


def run_golden(golden: Golden) -> dict[str, Tensor]:
    """Return what our model computes, under the golden's names."""
    model, images = golden.model, golden.images
    first = images if golden.chunk_size is None else images.split(golden.chunk_size, dim=-4)[0]
    with torch.inference_mode():
        whole = model(images, golden.chunk_size, golden.keyframes)
        features = model.encode_chunk(first, model.new_cache(), golden.keyframes)
    return {
        "pose_enc": whole.pose_enc,
        "depth": whole.depth,
        "depth_conf": whole.depth_conf,
        "intermediate.dino_patchtokens_first_call": features.encoder.flatten(0, 1),
        "intermediate.agg_last_first_call": features.last,
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
    status = 0
    for path in options.files:
        try:
            golden = read_golden(path)
            missing = [name for name in RESULTS if name not in golden.expected]
            if missing and not options.output:
                raise ValueError(f"it does not say what to expect of {', '.join(missing)}")
            results = run_golden(golden)
        except (OSError, SafetensorError, ValueError) as error:
            print(f"check_golden: {path}: {error}", file=sys.stderr)
            status = 2
            continue
        print(path)
        if not _report(results, golden.expected):
            status = max(status, 1)
        if options.output:
            save_file({name: results[name].contiguous() for name in RESULTS}, options.output)
    return status


def _report(results: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Print the error of each tensor; tell whether all are within the limit."""
    is_good = True
    for name, tensor in expected.items():
        if name not in results:
            print(f"  {name:45s}            not compared")
            continue
        error = relative_rms(results[name], tensor)
        is_within = error <= LIMIT
        is_good &= is_within
        print(f"  {name:45s} {error:9.2e}  {'ok' if is_within else f'ABOVE {LIMIT:g}'}")
    return is_good


def _chunk_size(metadata: dict[str, str]) -> int | None:
    """Read the number of frames of a chunk; None where all are one chunk."""
    said = json.loads(metadata.get("chunk_size", "null"))
    if said is not None and (type(said) is not int or said < 1):
        raise ValueError(f"chunk_size is {said!r}: it must be null or a positive whole number")
    return said


def _keyframes(metadata: dict[str, str]) -> list[int] | None:
    """Read the keyframes, of which upstream has a row per sequence; None: the model's choice."""
    said = json.loads(metadata.get("keyframe_indices", "null"))
    rows = said if isinstance(said, list) and said and isinstance(said[0], list) else [said]
    if rows == [None]:
        return None
    if len(rows) > 1 or not isinstance(rows[0], list) or {type(i) for i in rows[0]} != {int}:
        raise ValueError(f"keyframe_indices are {said!r}: they must be null or one list of frames")
    return rows[0]


def _blocks(prefix: str, weights: dict[str, Tensor]) -> int:
    """Count the blocks of a stack."""
    return len({name.removeprefix(prefix).split(".")[0] for name in _named(prefix, weights)})


def _named(prefix: str, tensors: dict[str, Tensor]) -> list[str]:
    return [name for name in tensors if name.startswith(prefix)]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensors[name] for name in _named(prefix, tensors)}


if __name__ == "__main__":
    sys.exit(main())
