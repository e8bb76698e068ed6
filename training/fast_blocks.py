"""The model's transformer blocks in fused form, for training speed.

The arithmetic is that of ``flashvggt_ros.model.attention``; what stands between two matrix
products becomes one compiled kernel. ``use_fast_blocks`` replaces the methods of a model's blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from flashvggt_ros.model.attention import Attention, Block
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.rope import Rotation, rotate

Kernel = Callable[..., Tensor]
Compiler = Callable[[Kernel], Kernel]


def _norm(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    """Normalized tokens, in the type of matrix products under autocast."""
    normed = F.layer_norm(x, x.shape[-1:], w, b, eps)
    is_mixed = torch.is_autocast_enabled(x.device.type)
    return normed.to(torch.bfloat16) if is_mixed else normed


def _turn(tokens: Tensor, w: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Norm and rotate queries or keys (B, L, heads, head_dim)."""
    normed = F.layer_norm(tokens, tokens.shape[-1:], w, b, 1e-5)
    return rotate(normed, Rotation(cos, sin)).to(tokens.dtype).transpose(1, 2)


def _finish(x: Tensor, mixed: Tensor, proj: Tensor, proj_b: Tensor, gamma1: Tensor, w: Tensor,
            b: Tensor, eps: float, fc1: Tensor, fc1_b: Tensor, fc2: Tensor, fc2_b: Tensor,
            gamma2: Tensor) -> Tensor:
    """All of a block behind its attention; ``mixed`` (B, heads, L, head_dim)."""
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), proj, proj_b) * gamma1
    hidden = F.gelu(F.linear(F.layer_norm(x, x.shape[-1:], w, b, eps), fc1, fc1_b))
    return x + F.linear(hidden, fc2, fc2_b) * gamma2


class _Kernels:
    def __init__(self, compiler: Compiler) -> None:
        self.norm = compiler(_norm)
        self.turn = compiler(_turn)
        self.finish = compiler(_finish)


def use_fast_blocks(model: FlashVGGT, is_compiled: bool) -> None:
    """Replace the methods of the encoder's and the aggregator's blocks, compiled or as they are."""
    compiler: Compiler = partial(torch.compile, dynamic=True) if is_compiled else (lambda f: f)
    kernels = _Kernels(compiler)
    aggregator = model.aggregator
    for block in (*aggregator.patch_embed.blocks, *aggregator.frame_blocks,
                  *aggregator.global_blocks):
        block.forward = partial(_forward, kernels, block)


def _forward(kernels: _Kernels, block: Block, x: Tensor, turn: Rotation | None = None) -> Tensor:
    attn, norm = block.attn, block.norm1
    normed = kernels.norm(x, norm.weight, norm.bias, norm.eps)
    q, k, v = attn.qkv(normed).unflatten(-1, (3, -1, attn.head_dim)).unbind(2)
    if turn is None:
        q, k = q.transpose(1, 2), k.transpose(1, 2)
    else:
        q, k = _turned(kernels, attn, q, turn, True), _turned(kernels, attn, k, turn, False)
    mixed = F.scaled_dot_product_attention(q, k, v.transpose(1, 2))
    return _finished(kernels, block, x, mixed)


def _turned(kernels: _Kernels, attn: Attention, tokens: Tensor, turn: Rotation, is_query: bool
            ) -> Tensor:
    norm = attn.q_norm if is_query else attn.k_norm
    return kernels.turn(tokens, norm.weight, norm.bias, turn.cos, turn.sin)


def _finished(kernels: _Kernels, block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    attn, norm, mlp = block.attn, block.norm2, block.mlp
    return kernels.finish(
        x, mixed, attn.proj.weight, attn.proj.bias, block.ls1.gamma, norm.weight, norm.bias,
        norm.eps, mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight, mlp.fc2.bias, block.ls2.gamma,
    )
