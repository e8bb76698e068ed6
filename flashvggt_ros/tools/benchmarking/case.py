"""What is to be measured, and the model and the images that it takes."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.model.checkpoint import resolve_checkpoint
from flashvggt_ros.model.chunk_graphs import ChunkGraphs
from flashvggt_ros.model.flashvggt import PRESETS, DescriptorCache, FlashVGGT, ModelConfig
from flashvggt_ros.model.kernel_choice import named_kernels
from flashvggt_ros.model.kernels import attention_backend, use_kernels
from flashvggt_ros.model.memory import OneCallMemory
from flashvggt_ros.model.precision import Precision, precision_on, set_precision
from flashvggt_ros.model.preprocess import Preprocessor
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames

RANDOM = "random"
IMAGES_KEPT = 200  # longer runs see them again and again
LARGEST = 10**9  # of a count
RANGES = {
    "frames": (1, LARGEST), "chunk": (1, LARGEST), "height": (1, 2**14), "width": (1, 2**14),
    "max_cache_mb": (0, LARGEST), "camera_window": (0, LARGEST),
    "depth_frames_at_once": (0, LARGEST), "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A model, how it computes, and a sequence.

    ``checkpoint``: RANDOM weights of ``preset`` drawn with ``seed``, or a checkpoint by name or
    file. ``max_cache_mb`` bounds the cache; 0: it is allocated for all ``frames`` at once.
    ``camera_window``: see PoseMemory, 0: none. ``has_graphs``: on a GPU, see ChunkGraphs.
    ``depth_frames_at_once``: frames in one piece of the depth head; 0: what suits the device.
    """

    preset: str
    checkpoint: str
    frames: int
    chunk: int
    height: int
    width: int
    precision: Precision
    precision_name: str
    device: torch.device
    attention: str = "auto"
    kernels: str = "auto"
    has_graphs: bool = True
    max_cache_mb: float = 0.0
    camera_window: int = 0
    depth_frames_at_once: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be within {low} to "
                                 f"{high}")

    @property
    def label(self) -> str:
        """Model and precision in a few words."""
        model = self.preset if self.checkpoint == RANDOM else Path(self.checkpoint).name
        return f"{model} {self.precision_name}"

    def check(self) -> None:
        """Raise ValueError for what cannot be computed here, before a model is made."""
        if self.checkpoint == RANDOM:
            PRESETS[self.preset].check_image_size(self.width, self.height)
        if self.kernels != "auto":
            named_kernels(self.kernels, self.device)
        if self.attention == "auto":
            return
        for dtype in {self.precision.weights, torch.float32}:  # of the blocks, and the camera head
            tokens = torch.zeros(1, 1, 8, 64, dtype=dtype, device=self.device)
            try:
                with self.computing():
                    functional.scaled_dot_product_attention(tokens, tokens, tokens)
            except RuntimeError as error:
                raise ValueError(f"attention {self.attention} cannot be had on {self.device.type} "
                                 f"in {str(dtype).removeprefix('torch.')}: leave it out, or name "
                                 "another") from error

    def model(self) -> FlashVGGT:
        """Make the model on the device, the same whenever it is made, in the case's precision."""
        if self.checkpoint == RANDOM:
            model = random_model(PRESETS[self.preset], self.device, self.seed)
        else:
            model, _ = resolve_checkpoint(self.checkpoint)
            model.to(self.device)
        return self.prepare(model)

    def config(self) -> ModelConfig:
        """Sizes of the model; those of a checkpoint are read from it."""
        if self.checkpoint == RANDOM:
            return PRESETS[self.preset]
        return resolve_checkpoint(self.checkpoint)[0].config

    def prepare(self, model: FlashVGGT) -> FlashVGGT:
        """Give a model the case's precision, kernels and graphs."""
        set_precision(model, self.precision)
        model.depth_head.frames_at_once = self.depth_frames_at_once
        is_plain = self.kernels == "auto" and self.precision.is_autocast
        use_kernels(model, named_kernels("plain" if is_plain else self.kernels, self.device))
        if self.has_graphs and not self.precision.is_autocast:
            model.aggregator.graphs = ChunkGraphs.on(self.device)
        return model

    def new_cache(self, model: FlashVGGT) -> DescriptorCache | OneCallMemory:
        """Make the memory of one run over all frames."""
        if model.config.variant == "single":
            return OneCallMemory()
        return model.new_cache(
            dtype=self.precision.cache,
            max_frames=0 if self.max_cache_mb else self.frames,
            max_cache_mb=self.max_cache_mb,
            camera_window=self.camera_window,
        )

    def computing(self) -> AbstractContextManager[object]:
        """Context for calls of the model."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        stack.enter_context(self.precision.autocast(self.device))
        is_torch = self.attention == "auto" and self.precision.is_autocast
        stack.enter_context(attention_backend("torch" if is_torch else self.attention))
        return stack


def named_precision(
    name: str, device: torch.device, *, checkpoint: str = "", residual: str = "",
    depth_head: str = "",
) -> Precision:
    """Look up a precision; ``fp32``, ``fp16`` or ``bf16`` gives a part another type, "" none.

    Raises ValueError for autocast with a residual stream in float16, which torch does not mix.
    """
    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    precision = precision_on(device, name, checkpoint)
    if precision.is_autocast and residual == "fp16":
        raise ValueError("autocast is in bfloat16, which torch does not mix with a residual stream "
                         "in fp16: take bf16 or fp32 for either")
    return dataclasses.replace(
        precision,
        residual=types.get(residual, precision.residual),
        depth_head=types.get(depth_head, precision.depth_head),
    )


def random_model(config: ModelConfig, device: torch.device, seed: int) -> FlashVGGT:
    """Make a model with random weights, drawn on the device itself."""
    torch.manual_seed(seed)
    with torch.device(device):
        return FlashVGGT(config).eval().requires_grad_(False)


def noise(case: Case) -> Tensor:
    """Random images (n, height, width, 3) in bytes, as many as are kept."""
    generator = torch.Generator().manual_seed(case.seed)
    shape = (min(case.frames, IMAGES_KEPT), case.height, case.width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def bag_images(path: Path, topic: str, config: ModelConfig, count: int) -> Tensor:
    """Take the first images (n, H, W, 3) of a bag, as a submap of the robot would see them.

    ``topic``: of these images; "": there is one topic only.
    Raises ValueError or OSError for a bag that cannot be read or has no image.
    """
    preprocessor = Preprocessor(config, width=0, use_calibration=True)
    with Bag(path) as bag:
        frames = BagFrames(bag, bag.choose_image_topics([topic] if topic else []), ImageConfig())
        good = (frame for frame in frames if frame is not None)
        kept = list(islice(good, min(count, IMAGES_KEPT)))
    if not kept:
        raise ValueError(f"{path} has no image that could be used")
    return _prepared(kept, preprocessor)


def _prepared(frames: list[Frame], preprocessor: Preprocessor) -> Tensor:
    canvas = preprocessor.canvas(frames[0].image)
    return torch.from_numpy(
        np.stack([preprocessor.prepare(frame, canvas).image for frame in frames])
    )
