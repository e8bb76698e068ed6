"""Dense global attention, as in VGGT (arXiv 2503.11651), on the same frames."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from flashvggt_ros.model.flashvggt import PRESETS, ModelConfig
from flashvggt_ros.model.precision import PRECISIONS
from flashvggt_ros.tools.benchmarking.case import Case, random_model
from flashvggt_ros.tools.benchmarking.measurement import run_once, stage_times


@dataclass(frozen=True, slots=True)
class DenseMeasurement:
    """All frames in one call, every token attending to every other in all global blocks.

    ``blocks`` of each kind were run and stand for ``of_blocks``: ``total_s`` is extrapolated where
    they are fewer, every block costing the same.
    """

    blocks: int
    of_blocks: int
    total_s: float
    stages_s: dict[str, float]


def dense_config(config: ModelConfig, blocks: int) -> ModelConfig:
    """Sizes of a dense model with so many frame and global blocks."""
    return dataclasses.replace(
        config, revision="r1", variant="single", kv_downfactor=1, depth=blocks,
        taps=(0, 0, blocks - 1, blocks - 1),
    )


def measure_dense(case: Case, images: Tensor, blocks: int) -> DenseMeasurement:
    """Measure a dense model of the case's sizes, with random weights, as VGGT computes.

    That is by autocast, with torch's attention and plain kernels. ``blocks``: how many of each kind
    to run; 0: all. The warm-up is a tenth of the frames.
    """
    config = PRESETS[case.preset]
    blocks = min(blocks, config.depth) or config.depth
    whole = dataclasses.replace(
        case, chunk=case.frames, max_cache_mb=0.0, precision=PRECISIONS["autocast"],
        precision_name="autocast", kernels="plain", has_graphs=False, depth_frames_at_once=0,
    )
    model = whole.prepare(random_model(dense_config(config, blocks), case.device, case.seed))
    few = dataclasses.replace(whole, frames=max(case.frames // 10, 1), chunk=case.frames)
    run_once(few, model, images, progress="dense warm-up")
    stages_s, total_s = stage_times(whole, model, images)
    factor = config.depth / blocks
    repeated = stages_s["frame blocks"] + stages_s["global blocks"]
    return DenseMeasurement(
        blocks=blocks,
        of_blocks=config.depth,
        total_s=total_s + (factor - 1) * repeated,
        stages_s={
            stage: seconds * (factor if stage.endswith("blocks") else 1)
            for stage, seconds in stages_s.items()
        },
    )
