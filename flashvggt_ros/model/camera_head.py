"""Reads camera poses and fields of view off the camera tokens, by iterative refinement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model.attention import Block, Mlp

POSE_SIZE = 9  # translation, quaternion xyzw, vertical and horizontal field of view


class CameraHead(nn.Module):
    """Refines a pose per frame; every frame of a submap attends to every other.

    A pose encoding is camera-from-world: translation (3), quaternion xyzw (4, any norm), vertical
    and horizontal field of view (2) [rad], after VGGT.
    """

    def __init__(
        self, width: int, depth: int, heads: int, mlp_ratio: float, iterations: int
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.has_tf32 = False  # see Precision
        self.width = width
        self.token_norm = nn.LayerNorm(width, eps=1e-5)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE_SIZE))
        self.embed_pose = nn.Linear(POSE_SIZE, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.ModuleList(
            Block(width, heads, mlp_ratio=mlp_ratio, layer_scale=0.01, norm_eps=1e-5,
                  is_qk_normed=False)
            for _ in range(depth)
        )
        self.trunk_norm = nn.LayerNorm(width, eps=1e-5)
        self.pose_branch = Mlp(width, width // 2, POSE_SIZE)

    def forward(self, camera_tokens: Tensor) -> tuple[Tensor, ...]:
        """Pose encodings (B, K, 9) after each iteration, of camera tokens (B, K, width)."""
        with _tf32_products() if self.has_tf32 else nullcontext():
            return self._refine(camera_tokens)

    def _refine(self, camera_tokens: Tensor) -> tuple[Tensor, ...]:
        tokens = self.token_norm(camera_tokens)
        plain = functional.layer_norm(tokens, (self.width,), eps=1e-6)
        pose = self.empty_pose_tokens.expand(*tokens.shape[:2], -1)
        delta_from = torch.zeros_like(pose)
        encodings = []
        for _ in range(self.iterations):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(pose)).chunk(3, dim=-1)
            x = tokens + gate * (plain * (1 + scale) + shift)
            for block in self.trunk:
                x = block(x)
            refined = delta_from + self.pose_branch(self.trunk_norm(x))
            encodings.append(torch.cat([refined[..., :7], refined[..., 7:].relu()], dim=-1))
            pose = delta_from = refined.detach()
        return tuple(encodings)


@contextmanager
def _tf32_products() -> Iterator[None]:
    """Let GPUs multiply matrices of float32 in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
