"""In which types a model computes.

``autocast`` is what upstream does: float32 weights, residual stream and heads, products of the
encoder and the blocks in bfloat16. ``bf16`` gives the same products weights of 16 bits, so that
none is cast again at each use: in bfloat16, but the patches' projection, whose error all layers
see, in float32. On a GPU that projection, residual stream and depth head are in float16, whose
mantissa is that of TF32, in which cuDNN convolves float32 by default, and the camera head's
products in TF32; in bfloat16 either of the first has several times the error. There all products
are in float16 for checkpoints of FLOAT16: no slower, and an eighth of the rounding.
``int8`` is for CPUs, see int8.py. On a CPU the depth head is in bfloat16 in ``int8`` and, for the
node, in ``bf16``, where the CPU gains by it: that errs less than int8 does.
Norms, rotations, layer scales, softmax and the rest of the camera head are in float32 in all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from flashvggt_ros.model.checkpoint import EMBEDDED
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.int8 import check_int8, is_int8_fast, use_int8


@dataclass(frozen=True, slots=True)
class Precision:
    """The types of a model's parts.

    ``weights``: of the products in encoder and blocks, ``patches``: of the first one, of patches.
    ``residual``: of the tokens between blocks. ``cache``: of the descriptors kept.
    ``has_tf32_camera``: whether a GPU multiplies in TF32 in the camera head. ``is_autocast``:
    products in bfloat16 by autocast, ``is_int8``: in 8-bit integers.
    """

    weights: torch.dtype = torch.float32
    patches: torch.dtype = torch.float32
    residual: torch.dtype = torch.float32
    depth_head: torch.dtype = torch.float32
    cache: torch.dtype = torch.float32
    has_tf32_camera: bool = False
    is_autocast: bool = False
    is_int8: bool = False

    @property
    def name(self) -> str:
        """What products are computed in, as parameter predictor.dtype calls it."""
        return "int8" if self.is_int8 else str(self.weights).removeprefix("torch.")

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context that the model has to run in."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.is_autocast)


def _fast_convolutions() -> torch.dtype:
    """Return the type in which this CPU convolves fastest."""
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if has_bfloat16 and has_bfloat16() else torch.float32


PRECISIONS = {
    "fp32": Precision(),
    "autocast": Precision(cache=torch.bfloat16, is_autocast=True),
    "bf16": Precision(weights=torch.bfloat16, cache=torch.bfloat16),
    "int8": Precision(is_int8=True, depth_head=_fast_convolutions()),
}
FLOAT16 = (EMBEDDED,)
"""Checkpoints that are stored in float16 and whose activations stay below its largest number."""


def precision_for(name: str, device: torch.device, checkpoint: str = "") -> Precision:
    """Return what ``predictor.dtype`` means on a device for a checkpoint, by name.

    Raises ValueError as check_int8 does.
    """
    if name == "auto":
        name = "int8" if is_int8_fast(device) else "float32"
        name = "bfloat16" if is_bfloat16_fast(device) else name
    if name == "int8":
        check_int8(device)
    known = {"float32": "fp32", "bfloat16": "bf16"}
    precision = precision_on(device, known.get(name, name), checkpoint)
    if name == "bfloat16" and device.type == "cpu":
        precision = replace(precision, depth_head=_fast_convolutions())
    return precision


def precision_on(device: torch.device, name: str, checkpoint: str = "") -> Precision:
    """Look up one of PRECISIONS for a device and a checkpoint; KeyError for another name."""
    precision = PRECISIONS[name]
    if name != "bf16" or device.type != "cuda":
        return precision
    on_gpu = replace(
        precision, patches=torch.float16, residual=torch.float16, depth_head=torch.float16,
        has_tf32_camera=True,
    )
    if checkpoint not in FLOAT16:
        return on_gpu
    return replace(on_gpu, weights=torch.float16, cache=torch.float16)


def is_bfloat16_fast(device: torch.device) -> bool:
    """Whether nothing is faster there: on GPUs that have it, and on CPUs with AMX.

    Those multiply whole tiles of matrices. Other CPUs that have instructions for bfloat16 are
    faster with 8-bit integers.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and has_tiles is not None and has_tiles()


def set_precision(model: FlashVGGT, precision: Precision) -> None:
    """Cast a model's weights, in place, and tell it the type of its residual stream.

    Weights cast down have lost their lower bits: another precision later does not bring them back.
    Raises ValueError for int8 where it cannot be had.
    """
    aggregator = model.aggregator
    patches = aggregator.patch_embed.patch_embed.proj
    for module in aggregator.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(precision.patches if module is patches else precision.weights)
    aggregator.residual_dtype = precision.residual
    model.depth_head.use_type(precision.depth_head)
    model.camera_head.has_tf32 = precision.has_tf32_camera
    if precision.is_int8:
        use_int8(model)
