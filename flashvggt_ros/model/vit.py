"""The image encoder: DINOv2 with register tokens (arXiv 2304.07193, 2309.16588)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model.attention import Block
from flashvggt_ros.model.kernels import KernelUser

GPU_MULTIPLE = 8  # of channels, for products in 16 bits


def random_tokens(*shape: int, deviation: float) -> nn.Parameter:
    """Learned tokens before they are learned.

    Where a model is only planned, on the device meta, nothing is drawn: for that alone torch would
    import its compiler (1.4 s and 74 MB with torch 2.13).
    """
    tokens = torch.empty(shape)
    return nn.Parameter(tokens if tokens.is_meta else tokens.normal_() * deviation)


class PatchProjection(nn.Module):
    """Projects each patch of an image to a token."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (N, patches, width) of images (N, 3, H, W), row by row, in the weights' type.

        As the convolution does, which a matrix product of whole patches is faster than: on a GPU
        with zeros behind each, as its fast products read whole groups of channels.
        """
        weight, size = self.proj.weight, self.proj.kernel_size
        grid = images.unflatten(3, (-1, size[1])).unflatten(2, (-1, size[0]))
        grid = grid.permute(0, 2, 4, 1, 3, 5)
        matrix = weight.flatten(1)
        channels = matrix.shape[1]
        spare = -channels % GPU_MULTIPLE if images.is_cuda else 0
        patches = matrix.new_empty(*grid.shape[:3], channels + spare)
        patches[..., :channels].unflatten(3, grid.shape[3:]).copy_(grid)
        if spare:
            patches[..., channels:] = 0
            matrix = functional.pad(matrix, (0, spare))
        return functional.linear(patches.flatten(1, 2), matrix, self.proj.bias)


class VisionTransformer(KernelUser):
    """Encodes images one by one; ``grid``: the side of the learned position embedding [patches]."""

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        registers: int,
        patch_size: int,
        grid: int,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.grid = grid
        self.patch_embed = PatchProjection(width, patch_size)
        self.cls_token = random_tokens(1, 1, width, deviation=1e-6)
        self.pos_embed = random_tokens(1, 1 + grid * grid, width, deviation=0.02)
        self.register_tokens = random_tokens(1, registers, width, deviation=1e-6)
        # Used by DINOv2's own training only; here because released checkpoints carry it.
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio=mlp_ratio, layer_scale=1.0, norm_eps=1e-6,
                  is_qk_normed=False)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor, residual_dtype: torch.dtype = torch.float32) -> Tensor:
        """Encode standardized images (N, 3, H, W) to normalized tokens (N, patches, width).

        ``residual_dtype``: type of the tokens between blocks, and of the result.
        """
        count, _, height, width = images.shape
        x = self.patch_embed(images).to(residual_dtype)
        x = torch.cat([self.cls_token.expand(count, -1, -1).to(x.dtype), x], dim=1)
        x = x + self._position_embedding(height, width).to(x.dtype)
        registers = self.register_tokens.expand(count, -1, -1).to(x.dtype)
        x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.normalize(self.norm, x[:, 1 + registers.shape[1]:], x.dtype)

    def _position_embedding(self, height: int, width: int) -> Tensor:
        """Resample the embedding to an image's size (1, 1 + patches, C): bicubic, antialiased."""
        rows, columns = height // self.patch_size, width // self.patch_size
        if rows * columns == self.grid**2 and height == width:
            return self.pos_embed
        learned = self.pos_embed.float()
        square = learned[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        resized = functional.interpolate(square, (rows, columns), mode="bicubic", antialias=True)
        return torch.cat([learned[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
