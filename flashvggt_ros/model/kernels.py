"""What stands between matrix products and convolutions: norms, rotations, sums, activations.

All of it is bound by memory, so that a device gains by fusing each function into one kernel, or
into the product before it. They come as plain torch (PLAIN), compiled by it, and for GPUs written
in Triton (kernels_triton.py) and CUDA C++ (hopper/), see kernel_choice.py; ``use_kernels`` sets a
model's. The statistics, rotations and sums are in float32 whatever the types of weights and
residual stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashvggt_ros.model.rope import Rotation, rotate

ATTENTION_BACKENDS = {
    "auto": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "torch": [],
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "cudnn": [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION],
    "math": [SDPBackend.MATH],
}
Convolution = nn.Conv2d | nn.ConvTranspose2d
Layer = Callable[[Tensor], Tensor]
"""A linear layer."""


def attention_backend(name: str) -> AbstractContextManager[None]:
    """Context in which attention runs on backends of torch; torch: as it chooses itself.

    auto: flash where it can be had, never cuDNN, torch's choice on newer GPUs: that plans anew (60
    ms a chunk) for each number of keys, and a cache that grows has another at each chunk.
    Flash and cuDNN do not take float32 on a GPU, which the camera head keeps: that part then runs
    on the efficient one. Inside, torch raises RuntimeError where the backend cannot take the device
    or type. Raises ValueError for another name.
    """
    if name not in ATTENTION_BACKENDS:
        raise ValueError(f"attention backend is {name!r}: it must be one of "
                         f"{', '.join(ATTENTION_BACKENDS)}")
    backends = ATTENTION_BACKENDS[name]
    if not backends:
        return nullcontext()
    # In the order given, which older versions of torch (2.5) cannot be told: it is auto's anyhow.
    return sdpa_kernel(backends) if name == "auto" else sdpa_kernel(backends, set_priority=True)


def normalize(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Layer norm over the last axis of ``x``, in the weight's type, given in ``dtype``."""
    normed = functional.layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias, eps)
    return normed.to(dtype)


def turn(
    tokens: Tensor, weight: Tensor, bias: Tensor, eps: float, cos: Tensor, sin: Tensor
) -> Tensor:
    """Norm and rotate queries or keys (..., L, heads, head_dim); their type stays.

    ``cos`` and ``sin`` (L, 1, head_dim) as in rope.Rotation.
    """
    normed = functional.layer_norm(
        tokens.to(weight.dtype), tokens.shape[-1:], weight, bias, eps
    )
    return rotate(normed, Rotation(cos, sin)).to(tokens.dtype)


def product(layer: Layer, x: Tensor) -> Tensor:
    """Outputs of a linear layer."""
    return layer(x)


def add(x: Tensor, branch: Tensor, gamma: Tensor) -> Tensor:
    """Residual stream ``x`` (..., C) plus a branch scaled per channel, in the stream's type."""
    return (x + branch * gamma).to(x.dtype)


def add_and_normalize(
    x: Tensor,
    branch: Tensor,
    gamma: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return ``add`` and, in ``dtype``, ``normalize`` of the sum before it is rounded."""
    total = x + branch * gamma
    return total.to(x.dtype), normalize(total, weight, bias, eps, dtype)


def after_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` of a stream and of what a linear layer makes of a branch."""

    def applied(x: Tensor, layer: Layer, branch: Tensor, *rest: object) -> Any:
        return function(x, layer(branch), *rest)

    return applied


add_product = after_product(add)
add_product_and_normalize = after_product(add_and_normalize)


def blend(tokens: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (B, N, cells, C) of the four tokens (B, N, P, C) of each cell, in their type.

    ``taps`` (4, cells): which, ``weights`` (4, cells, 1): how much.
    """
    terms = [weight * tokens[:, :, tap] for tap, weight in zip(taps, weights, strict=True)]
    return (terms[0] + terms[1] + (terms[2] + terms[3])).to(tokens.dtype)


def gelu_product(layer: Layer, x: Tensor) -> Tensor:
    """Exact GELU of a linear layer's outputs."""
    return functional.gelu(layer(x))


def convolve(
    convolution: Convolution, x: Tensor, added: Sequence[Tensor] = (), *, is_cut: bool = False
) -> Tensor:
    """Convolve ``x`` (N, C, h, w) and add up to two tensors; ``is_cut``: the positive part of it.

    The bias may be in float32 whatever the weights' type is.
    """
    y = _convolve(convolution, x)
    for term in added:
        y = y.add_(term)
    return functional.relu_(y) if is_cut else y


def convolve_resize(
    convolution: nn.Conv2d,
    x: Tensor,
    size: tuple[int, int],
    place: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Convolve ``x`` (N, C, h, w), then resample bilinearly to ``size``, corners to corners.

    ``place``: what to add to the first half of the channels by column (width, C / 2), and to the
    second by row (height, C / 2).
    """
    y = _convolve(convolution, x)
    if y.shape[-2:] != size:
        y = functional.interpolate(y, size=size, mode="bilinear", align_corners=True)
    return y if place is None else add_place(y, *place)


def read_maps(hidden: nn.Conv2d, last: nn.Conv2d, x: Tensor) -> Tensor:
    """Maps (N, 2, h, w) that two convolutions make of ``x``, cut between; the last of pixels."""
    x = convolve(hidden, x, is_cut=True)
    maps: Tensor = last(x.to(last.weight.dtype))
    return maps


def _convolve(convolution: Convolution, x: Tensor) -> Tensor:
    bias = convolution.bias
    return products(convolution, x, None if bias is None else bias.to(x.dtype))


def products(convolution: Convolution, x: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve, upwards or downwards, with another bias."""
    if isinstance(convolution, nn.ConvTranspose2d):
        return functional.conv_transpose2d(x, convolution.weight, bias, convolution.stride)
    return functional.conv2d(
        x, convolution.weight, bias, convolution.stride, convolution.padding
    )


def add_place(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Add ``across`` (w, C / 2) and ``down`` (h, C / 2) to (N, C, h, w), in place."""
    height, width = x.shape[-2:]
    place = torch.cat([
        across[None].expand(height, -1, -1), down[:, None].expand(-1, width, -1)
    ], dim=2)  # channels last, as x is in memory
    return x.add_(place.to(x.dtype).permute(2, 0, 1))


@dataclass(frozen=True, slots=True)
class OwnAttention:
    """Attention that is not torch's, of bfloat16 and heads of ``head_dim`` channels.

    ``turned_product`` makes queries and keys that are normed and rotated, and values; its
    parameters are what ``norms`` makes of both norms. ``attend_bounded`` takes such, whose scores
    are known to be small, ``attend`` others; see hopper/products.py and hopper/attention.py.
    """

    head_dim: int
    norms: Callable[..., Tensor]
    turned_product: Callable[..., tuple[Tensor, ...]]
    attend_bounded: Callable[..., Tensor]
    attend: Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The functions of this file, or faster ones that compute the same.

    ``attention``: None where there is nothing faster than torch's.
    """

    normalize: Callable[..., Tensor] = normalize
    turn: Callable[..., Tensor] = turn
    product: Callable[..., Tensor] = product
    add_product: Callable[..., Tensor] = add_product
    add_product_and_normalize: Callable[..., tuple[Tensor, Tensor]] = add_product_and_normalize
    blend: Callable[..., Tensor] = blend
    gelu_product: Callable[..., Tensor] = gelu_product
    convolve: Callable[..., Tensor] = convolve
    convolve_resize: Callable[..., Tensor] = convolve_resize
    read_maps: Callable[..., Tensor] = read_maps
    attention: OwnAttention | None = None


PLAIN = Kernels()


class KernelUser(nn.Module):
    """A module that computes with ``kernels``, PLAIN to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = PLAIN

    def set_kernels(self, kernels: Kernels) -> None:
        """Compute with ``kernels`` from now on."""
        self.kernels = kernels

    def normalize(self, norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Apply a layer norm, in the type of its weights; the result is in ``dtype``."""
        normed: Tensor = self.kernels.normalize(x, norm.weight, norm.bias, norm.eps, dtype)
        return normed


def use_kernels(model: nn.Module, kernels: Kernels) -> None:
    """Let all of a model, whose weights must be final, compute with ``kernels``."""
    for module in model.modules():
        if isinstance(module, KernelUser):
            module.set_kernels(kernels)
