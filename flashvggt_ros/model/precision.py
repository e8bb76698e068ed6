"""In which types a model computes.

``autocast`` is what upstream does: float32 weights, residual stream and heads, products of the
encoder and the blocks in bfloat16. ``bf16`` gives the same products bfloat16 weights, so that none
is cast again at each use; a residual stream in bfloat16 has several times the error of either.
``int8`` is for CPUs, see int8.py; the depth head is in bfloat16 then where the CPU gains by it.
Norms, rotations, layer scales, softmax and the camera head are in float32 in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.int8 import use_int8


@dataclass(frozen=True, slots=True)
class Precision:
    """The types of a model's parts.

    ``weights``: of the products in encoder and blocks. ``residual``: of the tokens between blocks.
    ``cache``: of the descriptors kept. ``is_autocast``: products in bfloat16 by autocast,
    ``is_int8``: in 8-bit integers.
    """

    weights: torch.dtype = torch.float32
    residual: torch.dtype = torch.float32
    depth_head: torch.dtype = torch.float32
    cache: torch.dtype = torch.float32
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


def set_precision(model: FlashVGGT, precision: Precision) -> None:
    """Cast a model's weights, in place, and tell it the type of its residual stream.

    Weights cast down have lost their lower bits: another precision later does not bring them back.
    Raises ValueError for int8 where it cannot be had.
    """
    aggregator = model.aggregator
    for module in aggregator.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(precision.weights)
    aggregator.residual_dtype = precision.residual
    model.depth_head.use_type(precision.depth_head)
    if precision.is_int8:
        use_int8(model)
