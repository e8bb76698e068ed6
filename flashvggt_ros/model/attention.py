"""Transformer blocks: attention over the tokens at hand, or over descriptors kept in a memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model.kernels import Kernels, KernelUser, OwnAttention
from flashvggt_ros.model.rope import Rotation, rotate

LARGEST_SCORE = 69.0  # whose exponential, 2^100, float32 can add up 2^27 times


class Product(nn.Linear):
    """A linear layer of which some outputs can be had alone."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of inputs that need no cast."""
        return self.weight.dtype

    def outputs(self, x: Tensor, first: int, last: int) -> Tensor:
        """Outputs (..., last - first) from number ``first`` to before ``last``."""
        return functional.linear(x, self.weight[first:last], self.bias[first:last])


class Attention(KernelUser):
    """Multi-head attention with a fused projection, optional query and key norm, and RoPE.

    Products are in the type of the weights, whatever that of the tokens.
    """

    def __init__(self, width: int, heads: int, *, is_qk_normed: bool) -> None:
        super().__init__()
        self.width = width
        self.head_dim = width // heads
        self._own: OwnAttention | None = None  # of the kernels, where it can be used
        self._norms: Tensor | None = None  # its parameters
        self.qkv = Product(width, 3 * width)
        self.q_norm = nn.LayerNorm(self.head_dim, eps=1e-5) if is_qk_normed else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim, eps=1e-5) if is_qk_normed else nn.Identity()
        self.proj = Product(width, width)

    def forward(self, x: Tensor, turn: Rotation | None = None) -> Tensor:
        """Mix values within each sequence of ``x`` (B, L, width); ``proj`` is left to the block."""
        if self._own is not None and turn is not None:
            q, k, v = self._turned_product(self._own, x, range(3), turn)
        else:
            qkv = self.kernels.product(self.qkv, x)
            q, k, v = qkv.unflatten(-1, (3, -1, self.head_dim)).unbind(2)
            k = self._turn(k, self.k_norm, turn)
        return self.attend(turn, q, k.transpose(1, 2), v.transpose(1, 2))

    def project(
        self, x: Tensor, turn: Rotation, source: Tensor, source_turn: Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of ``x`` (B, L, width), keys and values of descriptors ``source`` (B, M, width).

        They are (B, L, heads, head_dim) and twice (B, heads, M, head_dim); of them keys are
        normalized and rotated. Queries are where kernels do that in the product, otherwise
        ``attend`` does: it may be called for parts of them.
        """
        if self._own is not None:
            (q,) = self._turned_product(self._own, x, range(1), turn)
            k, v = self._turned_product(self._own, source, range(1, 3), source_turn)
            return q, k.transpose(1, 2), v.transpose(1, 2)
        q = self.qkv.outputs(x, 0, self.width).unflatten(-1, (-1, self.head_dim))
        kv = self.qkv.outputs(source, self.width, 3 * self.width)
        k, v = kv.unflatten(-1, (2, -1, self.head_dim)).unbind(2)
        k = self._turn(k, self.k_norm, source_turn)
        return q, k.transpose(1, 2), v.transpose(1, 2)

    def attend(self, turn: Rotation | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mix values (B, L, width) for queries and keys as ``project`` gives them.

        ``turn`` is that of all L queries, or of one frame's, which then repeats. Arithmetic is in
        the queries' type whatever that of keys and values is.
        """
        k, v = k.to(q.dtype), v.to(q.dtype)
        if self._own is not None:
            return self._own.attend(q, k, v) if turn is None else self._own.attend_bounded(q, k, v)
        if turn is not None:
            frames = q.unflatten(1, (-1, len(turn.cos)))
            q = self._turn(frames, self.q_norm, turn).flatten(1, 2)
        else:
            q = self._turn(q, self.q_norm, None)
        mixed = functional.scaled_dot_product_attention(q.transpose(1, 2), k, v)
        return mixed.transpose(1, 2).flatten(2)

    def set_kernels(self, kernels: Kernels) -> None:
        """Compute with ``kernels`` from now on; with their attention if scores are small enough."""
        super().set_kernels(kernels)
        self._own = self._norms = None
        own = kernels.attention
        if own is None or self.head_dim != own.head_dim or self.qkv.dtype != torch.bfloat16:
            return
        if isinstance(self.q_norm, nn.LayerNorm) and isinstance(self.k_norm, nn.LayerNorm):
            largest = _longest(self.q_norm) * _longest(self.k_norm) / math.sqrt(self.head_dim)
            if largest > LARGEST_SCORE:
                return
            self._norms = own.norms(self.q_norm, self.k_norm)
        self._own = own

    def _turned_product(
        self, own: OwnAttention, x: Tensor, parts: range, turn: Rotation
    ) -> tuple[Tensor, ...]:
        """Queries, keys and values of tokens, by number, the first two normed and rotated."""
        eps = self.q_norm.eps
        return own.turned_product(self.qkv, x, parts, self._norms, eps, turn)

    def _turn(self, tokens: Tensor, norm: nn.Module, turn: Rotation | None) -> Tensor:
        """Norm and rotate queries or keys (..., L, heads, head_dim), in their own type."""
        if isinstance(norm, nn.LayerNorm) and turn is not None:
            return self.kernels.turn(
                tokens, norm.weight, norm.bias, norm.eps, turn.cos, turn.sin
            )
        normed = norm(tokens).to(tokens.dtype)
        return normed if turn is None else rotate(normed, turn).to(tokens.dtype)


def _longest(norm: nn.LayerNorm) -> float:
    """Length that no vector has after a layer norm."""
    largest = float(norm.weight.abs().max())
    return math.sqrt(norm.weight.numel()) * largest + float(norm.bias.norm())


class Mlp(KernelUser):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = Product(width, hidden)
        self.fc2 = Product(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., out)."""
        return self.fc2(self.kernels.gelu_product(self.fc1, x))


class LayerScale(nn.Module):
    """A learned factor per channel (arXiv 2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))


class Block(KernelUser):
    """Pre-norm transformer block with layer scale."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float,
        layer_scale: float,
        norm_eps: float,
        is_qk_normed: bool,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = Attention(width, heads, is_qk_normed=is_qk_normed)
        self.ls1 = LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, round(width * mlp_ratio), width)
        self.ls2 = LayerScale(width, layer_scale)

    def forward(self, x: Tensor, turn: Rotation | None = None) -> Tensor:
        """Attend within each sequence of ``x`` (B, L, width)."""
        return self.finish(x, self.attn(self._normed(x), turn))

    def project(
        self,
        x: Tensor,
        turn: Rotation,
        descriptors: Callable[[Tensor], Tensor],
        source_turn: Rotation,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of ``x`` (B, L, width), keys and values of ``descriptors`` of its norm."""
        normed = self._normed(x)
        return self.attn.project(normed, turn, descriptors(normed), source_turn)

    def _normed(self, x: Tensor) -> Tensor:
        return self.normalize(self.norm1, x, self.attn.qkv.dtype)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add to ``x`` what attention gave and what the perceptron makes of the sum."""
        norm, mlp = self.norm2, self.mlp
        x, normed = self.kernels.add_product_and_normalize(
            x, self.attn.proj, mixed, self.ls1.gamma, norm.weight, norm.bias, norm.eps,
            mlp.fc1.dtype,
        )
        hidden = self.kernels.gelu_product(mlp.fc1, normed)
        return self.kernels.add_product(x, mlp.fc2, hidden, self.ls2.gamma)
