"""Queries of attention_hopper that are normed and rotated before they are multiplied, in Gluon."""

import math

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared
from triton.language.core import _aggregate as aggregate

CHANNELS = gl.constexpr(64)  # of a head
ROWS = gl.constexpr(64)  # queries of one group of warps
SCALE = gl.constexpr(math.log2(math.e) / 8)  # of scores, so that 2 to their power is the weight


@aggregate
class Queries:
    """Where queries are, and how they are normed and rotated."""

    q: gl.tensor
    batch_stride: gl.tensor
    row_stride: gl.tensor
    weight: gl.tensor
    bias: gl.tensor
    eps: gl.tensor
    cos: gl.tensor
    sin: gl.tensor
    period: gl.tensor

    @gluon.constexpr_function
    def __init__(self, q, batch_stride, row_stride, weight, bias, eps, cos, sin, period):
        self.q, self.batch_stride, self.row_stride = q, batch_stride, row_stride
        self.weight, self.bias, self.eps = weight, bias, eps
        self.cos, self.sin, self.period = cos, sin, period


@gluon.jit
def turn_rows(queries, length, heads: gl.constexpr, pair, first, turned):
    """Norm, rotate and scale the queries from ``first`` on, into shared memory."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [8, 4], [4, 1], [1, 0])
    quarter: gl.constexpr = CHANNELS // 4
    row = first + gl.arange(0, ROWS, gl.SliceLayout(1, layout))
    row = gl.minimum(row, length - 1)  # what is beyond is not stored
    number = gl.arange(0, CHANNELS // 2, gl.SliceLayout(0, layout))
    channel = number // quarter * (2 * quarter) + number % quarter  # the first of each pair
    start = (pair // heads).to(gl.int64) * queries.batch_stride
    start += pair % heads * CHANNELS
    q = queries.q + start + row[:, None].to(gl.int64) * queries.row_stride + channel[None, :]
    x = gl.load(q).to(gl.float32)
    y = gl.load(q + quarter).to(gl.float32)
    angle = (row % queries.period)[:, None] * CHANNELS + channel[None, :]
    cos = gl.load(queries.cos + angle)
    sin = gl.load(queries.sin + angle + quarter)
    x_weight = gl.load(queries.weight + channel) * SCALE
    y_weight = gl.load(queries.weight + channel + quarter) * SCALE
    x_bias = gl.load(queries.bias + channel) * SCALE
    y_bias = gl.load(queries.bias + channel + quarter) * SCALE
    mean = gl.sum(x + y, 1) / CHANNELS
    x -= mean[:, None]
    y -= mean[:, None]
    spread = 1.0 / gl.sqrt(gl.sum(x * x + y * y, 1) / CHANNELS + queries.eps)
    x = x * spread[:, None] * x_weight[None, :] + x_bias[None, :]
    y = y * spread[:, None] * y_weight[None, :] + y_bias[None, :]
    x, y = x * cos - y * sin, y * cos + x * sin
    both = gl.join(x.to(gl.bfloat16), y.to(gl.bfloat16)).reshape([ROWS, 2, quarter, 2])
    turned.store(both.permute([0, 1, 3, 2]).reshape([ROWS, CHANNELS]))
    fence_async_shared()
    gl.thread_barrier()
