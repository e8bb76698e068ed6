"""The functions of kernels.py, each as one Triton kernel: what they read is read once.

For inference: gradients do not pass through. A row is one token (of one head's channels, where
rotations are) and is held in registers, so that statistics are exact sums in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from flashvggt_ros.model import kernels
from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernels import Kernels, Layer, after_product
from flashvggt_ros.model.map_kernels_triton import convolve, convolve_resize, read_maps

ELEMENTS = 1024  # of a program that adds


def triton_kernels() -> Kernels:
    """Kernels for tensors on a GPU, all but products and attention."""
    return Kernels(
        normalize=normalize, turn=turn, add_product=after_product(add),
        add_product_and_normalize=after_product(add_and_normalize), blend=blend,
        gelu_product=gelu_product, convolve=convolve, convolve_resize=convolve_resize,
        read_maps=read_maps,
    )


def normalize(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """As kernels.normalize; ``x`` (N, L, C) may be a part of all tokens, without a copy of it."""
    normed = torch.empty(x.shape, dtype=dtype, device=x.device)
    x = x if x.ndim == 3 else x.reshape(1, -1, x.shape[-1])
    x = x if x.stride(2) == 1 else x.contiguous()
    rows, width = x.shape[0] * x.shape[1], x.shape[2]
    _norm_kernel[(rows,)](
        x, x.shape[1], x.stride(0), x.stride(1), x, x, x, weight, bias, normed, eps, width,
        HAS_BRANCH=False, BLOCK=triton.next_power_of_2(width),
    )
    return normed


def add_and_normalize(
    x: Tensor,
    branch: Tensor,
    gamma: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As kernels.add_and_normalize."""
    x, branch = x.contiguous(), branch.contiguous()
    total, normed = torch.empty_like(x), torch.empty_like(x, dtype=dtype)
    rows, width = x.numel() // x.shape[-1], x.shape[-1]
    _norm_kernel[(rows,)](
        x, rows, 0, width, branch, gamma, total, weight, bias, normed, eps, width, HAS_BRANCH=True,
        BLOCK=triton.next_power_of_2(width),
    )
    return total, normed


def add(x: Tensor, branch: Tensor, gamma: Tensor) -> Tensor:
    """As kernels.add."""
    x, branch = x.contiguous(), branch.contiguous()
    total = torch.empty_like(x)
    _add_kernel[(triton.cdiv(x.numel(), ELEMENTS),)](
        x, branch, gamma, total, x.numel(), x.shape[-1], BLOCK=ELEMENTS
    )
    return total


def turn(
    tokens: Tensor, weight: Tensor, bias: Tensor, eps: float, cos: Tensor, sin: Tensor
) -> Tensor:
    """As kernels.turn; tokens may be a part of a fused projection, without a copy of it."""
    heads, channels = tokens.shape[-2:]
    rows = tokens.reshape(-1, heads, channels)
    if rows.stride(2) != 1 or rows.stride(1) != channels:
        rows = rows.contiguous()
    turned = torch.empty(tokens.shape, dtype=tokens.dtype, device=tokens.device)
    _turn_kernel[(len(rows),)](
        rows, weight, bias, cos, sin, turned, eps, rows.stride(0), len(cos), heads,
        CHANNELS=channels, HEADS=triton.next_power_of_2(heads),
    )
    return turned


def blend(tokens: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """As kernels.blend; ``tokens`` may be a part of all tokens, without a copy of it."""
    batch, count, _, channels = tokens.shape
    frames = tokens.flatten(0, 1)
    cells = taps.shape[1]
    blended = torch.empty(batch, count, cells, channels, dtype=tokens.dtype, device=tokens.device)
    _blend_kernel[(cells, batch * count)](
        frames, taps, weights, blended, frames.stride(0), frames.stride(1), channels,
        BLOCK=triton.next_power_of_2(channels),
    )
    return blended


def gelu_product(layer: Layer, x: Tensor) -> Tensor:
    """As kernels.gelu_product; in bfloat16 cuBLAS takes the GELU of sums before they are rounded.

    That GELU is the one with tanh, at most 5e-4 off, which with one rounding less has two thirds of
    the error (benchmarks/gpu_kernels.py).
    """
    if not isinstance(layer, Product) or layer.dtype != torch.bfloat16:
        return kernels.gelu_product(layer, x)
    hidden = torch._addmm_activation(
        layer.bias, x.flatten(0, -2).to(layer.dtype), layer.weight.t(), use_gelu=True
    )
    return hidden.view(*x.shape[:-1], -1)


@triton.jit(do_not_specialize=["length"])  # one kernel for any number of frames
def _norm_kernel(x, length, batch_stride, row_stride, branch, gamma, total, weight, bias, normed,
                 eps, width, HAS_BRANCH: tl.constexpr, BLOCK: tl.constexpr):
    number = tl.program_id(0).to(tl.int64)
    start = number * width
    column = tl.arange(0, BLOCK)
    inside = column < width
    source = x + number // length * batch_stride + number % length * row_stride
    row = tl.load(source + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_BRANCH:
        scale = tl.load(gamma + column, mask=inside, other=0.0).to(tl.float32)
        row += tl.load(branch + start + column, mask=inside, other=0.0).to(tl.float32) * scale
        tl.store(total + start + column, row.to(total.dtype.element_ty), mask=inside)
    mean = tl.sum(row, 0) / width
    apart = tl.where(inside, row - mean, 0.0)
    spread = 1.0 / tl.sqrt(tl.sum(apart * apart, 0) / width + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    result = apart * spread * w + b
    tl.store(normed + start + column, result.to(normed.dtype.element_ty), mask=inside)


@triton.jit
def _add_kernel(x, branch, gamma, total, count, width, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    scale = tl.load(gamma + place % width, mask=inside, other=0.0).to(tl.float32)
    added = tl.load(branch + place, mask=inside, other=0.0).to(tl.float32) * scale
    result = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) + added
    tl.store(total + place, result.to(total.dtype.element_ty), mask=inside)


@triton.jit
def _turn_kernel(tokens, weight, bias, cos, sin, turned, eps, stride, length, heads,
                 CHANNELS: tl.constexpr, HEADS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, HEADS)[:, None]
    number = tl.arange(0, CHANNELS // 2)[None, :]
    quarter: tl.constexpr = CHANNELS // 4
    first = number // quarter * (2 * quarter) + number % quarter
    second = first + quarter
    inside = head < heads
    source = tokens + row * stride + head * CHANNELS
    x = tl.load(source + first, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(source + second, mask=inside, other=0.0).to(tl.float32)
    mean = (tl.sum(x, 1) + tl.sum(y, 1)) / CHANNELS
    x -= mean[:, None]
    y -= mean[:, None]
    spread = 1.0 / tl.sqrt((tl.sum(x * x, 1) + tl.sum(y * y, 1)) / CHANNELS + eps)
    x = x * spread[:, None] * tl.load(weight + first) + tl.load(bias + first)
    y = y * spread[:, None] * tl.load(weight + second) + tl.load(bias + second)
    angle = (row % length) * CHANNELS
    cosine = tl.load(cos + angle + first)
    sine = tl.load(sin + angle + second)
    target = turned + (row * heads + head) * CHANNELS
    tl.store(target + first, (x * cosine - y * sine).to(turned.dtype.element_ty), mask=inside)
    tl.store(target + second, (y * cosine + x * sine).to(turned.dtype.element_ty), mask=inside)


@triton.jit
def _blend_kernel(tokens, taps, weights, blended, frame_stride, token_stride, channels,
                  BLOCK: tl.constexpr):
    cell, cells = tl.program_id(0), tl.num_programs(0)
    frame = tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < channels
    total = tl.zeros([BLOCK], tl.float32)
    for number in tl.static_range(4):
        tap = tl.load(taps + number * cells + cell)
        token = tokens + frame * frame_stride + tap * token_stride
        weight = tl.load(weights + number * cells + cell)
        total += weight * tl.load(token + channel, mask=inside, other=0.0).to(tl.float32)
    target = blended + (frame * cells + cell) * channels + channel
    tl.store(target, total.to(blended.dtype.element_ty), mask=inside)
