"""Attention without a running maximum.

Softmax needs the largest score of a row only so that no exponential overflows. Where queries and
keys are normalized their scores are bounded by the norms' weights, and exp(score) can be summed as
it is; elsewhere it is enough to know one of the row's larger scores. Nothing is ever scaled again,
and a score costs one exponential and one addition. The result is the same; at 64 channels a head
this runs 1.5 times as fast as attention with a running maximum (benchmarks/gpu_kernels.py).
"""

from __future__ import annotations

import ctypes
import math
from functools import cache

import torch
from torch import Tensor

from flashvggt_ros.model.hopper.programs import Program, TensorMap, processors, tiles

HEAD_DIM = 64
SCALE = math.log2(math.e) / 8  # of scores, so that 2 to their power is the weight
ROWS, TILE, SPAN = 64, 128, 384  # queries of a group, keys of a tile, queries of a cluster
LEAST_LAST = 32  # keys of a part of a tile
SHORT = 16 * TILE  # keys of which the last tile's part is worth a kernel of its own
THREADS, SHARED_BYTES = 512, 206_015  # of a block, as in attention.cu


def attend_bounded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, L, heads * 64) of ``q`` (B, L, heads, 64) to ``k`` and ``v`` (B, heads, M, 64).

    All bfloat16, on a GPU of compute capability 9.0, their channels contiguous. Queries have been
    multiplied by SCALE. No score q . k / 8, of queries before that, may be beyond 69, nor below
    -69. Sums are in float32.
    """
    return _launch(q, k, v, is_bounded=True)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as attend_bounded's, of queries as they are, with scores of any size.

    A score 88 or more above the largest of its row's first ones (those of the last keys, 128 or
    less) overflows; the row is then not finite.
    """
    return _launch(q, k, v, is_bounded=False)


def _launch(q: Tensor, k: Tensor, v: Tensor, *, is_bounded: bool) -> Tensor:
    batch, length, heads, _ = q.shape
    out = torch.empty(batch, length, heads, HEAD_DIM, dtype=q.dtype, device=q.device)
    keys = k.shape[2]
    spans = math.ceil(length / SPAN)
    items = spans * batch * heads
    sizes = (keys, length, heads, spans, items)
    _program(q.device, _last(length, keys), is_bounded).launch(
        min(2 * items, processors(q.device)), THREADS, _tiles(q, [1, ROWS]), _tiles(k, [ROWS, 1]),
        _tiles(v, [ROWS, 1]), _tiles(out, [1, ROWS]), *(ctypes.c_int(size) for size in sizes),
    )
    return out.flatten(2)


def _last(length: int, keys: int) -> int:
    """Keys of the last tile that are multiplied, where sequences attend within themselves."""
    if keys != length or keys > SHORT or keys % TILE == 0:
        return TILE
    return max(LEAST_LAST, 1 << (keys % TILE - 1).bit_length())


@cache
def _program(device: torch.device, last: int, is_bounded: bool) -> Program:
    macros = {"LAST": last, "IS_BOUNDED": int(is_bounded)}
    return Program(device, "attention", macros, SHARED_BYTES)


def _tiles(tokens: Tensor, box: list[int]) -> TensorMap:
    """Describe tokens (B, ., ., 64), of which a tile has so many of the last two axes before 64."""
    sizes, strides = tokens.shape[::-1], tokens.stride()[-2::-1]
    return tiles(tokens, sizes, strides, [HEAD_DIM, *box, 1])
