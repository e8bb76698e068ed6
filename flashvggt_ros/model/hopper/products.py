"""Linear layers, and what comes after them while their sums are at hand.

A tile of outputs is multiplied while other warps finish the one before, so that adding a bias,
GELU, norms and rotations, or the residual stream costs next to nothing, and its result is rounded
once. A layer that does not fit (its sizes, or another type than bfloat16) is left to PyTorch's
product and Triton's kernels.
"""

from __future__ import annotations

import ctypes
import math
from enum import IntEnum
from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor

from flashvggt_ros.model import kernels_triton
from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.hopper.attention import HEAD_DIM, SCALE
from flashvggt_ros.model.hopper.programs import (
    LARGEST_SHARED,
    Program,
    TensorMap,
    pointer,
    processors,
    tiles,
)
from flashvggt_ros.model.kernels import Layer
from flashvggt_ros.model.rope import Rotation

INNER, OUTPUTS, ROWS = 64, 256, 128  # that a block takes at once, as in product.cu
THREADS, SHARED_BYTES = 384, 214_095  # of a block, without biases and the like


class Finish(IntEnum):
    """What is done with sums, as in product.cu."""

    BIAS = 0
    GELU = 1
    TURN = 2
    ADD = 3


class _After(ctypes.Structure):
    """What finishing needs, as in product.cu."""

    _fields_ = (
        ("norm", ctypes.c_void_p), ("cos", ctypes.c_void_p), ("sin", ctypes.c_void_p),
        ("eps", ctypes.c_float), ("period", ctypes.c_int), ("first", ctypes.c_int),
        ("count", ctypes.c_int), ("stream", ctypes.c_void_p), ("gamma", ctypes.c_void_p),
    )


def product(layer: Layer, x: Tensor) -> Tensor:
    """As kernels.product."""
    if not _fits(layer, x, 0):
        return layer(x)
    return _run(Finish.BIAS, x, layer.weight, layer.bias, _After(), 0)


def gelu_product(layer: Layer, x: Tensor) -> Tensor:
    """As kernels.gelu_product, by GELU's form with tanh; see kernels_triton.gelu_product."""
    if not _fits(layer, x, 0):
        return kernels_triton.gelu_product(layer, x)
    return _run(Finish.GELU, x, layer.weight, layer.bias, _After(), 0)


def add_product(x: Tensor, layer: Layer, branch: Tensor, gamma: Tensor) -> Tensor:
    """As kernels.add_product; the product is not rounded before it is added."""
    is_stream = x.dtype == torch.float16 and x.is_contiguous()
    if not is_stream or not _fits(layer, branch, 4 * gamma.numel()):
        return kernels_triton.add(x, layer(branch), gamma)
    after = _After(stream=x.data_ptr(), gamma=gamma.data_ptr())
    return _run(Finish.ADD, branch, layer.weight, layer.bias, after, 4 * gamma.numel())


def add_product_and_normalize(
    x: Tensor, layer: Layer, branch: Tensor, gamma: Tensor, *norm: Any
) -> tuple[Tensor, Tensor]:
    """As kernels.add_product_and_normalize, but what is normalized has been rounded.

    ``norm``: what kernels.normalize takes behind the tokens.
    """
    if x.dtype != torch.float16:
        return kernels_triton.add_and_normalize(x, layer(branch), gamma, *norm)
    total = add_product(x, layer, branch, gamma)
    return total, kernels_triton.normalize(total, *norm)


def norms(q_norm: torch.nn.LayerNorm, k_norm: torch.nn.LayerNorm) -> Tensor:
    """Weights and biases (2, 2, 64) for turned_product: of queries, times SCALE, and of keys."""
    both = torch.stack([
        torch.stack([q_norm.weight, k_norm.weight]), torch.stack([q_norm.bias, k_norm.bias])
    ]).float()
    both[:, 0] *= SCALE
    return both


def turned_product(
    layer: Product, x: Tensor, parts: range, norm: Tensor, eps: float, turn: Rotation
) -> tuple[Tensor, ...]:
    """Queries, keys or values (B, L, heads, 64) of tokens ``x`` (B, L, C), by their numbers.

    ``layer`` makes all three. Queries and keys are normed and rotated, by ``norm`` as norms() gives
    it and by the rotations of all L tokens or of as many as repeat.
    """
    width = layer.out_features // 3
    first, last = width * parts.start, width * parts.stop
    weight, bias = layer.weight[first:last], layer.bias[first:last]
    if _fits(layer, x, 4 * norm.numel()) and width % OUTPUTS == 0:
        after = _After(
            norm=norm.data_ptr(), cos=turn.cos.data_ptr(), sin=turn.sin.data_ptr(), eps=eps,
            period=len(turn.cos), first=first, count=width,
        )
        made = _run(Finish.TURN, x, weight, bias, after, 4 * norm.numel())
        return made.unflatten(-1, (len(parts), -1, HEAD_DIM)).unbind(2)
    made = torch.nn.functional.linear(x, weight, bias)
    tensors = made.unflatten(-1, (len(parts), -1, HEAD_DIM)).unbind(2)
    return tuple(
        _turned(tokens, norm[:, part], eps, turn) if part < len(norm) else tokens
        for part, tokens in zip(parts, tensors, strict=True)
    )


def _turned(tokens: Tensor, norm: Tensor, eps: float, turn: Rotation) -> Tensor:
    repeats = tokens.unflatten(1, (-1, len(turn.cos)))
    weight, bias = norm.unbind()
    return kernels_triton.turn(repeats, weight, bias, eps, turn.cos, turn.sin).flatten(1, 2)


def _fits(layer: Layer, x: Tensor, more: int) -> TypeGuard[Product]:
    """Whether product.cu can compute a layer; ``more``: bytes of shared memory for constants."""
    if not isinstance(layer, Product) or not layer.dtype == x.dtype == torch.bfloat16:
        return False
    return (
        layer.in_features % INNER == 0
        and layer.out_features % OUTPUTS == 0
        and SHARED_BYTES + 2 * layer.out_features + more <= LARGEST_SHARED
        and x.stride(-1) == 1
        and x.stride(-2) % 8 == 0
    )


def _run(
    finish: Finish, x: Tensor, weight: Tensor, bias: Tensor, after: _After, more: int
) -> Tensor:
    rows = x.flatten(0, -2)
    outputs, inner = weight.shape
    dtype = torch.float16 if finish is Finish.ADD else x.dtype
    out = torch.empty(len(rows), outputs, dtype=dtype, device=x.device)
    columns = outputs // OUTPUTS
    items = math.ceil(len(rows) / (2 * ROWS)) * columns
    sizes = (len(rows), inner, columns, items)
    _program(x.device, finish, SHARED_BYTES + 2 * outputs + more).launch(
        min(2 * items, processors(x.device)), THREADS, _matrix(rows, ROWS), _matrix(weight, ROWS),
        _matrix(out, 8), pointer(bias), *(ctypes.c_int(size) for size in sizes), after,
    )
    return out.view(*x.shape[:-1], outputs)


@cache
def _program(device: torch.device, finish: Finish, shared_bytes: int) -> Program:
    return Program(device, "product", {"FINISH": int(finish)}, shared_bytes)


def _matrix(matrix: Tensor, rows: int) -> TensorMap:
    """Describe a matrix, of which a tile has so many rows."""
    sizes = (*matrix.shape[::-1], 1, 1)
    return tiles(matrix, sizes, (matrix.stride(0), 0, 0), (INNER, rows, 1, 1))
