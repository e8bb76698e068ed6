"""The body of FlashVGGT: frame attention and descriptor attention in turn (arXiv 2512.01540).

Every token of a chunk attends to descriptors: of each frame its special tokens and its patches on
a grid coarser by ``kv_downfactor``, and of the reference frame all patches. The keys and values of
earlier chunks come from a memory that the caller passes in; nothing is kept in here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from flashvggt_ros.model.attention import Block
from flashvggt_ros.model.chunk_graphs import ChunkGraphs, Stop, Stretches
from flashvggt_ros.model.chunk_keys import ChunkKeys, KeyLayout
from flashvggt_ros.model.frame_parts import Share, shared_attention, undivided
from flashvggt_ros.model.keyframes import choose_keyframes
from flashvggt_ros.model.memory import ChunkLayout, Memory
from flashvggt_ros.model.model_config import ModelConfig
from flashvggt_ros.model.vit import VisionTransformer, random_tokens

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
LAYOUTS_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the body of the model knows of a chunk of N frames.

    ``encoder`` (B, N, patches, C): the image encoder's patch tokens. ``taps``: four times
    (B, N, specials + patches, 2C), the stored outputs of frame and descriptor blocks. ``last``: the
    same of the last pair of blocks, often the last tap itself.
    ``camera_tokens`` (B, k, 2C): of the memory's frames so far, this chunk's last, or those of its
    camera window; ``complete_poses`` makes of their poses (B, k, 9) those of all frames (B, K, 9).
    ``grid``: patch rows and columns. ``specials``: tokens before the patches, the camera's first.
    """

    encoder: Tensor
    taps: tuple[Tensor, ...]
    last: Tensor
    camera_tokens: Tensor
    grid: tuple[int, int]
    specials: int
    complete_poses: Callable[[Tensor], Tensor]


class Aggregator(nn.Module):
    """Image encoder, camera and register tokens, and the alternating attention blocks."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.residual_dtype = torch.float32  # of the tokens between blocks, see Precision
        self.graphs = ChunkGraphs(0)
        self.share: Share = undivided
        self._layouts: dict[KeyLayout, ChunkKeys] = {}
        self._tapped = sorted({*config.taps, config.depth - 1})
        width = config.width
        self.patch_embed = VisionTransformer(
            width=width, depth=config.encoder_depth, heads=config.encoder_heads,
            mlp_ratio=config.encoder_mlp_ratio, registers=config.encoder_registers,
            patch_size=config.patch_size, grid=config.position_grid,
        )
        # Slot 0 is for the first frame of a memory, slot 1 for all others.
        self.camera_token = random_tokens(1, 2, 1, width, deviation=1e-6)
        self.register_token = random_tokens(1, 2, config.registers, width, deviation=1e-6)
        self.frame_blocks = self._blocks()
        self.global_blocks = self._blocks()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)
        self.set_normalization(self.camera_token.device)

    def set_normalization(self, device: torch.device | str) -> None:
        """Make the constants that no checkpoint carries, on ``device``."""
        self.mean = torch.tensor(IMAGE_MEAN, device=device).view(3, 1, 1)
        self.std = torch.tensor(IMAGE_STD, device=device).view(3, 1, 1)

    def _blocks(self) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            Block(config.width, config.heads, mlp_ratio=config.mlp_ratio,
                  layer_scale=config.layer_scale, norm_eps=1e-5, is_qk_normed=True)
            for _ in range(config.depth)
        )

    def forward(
        self, images: Tensor, memory: Memory, keyframes: Sequence[int] | None = None
    ) -> Features:
        """Encode RGB ``images`` (B, N, 3, H, W) in [0, 1], which the memory then includes.

        ``keyframes``: frames kept at full resolution; None: the first of the memory, or for the
        single-forward variant the model's own choice.
        """
        config = self.config
        batch, count, _, height, width = images.shape
        grid = (height // config.patch_size, width // config.patch_size)
        standardized = ((images - self.mean) / self.std).flatten(0, 1)
        is_first = memory.seen == 0
        (encoder,) = self.graphs.run("encoder", self._encoding, standardized)
        encoder = encoder.unflatten(0, (batch, count))
        specials = self._special_tokens(batch, count, is_first)
        x = torch.cat([specials.to(encoder.dtype), encoder], dim=2)
        if config.kv_downfactor == 1:
            keyframes = ()  # every frame is at full resolution anyway
        elif keyframes is None:
            keyframes = self._keyframes(x, is_first)
        chunk = self._chunk_keys(KeyLayout(grid, count, tuple(keyframes), x.device))
        memory.begin(chunk_layout(config, grid, count, batch=batch, references=len(keyframes)))
        recorded = None if is_first else chunk  # a submap begins too seldom to be worth it
        outputs = self.graphs.run(
            recorded, partial(self._stretches, chunk=chunk), x, partial(_attend, memory)
        )
        outputs = tuple(output.unflatten(0, (batch, count)) for output in outputs)
        last = outputs[-1]
        taps = tuple(outputs[self._tapped.index(index)] for index in config.taps)
        camera_tokens = memory.end(last[:, :, 0])
        return Features(
            encoder, taps, last, camera_tokens, grid, config.specials, memory.complete_poses
        )

    def _encoding(self, images: Tensor) -> Stretches:
        """Encode standardized images (B * N, 3, H, W), with no stop."""
        yield from ()
        return (self.share(partial(self.patch_embed, residual_dtype=self.residual_dtype), images),)

    def _stretches(self, x: Tensor, chunk: ChunkKeys) -> Stretches:
        """Run the block pairs on tokens (B, N, tokens, C), pausing where the memory is needed.

        Returns the outputs (B * N, tokens, 2C) of the pairs that are tapped, the last one's last.
        """
        batch, count, tokens, _ = x.shape
        layers = {block: layer for layer, block in enumerate(self.config.descriptor_blocks)}
        outputs = []
        x = x.flatten(0, 1)
        for index in range(self.config.depth):
            block = self.global_blocks[index]
            assert isinstance(block, Block)
            x = within = self.share(partial(self.frame_blocks[index], turn=chunk.frame_turn), x)
            if index in layers:
                q, k, v = block.project(
                    x.reshape(batch, count * tokens, -1), chunk.frame_turn,
                    partial(chunk.descriptors, block.kernels), chunk.source_turn,
                )
                at_once = partial(block.attn.attend, chunk.frame_turn)
                attend = shared_attention(at_once, self.share, count)
                mixed = yield Stop(attend, layers[index], q, k, v)
                assert mixed is not None
                x = self.share(block.finish, x, mixed.reshape(batch * count, tokens, -1))
            else:
                x = self.share(partial(block, turn=chunk.frame_turn), x)
            if index in self._tapped:
                outputs.append(torch.cat([within, x], dim=-1))
        return tuple(outputs)

    def _special_tokens(self, batch: int, count: int, is_first: bool) -> Tensor:
        """Camera and register tokens (B, N, specials, C)."""
        slots = torch.cat([self.camera_token, self.register_token], dim=2)
        later = slots[:, 1:].expand(-1, count - is_first, -1, -1)
        chosen = torch.cat([slots[:, :1], later], dim=1) if is_first else later
        return chosen.expand(batch, -1, -1, -1)

    def _chunk_keys(self, layout: KeyLayout) -> ChunkKeys:
        """Make what a layout needs, or find it: chunks of a run are mostly alike."""
        known = self._layouts.pop(layout, None)
        if known is None:
            with torch.inference_mode(False), torch.no_grad():  # to be used in and out of that mode
                known = ChunkKeys(self.config, layout)
        self._layouts[layout] = known
        if len(self._layouts) > LAYOUTS_KEPT:
            self._layouts.pop(next(iter(self._layouts)))
        return known

    def _keyframes(self, x: Tensor, is_first: bool) -> tuple[int, ...]:
        if not is_first:
            return ()
        every = self.config.keyframe_every
        if self.config.variant == "stream" or x.shape[1] // every <= 1:
            return (0,)
        if x.shape[0] > 1:
            raise ValueError("give keyframes explicitly for a batch of more than one sequence")
        return choose_keyframes(x[0].mean(dim=1).float().detach().cpu().numpy(), every)


def chunk_layout(
    config: ModelConfig, grid: tuple[int, int], count: int, *, batch: int = 1, references: int = 1
) -> ChunkLayout:
    """Tell what a memory has to hold of a chunk of ``count`` frames of ``grid`` patches.

    ``references``: frames kept at full resolution besides, where descriptors are coarser than that.
    """
    rows, columns = grid
    if config.kv_downfactor == 1:
        references = 0
    cells = (rows // config.kv_downfactor) * (columns // config.kv_downfactor)
    return ChunkLayout(
        batch=batch,
        frames=count,
        reference_tokens=references * rows * columns,
        frame_tokens=config.specials + cells,
        layers=len(config.descriptor_blocks),
        heads=config.heads,
        head_dim=config.width // config.heads,
    )


def _attend(memory: Memory, stop: Stop) -> Tensor:
    """Add a stop's keys and values to the memory, and attend to all of it."""
    return stop.attend(stop.q, *memory.extend(stop.layer, stop.k, stop.v))
