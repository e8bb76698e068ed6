"""Products of 8-bit integers, for CPUs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flashvggt_ros.model.attention import Attention, Product
from flashvggt_ros.model.flashvggt import FlashVGGT

LARGEST = 127  # of a weight, whose range is symmetric about zero


def is_int8_fast(device: torch.device) -> bool:
    """Whether int8 products are faster than float32 ones there: on CPUs with VNNI or AVX2 only.

    With AVX-512 but no instructions for them (VNNI) they are as fast, what they round is not.
    """
    try:
        check_int8(device)
    except ValueError:
        return False
    capability = torch.backends.cpu.get_cpu_capability()
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: True)
    return capability == "AVX2" or (capability == "AVX512" and has_vnni())


def check_int8(device: torch.device) -> None:
    """Raise ValueError where torch has no such products."""
    engines = set(torch.backends.quantized.supported_engines) - {"none"}
    if device.type != "cpu":
        raise ValueError(f"int8 products are for CPUs, not for {device.type}: use another dtype")
    if not engines or not hasattr(torch.ops.quantized, "linear_dynamic"):
        raise ValueError("this torch has no int8 products for this CPU: use another dtype")


def use_int8(model: FlashVGGT) -> None:
    """Replace the products of a model's encoder and blocks, in place; there is no way back.

    Weights are rounded to 8 bits with a scale for each output, inputs to 7 bits with a scale for
    each call: AVX2 adds pairs of products in 16 bits, which 8 would overflow. Heads, norms and
    attention stay in float32. Raises ValueError as check_int8 does.
    """
    check_int8(model.aggregator.camera_token.device)
    for module in list(model.aggregator.modules()):
        for name, child in list(module.named_children()):
            if not isinstance(child, Product):
                continue
            parts = [(0, child.out_features)]
            if isinstance(module, Attention) and name == "qkv":
                parts += [(0, module.width), (module.width, 3 * module.width)]
            setattr(module, name, Int8Product(child, parts))


class Int8Product(nn.Module):
    """What a Product computes, rounded, for ``parts`` of its outputs (first, last)."""

    dtype = torch.float32

    def __init__(self, product: Product, parts: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._whole = (0, product.out_features)
        self._packed = {
            (first, last): _pack(product.weight[first:last], product.bias[first:last])
            for first, last in parts
        }

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), both in float32."""
        return self.outputs(x, *self._whole)

    def outputs(self, x: Tensor, first: int, last: int) -> Tensor:
        """Outputs (..., last - first) of one of ``parts``."""
        packed = self._packed[first, last]
        return torch.ops.quantized.linear_dynamic(x, packed, reduce_range=True)


def _pack(weight: Tensor, bias: Tensor) -> torch.ScriptObject:
    """Round a weight (out, in) and arrange it for the CPU, its bias beside it."""
    weight = weight.detach().float()
    scales = (weight.abs().amax(dim=1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():  # of a move of these functions to another package
        warnings.simplefilter("ignore")
        rounded = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack(rounded, bias.detach().float())
