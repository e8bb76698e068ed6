"""FlashVGGT: poses, depth and confidence of a sequence of images (arXiv 2512.01540)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flashvggt_ros.model.aggregator import Aggregator, Features
from flashvggt_ros.model.camera_head import CameraHead
from flashvggt_ros.model.depth_head import DepthHead
from flashvggt_ros.model.descriptor_cache import DescriptorCache
from flashvggt_ros.model.frame_parts import Share
from flashvggt_ros.model.memory import GradientCache, Memory, OneCallMemory
from flashvggt_ros.model.model_config import PRESETS, ModelConfig

__all__ = ["PRESETS", "DescriptorCache", "Features", "FlashVGGT", "GradientCache", "ModelConfig",
           "Prediction"]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the heads say.

    ``pose_enc`` (B, K, 9): of all K frames of the memory so far, camera-from-world translation,
    quaternion xyzw, vertical and horizontal field of view [rad]; the world is the first camera.
    ``pose_iterations`` (B, k, 9): after each iteration of the camera head, of the cache's camera
    window, which without a bound is all frames; pose_enc is the last.
    ``depth`` (B, N, H, W, 1) along z and ``depth_conf`` (B, N, H, W), at least 1, of the chunk's
    frames (or the subset asked for).
    """

    pose_enc: Tensor
    pose_iterations: tuple[Tensor, ...]
    depth: Tensor
    depth_conf: Tensor


class FlashVGGT(nn.Module):
    """The model; weights are random until a checkpoint is loaded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.aggregator = Aggregator(config)
        self.camera_head = CameraHead(
            2 * config.width, config.camera_depth, config.camera_heads, config.camera_mlp_ratio,
            config.camera_iterations,
        )
        self.depth_head = DepthHead(
            2 * config.width, config.patch_size, config.depth_features, config.depth_channels
        )

    def new_cache(
        self,
        *,
        dtype: torch.dtype = torch.float32,
        max_frames: int = 0,
        max_cache_mb: float = 0.0,
        memory_stride: int = 1,
        camera_window: int = 0,
    ) -> DescriptorCache:
        """Make the empty memory of a new submap, see DescriptorCache; 0: no bound; 1 MB: 1e6 B."""
        return DescriptorCache(
            dtype=dtype, max_frames=max_frames, max_bytes=math.ceil(max_cache_mb * 1e6),
            memory_stride=memory_stride, camera_window=camera_window,
        )

    def share_frames(self, share: Share) -> None:
        """Compute by ``share`` what concerns each frame alone: none of it needs gradients then."""
        self.aggregator.share = self.depth_head.share = share

    def forward_chunk(self, images: Tensor, cache: Memory) -> Prediction:
        """Predict a chunk of ``images`` (N, 3, H, W) or (B, N, 3, H, W) in [0, 1].

        H and W are multiples of the patch size and at least ``kv_downfactor`` patches. The cache
        grows by the chunk. Raises ValueError for other sizes.
        """
        return self.decode(self.encode_chunk(images, cache))

    def encode_chunk(
        self, images: Tensor, cache: Memory, keyframes: Sequence[int] | None = None
    ) -> Features:
        """Run the body of forward_chunk; the cache then includes the chunk.

        ``keyframes`` as in ``forward``.
        """
        batch = self._batched(images)
        if self.config.variant == "single" and cache.seen:
            raise ValueError("the single-forward variant sees a sequence in one call")
        if keyframes is not None:
            self._check_keyframes(keyframes, batch.shape[1])
        return self.aggregator(batch, cache, keyframes)

    def decode(self, features: Features, depth_frames: Sequence[int] | None = None) -> Prediction:
        """Run the heads of forward_chunk, in float32 (depth in its weights' type).

        ``depth_frames``: chunk indices of the frames to predict depth of, in this order; None: all.
        """
        iterations = self.decode_poses(features.camera_tokens)
        depth, confidence = self.decode_depth(features, depth_frames)
        poses = features.complete_poses(iterations[-1])
        return Prediction(poses, iterations, depth, confidence)

    def forward(
        self,
        images: Tensor,
        chunk_size: int | None = None,
        keyframes: Sequence[int] | None = None,
        cache: Memory | None = None,
    ) -> Prediction:
        """Predict a whole sequence (N, 3, H, W) or (B, N, 3, H, W), in chunks of ``chunk_size``.

        The same as forward_chunk on each chunk in turn, except that poses are decoded once.
        ``keyframes``: frames that the single-forward variant keeps at full resolution, in this
        order and as often as they are named; None: its own choice. ``cache``: None makes a fresh
        one, with gradients where they are enabled.
        """
        batch = self._batched(images)
        is_whole = chunk_size is None or chunk_size >= batch.shape[1]
        if self.config.variant == "single" and not is_whole:
            raise ValueError("the single-forward variant has no chunks: leave chunk_size out")
        if cache is None:
            chunked = GradientCache() if torch.is_grad_enabled() else self.new_cache()
            cache = OneCallMemory() if is_whole else chunked
        size = batch.shape[1] if is_whole or chunk_size is None else chunk_size
        depths = []
        for chunk in batch.split(size, dim=1):
            features = self.encode_chunk(chunk, cache, keyframes)
            depths.append(self.decode_depth(features))
        iterations = self.decode_poses(features.camera_tokens)
        depth, confidence = (torch.cat(parts, dim=1) for parts in zip(*depths, strict=True))
        poses = features.complete_poses(iterations[-1])
        return Prediction(poses, iterations, depth, confidence)

    def _batched(self, images: Tensor) -> Tensor:
        """Images (B, N, 3, H, W), checked."""
        batch = images[None] if images.ndim == 4 else images
        if batch.ndim != 5 or batch.shape[2] != 3 or batch.shape[1] < 1:
            raise ValueError(f"images are {tuple(images.shape)}, not (N, 3, H, W) or with batch")
        self.config.check_image_size(width=batch.shape[-1], height=batch.shape[-2])
        return batch

    def _check_keyframes(self, keyframes: Sequence[int], count: int) -> None:
        if self.config.variant == "stream":
            raise ValueError("the stream variant has no keyframes: its reference is frame 0")
        if not keyframes or not all(0 <= frame < count for frame in keyframes):
            raise ValueError(f"keyframes {list(keyframes)} must be within 0 to {count - 1}")

    def decode_poses(self, camera_tokens: Tensor) -> tuple[Tensor, ...]:
        """Pose encodings (B, K, 9) after each iteration, of ``Features.camera_tokens``."""
        with torch.autocast(camera_tokens.device.type, enabled=False):
            return self.camera_head(camera_tokens.float())

    def decode_depth(
        self, features: Features, frames: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Depth (B, n, H, W, 1) and confidence (B, n, H, W) of all or some frames of a chunk."""
        taps = [tap[:, :, features.specials:] for tap in features.taps]
        if frames is not None:
            taps = [tap[:, list(frames)] for tap in taps]
        shape = taps[0].shape[:2]
        with torch.autocast(taps[0].device.type, enabled=False):
            depth, confidence = self.depth_head([tap.flatten(0, 1) for tap in taps], features.grid)
        return depth.unflatten(0, shape)[..., None], confidence.unflatten(0, shape)
