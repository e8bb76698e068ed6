"""Transformer blocks: attention over the tokens at hand, or over descriptors kept in a memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model.kernels import KernelUser
from flashvggt_ros.model.rope import Rotation, rotate

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes keys and values (B, heads, L, head_dim) of a chunk, returns those to attend to."""


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
        self.qkv = Product(width, 3 * width)
        self.q_norm = nn.LayerNorm(self.head_dim, eps=1e-5) if is_qk_normed else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim, eps=1e-5) if is_qk_normed else nn.Identity()
        self.proj = Product(width, width)

    def forward(self, x: Tensor, turn: Rotation | None = None) -> Tensor:
        """Attend within each sequence of ``x`` (B, L, width)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, -1, self.head_dim)).unbind(2)
        q, k = self._turn(q, self.q_norm, turn), self._turn(k, self.k_norm, turn)
        return self._attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))

    def cross(
        self, x: Tensor, source: Tensor, turn: Rotation, source_turn: Rotation, extend: Extend
    ) -> Tensor:
        """Attend from ``x`` (B, L, width) to descriptors ``source`` (B, M, width) and the memory.

        ``turn`` is that of all L tokens, or of one frame's, which then repeats. ``extend`` is given
        this chunk's normalized, rotated keys and the values, and returns all that are attended to.
        Arithmetic is in the values' type whatever the memory's is.
        """
        q = self.qkv.outputs(x, 0, self.width)
        q = q.unflatten(-1, (-1, self.head_dim)).unflatten(1, (-1, len(turn.cos)))
        kv = self.qkv.outputs(source, self.width, 3 * self.width)
        k, v = kv.unflatten(-1, (2, -1, self.head_dim)).unbind(2)
        q = self._turn(q, self.q_norm, turn).flatten(1, 2).transpose(1, 2)
        k = self._turn(k, self.k_norm, source_turn).transpose(1, 2)
        keys, values = extend(k, v.transpose(1, 2))
        return self._attend(q, keys.to(q.dtype), values.to(q.dtype))

    def _turn(self, tokens: Tensor, norm: nn.Module, turn: Rotation | None) -> Tensor:
        """Norm and rotate queries or keys (..., L, heads, head_dim), in their own type."""
        if isinstance(norm, nn.LayerNorm) and turn is not None:
            return self.kernels.turn(
                tokens, norm.weight, norm.bias, norm.eps, turn.cos, turn.sin
            )
        normed = norm(tokens).to(tokens.dtype)
        return normed if turn is None else rotate(normed, turn).to(tokens.dtype)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, L, head_dim)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = Product(width, hidden)
        self.fc2 = Product(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., out)."""
        return self.fc2(functional.gelu(self.fc1(x)))


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
        return self._finish(x, self.attn(self._normed(x), turn))

    def cross(
        self,
        x: Tensor,
        descriptors: Callable[[Tensor], Tensor],
        turn: Rotation,
        source_turn: Rotation,
        extend: Extend,
    ) -> Tensor:
        """Attend from ``x`` (B, L, width) to ``descriptors`` of the normalized x and the memory."""
        normed = self._normed(x)
        return self._finish(
            x, self.attn.cross(normed, descriptors(normed), turn, source_turn, extend)
        )

    def _normed(self, x: Tensor) -> Tensor:
        norm = self.norm1
        return self.kernels.normalize(x, norm.weight, norm.bias, norm.eps, self.attn.qkv.dtype)

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        norm = self.norm2
        x, normed = self.kernels.add_and_normalize(
            x, mixed, self.ls1.gamma, norm.weight, norm.bias, norm.eps, self.mlp.fc1.dtype
        )
        return self.kernels.add(x, self.mlp(normed), self.ls2.gamma)
