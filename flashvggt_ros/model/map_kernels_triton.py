"""What lies between the depth head's convolutions (see kernels.py), each as one Triton kernel.

For inference: gradients do not pass through. Maps have their channels last in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from flashvggt_ros.model.kernels import Convolution, products

ELEMENTS = 1024  # of a program that adds
PIXELS, READ_PIXELS = 16, 128  # of a program that resamples, of one that reads maps


def convolve(
    convolution: Convolution, x: Tensor, added: Sequence[Tensor] = (), *, is_cut: bool = False
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


def _convolve(convolution: Convolution, x: Tensor) -> Tensor:
    """Convolve without the bias, channels last in memory."""
    return products(convolution, x, None).contiguous(memory_format=torch.channels_last)


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
