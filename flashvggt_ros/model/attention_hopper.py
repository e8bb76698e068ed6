"""Attention without a running maximum, for Hopper GPUs (compute capability 9.0).

Softmax needs the largest score of a row only so that no exponential overflows. Where queries and
keys are normalized their scores are bounded by the norms' weights, and exp(score) can be summed as
it is; elsewhere it is enough to know one of the row's larger scores. Nothing is ever scaled again,
and a score costs one exponential and one addition. The result is the same; at 64 channels a head
this runs 1.5 times as fast as attention with a running maximum (benchmarks/gpu_kernels.py).
"""

from __future__ import annotations

from functools import cache

import torch
import triton
from torch import Tensor
from triton.experimental.gluon.language import NVMMASharedLayout
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from flashvggt_ros.model.attention_hopper_kernel import GROUPS, TILE, attend_kernel
from flashvggt_ros.model.attention_hopper_queries import CHANNELS, ROWS

LEAST_LAST = 32  # keys of a part of a tile
SHORT = 16 * TILE.value  # keys of which the last tile's part is worth a kernel of its own


def attend_bounded(
    q: Tensor, weight: Tensor, bias: Tensor, eps: float, cos: Tensor, sin: Tensor, k: Tensor,
    v: Tensor,
) -> Tensor:
    """Attention (B, L, heads * 64) of ``q`` (B, L, heads, 64) to ``k`` and ``v`` (B, heads, M, 64).

    All bfloat16, on a GPU of compute capability 9.0, their channels contiguous, and heads of ``q``.
    Queries are normed and rotated first, as by kernels.turn with the five arguments behind them;
    ``cos`` and ``sin`` repeat after their length. No score q . k / 8 may then be beyond 69, nor
    below -69. Sums are in float32.
    """
    return _launch(q, k, v, (weight, bias, eps, cos, sin, len(cos)), is_turned=True)


def attend_unbounded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as attend_bounded's, of queries as they are, with scores of any size.

    A score 88 or more above the largest of its row's first ones (those of the last keys, 128 or
    less) overflows; the row is then not finite.
    """
    return _launch(q, k, v, (q, q, 0.0, q, q, 1), is_turned=False)  # of which nothing is read


def _launch(
    q: Tensor, k: Tensor, v: Tensor, turn: tuple[object, ...], *, is_turned: bool
) -> Tensor:
    batch, length, heads, channels = q.shape
    out = torch.empty(batch, length, heads, channels, dtype=q.dtype, device=q.device)
    keys = k.shape[2]
    blocks = triton.cdiv(length, ROWS.value * GROUPS.value)
    items = blocks * batch * heads
    rows = [1, ROWS.value, 1, CHANNELS.value]
    tile = [1, 1, TILE.value, CHANNELS.value]
    attend_kernel[(min(items, _processors(q.device)),)](
        q, q.stride(0), q.stride(1), *turn, _tiles(q, rows), _tiles(k, tile), _tiles(v, tile),
        _tiles(out, rows), length, keys, blocks, items, heads, IS_TURNED=is_turned,
        LAST=_last(length, keys), num_warps=4,
    )
    return out.flatten(2)


def _last(length: int, keys: int) -> int:
    """Keys of the last tile that are multiplied, where sequences attend within themselves."""
    if keys != length or keys > SHORT or keys % TILE.value == 0:
        return TILE.value
    return max(LEAST_LAST, triton.next_power_of_2(keys % TILE.value))


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def _tiles(tokens: Tensor, block: list[int]) -> TensorDescriptor:
    """Describe tokens to the copy engine, which gives zeros and keeps nothing beyond their ends."""
    layout = NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=4)
    return TensorDescriptor(tokens, list(tokens.shape), list(tokens.stride()), block, layout)
