"""The functions of kernels.py, each as one Triton kernel: what they read is read once.

For inference: gradients do not pass through. A row is one token (of one head's channels, where
rotations are) and is held in registers, so that statistics are exact sums in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model import kernels
from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernels import Kernels

ELEMENTS = 1024  # of a program that adds
PIXELS, READ_PIXELS = 16, 128  # of a program that resamples, of one that reads maps


def triton_kernels(attend_bounded: Callable[..., Tensor] | None) -> Kernels:
    """Kernels for tensors on a GPU."""
    return Kernels(normalize, turn, add, add_and_normalize, blend, gelu_product, convolve,
                   convolve_resize, read_maps, attend_bounded)


def normalize(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """As kernels.normalize."""
    x = x.contiguous()
    normed = torch.empty_like(x, dtype=dtype)
    rows, width = x.numel() // x.shape[-1], x.shape[-1]
    _norm_kernel[(rows,)](
        x, x, x, x, weight, bias, normed, eps, width, HAS_BRANCH=False,
        BLOCK=triton.next_power_of_2(width),
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
        x, branch, gamma, total, weight, bias, normed, eps, width, HAS_BRANCH=True,
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


def gelu_product(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """As kernels.gelu_product; in bfloat16 cuBLAS takes the GELU of sums before they are rounded.

    That GELU is the one with tanh, at most 5e-4 off, which with one rounding less has two thirds of
    the error (benchmarks/attention_speed.py).
    """
    if not isinstance(product, Product) or product.dtype != torch.bfloat16:
        return kernels.gelu_product(product, x)
    hidden = torch._addmm_activation(
        product.bias, x.flatten(0, -2).to(product.dtype), product.weight.t(), use_gelu=True
    )
    return hidden.view(*x.shape[:-1], -1)


def convolve(
    convolution: nn.Conv2d, x: Tensor, added: Sequence[Tensor] = (), *, is_cut: bool = False
) -> Tensor:
    """As kernels.convolve; what follows the products is one kernel, and rounded once."""
    y = _convolve(convolution, x)
    terms = [term.contiguous(memory_format=torch.channels_last) for term in added]
    first, second = [*terms, y, y][:2]
    bias = convolution.bias
    _finish_kernel[(triton.cdiv(y.numel(), ELEMENTS),)](
        y, y if bias is None else bias, first, second, y.numel(), y.shape[1],
        HAS_BIAS=bias is not None, TERMS=len(terms), IS_CUT=is_cut, BLOCK=ELEMENTS,
    )
    return y


def convolve_resize(
    convolution: nn.Conv2d,
    x: Tensor,
    size: tuple[int, int],
    place: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """As kernels.convolve_resize; the bias, which resampling does not change, comes after it."""
    x = _convolve(convolution, x)
    count, channels, height, width = x.shape
    resized = torch.empty(count, channels, *size, dtype=x.dtype, device=x.device,
                          memory_format=torch.channels_last)
    across, down = (x, x) if place is None else place
    _resize_kernel[(triton.cdiv(size[1], PIXELS), size[0], count)](
        x, convolution.bias, across, down, resized, height, width, size[1], channels,
        (height - 1) / max(size[0] - 1, 1), (width - 1) / max(size[1] - 1, 1),
        HAS_PLACE=place is not None, PIXELS=PIXELS, CHANNELS=triton.next_power_of_2(channels),
    )
    return resized


def read_maps(hidden: nn.Conv2d, last: nn.Conv2d, x: Tensor) -> Tensor:
    """As kernels.read_maps; all behind the first products is one kernel, in float32."""
    y = _convolve(hidden, x)
    count, channels, height, width = y.shape
    maps = torch.empty(count, 2, height, width, dtype=last.weight.dtype, device=y.device)
    pixels = height * width
    _read_kernel[(triton.cdiv(pixels, READ_PIXELS), count)](
        y, hidden.bias, last.weight, last.bias, maps, pixels, PIXELS=READ_PIXELS, CHANNELS=channels
    )
    return maps


def _convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve without the bias, channels last in memory."""
    y = functional.conv2d(x, convolution.weight, None, convolution.stride, convolution.padding)
    return y.contiguous(memory_format=torch.channels_last)


@triton.jit
def _norm_kernel(x, branch, gamma, total, weight, bias, normed, eps, width,
                 HAS_BRANCH: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, BLOCK)
    inside = column < width
    row = tl.load(x + start + column, mask=inside, other=0.0).to(tl.float32)
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
def _finish_kernel(y, bias, first, second, count, channels, HAS_BIAS: tl.constexpr,
                   TERMS: tl.constexpr, IS_CUT: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    result = tl.load(y + place, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        result += tl.load(bias + place % channels, mask=inside, other=0.0).to(tl.float32)
    if TERMS > 0:
        result += tl.load(first + place, mask=inside, other=0.0).to(tl.float32)
    if TERMS > 1:
        result += tl.load(second + place, mask=inside, other=0.0).to(tl.float32)
    if IS_CUT:
        result = tl.maximum(result, 0.0)
    tl.store(y + place, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _turn_kernel(tokens, weight, bias, cos, sin, turned, eps, stride, length, heads,
                 CHANNELS: tl.constexpr, HEADS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, HEADS)[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    quarter: tl.constexpr = CHANNELS // 4
    partner = tl.where((channel // quarter) % 2 == 0, channel + quarter, channel - quarter)
    inside = head < heads
    source = tokens + row * stride + head * CHANNELS
    own = tl.load(source + channel, mask=inside, other=0.0).to(tl.float32)
    other = tl.load(source + partner, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(own, 1) / CHANNELS
    apart = own - mean[:, None]
    spread = 1.0 / tl.sqrt(tl.sum(apart * apart, 1) / CHANNELS + eps)
    own = apart * spread[:, None] * tl.load(weight + channel) + tl.load(bias + channel)
    other = (other - mean[:, None]) * spread[:, None] * tl.load(weight + partner)
    other += tl.load(bias + partner)
    angle = (row % length) * CHANNELS + channel
    result = own * tl.load(cos + angle) + other * tl.load(sin + angle)
    target = turned + (row * heads + head) * CHANNELS + channel
    tl.store(target, result.to(turned.dtype.element_ty), mask=inside)


@triton.jit
def _read_kernel(y, bias, weight, last_bias, maps, pixels, PIXELS: tl.constexpr,
                 CHANNELS: tl.constexpr):
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, CHANNELS)[None, :]
    source = y + (image * pixels + pixel[:, None]) * CHANNELS + channel
    hidden = tl.load(source, mask=(pixel < pixels)[:, None], other=0.0).to(tl.float32)
    hidden = tl.maximum(hidden + tl.load(bias + channel).to(tl.float32), 0.0)
    for number in tl.static_range(2):
        value = tl.sum(hidden * tl.load(weight + number * CHANNELS + channel), 1)
        value += tl.load(last_bias + number)
        tl.store(maps + (image * 2 + number) * pixels + pixel, value, mask=pixel < pixels)


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


@triton.jit
def _resize_kernel(x, bias, across, down, resized, height, width, out_width, channels,
                   row_step, column_step, HAS_PLACE: tl.constexpr, PIXELS: tl.constexpr,
                   CHANNELS: tl.constexpr):
    image = tl.program_id(2).to(tl.int64)
    row = tl.program_id(1)
    column = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, CHANNELS)[None, :]
    inside = (column < out_width)[:, None] & (channel < channels)
    y = row * row_step
    top = y.to(tl.int32)
    low = y - top
    top_row = (image * height + top) * width
    bottom_row = (image * height + tl.minimum(top + 1, height - 1)) * width
    at = column * column_step
    left = at.to(tl.int32)
    far = (at - left)[:, None]
    right = tl.minimum(left + 1, width - 1)[:, None] * channels + channel
    left = left[:, None] * channels + channel
    top_left = tl.load(x + top_row * channels + left, mask=inside, other=0.0).to(tl.float32)
    top_right = tl.load(x + top_row * channels + right, mask=inside, other=0.0).to(tl.float32)
    low_left = tl.load(x + bottom_row * channels + left, mask=inside, other=0.0).to(tl.float32)
    low_right = tl.load(x + bottom_row * channels + right, mask=inside, other=0.0).to(tl.float32)
    result = (1 - low) * ((1 - far) * top_left + far * top_right)
    result += low * ((1 - far) * low_left + far * low_right)
    result += tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
    if HAS_PLACE:
        half = channels // 2
        result += tl.load(across + column[:, None] * half + channel,
                          mask=inside & (channel < half), other=0.0)
        result += tl.load(down + row * half + channel - half,
                          mask=(channel >= half) & (channel < channels), other=0.0)
    target = ((image * tl.num_programs(1) + row) * out_width + column[:, None]) * channels + channel
    tl.store(resized + target, result.to(resized.dtype.element_ty), mask=inside)
