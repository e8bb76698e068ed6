"""Train the compact checkpoint on endless synthetic scenes.

    torchrun --nproc-per-node 2 -m training.train --seconds 560 --out OUT     # several GPUs
    python -m training.train --seconds 560 --out OUT                          # one GPU
    python -m training.train --device cpu --tiny --steps 3 --out OUT          # a smoke test

A run lasts ``--seconds``, its start included, and covers the part ``--begin`` to ``--end`` of the
whole schedule (0 to 1). It goes on from ``--state`` where that file exists (as it must behind the
first slice), else from the weights ``--init``, else from nothing. Progress is printed as
lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch._dynamo
import torch._dynamo.utils
import torch.distributed as dist
import torch.fx.experimental._config
from torch import Tensor

from flashvggt_ros.model.flashvggt import PRESETS, FlashVGGT, ModelConfig
from flashvggt_ros.scene.camera_effects import expose
from flashvggt_ros.scene.textures import Textures
from training.checkpoints import load_into, save_parts
from training.fast_blocks import use_fast_blocks
from training.optimizer import Optimizer, gradient_of
from training.schedule import SCHEDULES
from training.sequences import ScenePool, load_photographs
from training.student import Student, initialize

EMA_DECAY = 0.998


def main() -> None:
    """Run the command line."""
    options = _options()
    started = time.monotonic()
    rank, world = _distributed()
    run = Run(options, rank, world)
    run.train(started)
    run.pool.close()
    if world > 1:
        dist.destroy_process_group()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for weights")
    parser.add_argument("--seconds", type=float, default=1e9, help="time to train, start included")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--begin", type=float, default=0.0)
    parser.add_argument("--end", type=float, default=1.0)
    parser.add_argument("--frames", type=int, help="a step and process; default 768, tiny: 16")
    parser.add_argument("--muon-rate", type=float, default=3e-3)
    parser.add_argument("--adam-rate", type=float, default=1e-3)
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES),
                        help="default: continue with --init, else scratch; tiny with --tiny")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--textures", type=Path, default=Path(".textures"))
    parser.add_argument("--pool", type=int, default=4096, help="scenes held")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2 - 2))
    parser.add_argument("--seed", type=int, default=0,
                        help="of the scenes; give another one when going on")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--tiny", action="store_true", help="a toy model, for tests")
    options = parser.parse_args()
    if options.begin > 0 and options.state is not None and not options.state.exists():
        parser.error(f"{options.state} is not there: a slice from {options.begin} on would begin "
                     "anew and lose what went before; the first slice begins at 0")
    options.frames = options.frames or (16 if options.tiny else 768)
    usual = "tiny" if options.tiny else "continue" if options.init else "scratch"
    options.schedule = options.schedule or usual
    return options


def _distributed() -> tuple[int, int]:
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    return rank, world


def tiny_config() -> ModelConfig:
    """A toy of the same structure, for tests on a CPU."""
    return ModelConfig(
        revision="r1", kv_downfactor=2, patch_size=14, image_width=56, position_grid=4, width=64,
        encoder_depth=1, encoder_heads=1, depth=4, heads=1, taps=(0, 1, 2, 3),
        descriptor_range=(0, 3), layer_scale=0.2, camera_depth=1, camera_heads=2,
        camera_mlp_ratio=1.0, depth_features=16, depth_channels=(8, 8, 16, 16),
    )


class Run:
    """One run of the training loop on one process."""

    def __init__(self, options: argparse.Namespace, rank: int, world: int) -> None:
        self.options, self.rank, self.world = options, rank, world
        self.schedule = SCHEDULES[options.schedule]
        seed = options.seed * 1009 + rank
        rng = np.random.default_rng(seed)
        photographs = load_photographs(options.textures)
        textures = Textures.with_photographs(rng, photographs, 2 if options.tiny else 12)
        pool = 64 if options.tiny else options.pool
        workers = 0 if options.tiny else options.workers
        self.pool = ScenePool(pool, textures, seed % 2**31, workers)
        self._use_device(options.device)
        self.pool.to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        torch.manual_seed(options.seed)
        torch._dynamo.config.recompile_limit = 64
        # Sizes that happen to be equal in one step are not in the next.
        torch.fx.experimental._config.use_duck_shape = False
        self.expose = torch.compile(expose, dynamic=True) if options.compile else expose
        self.config = tiny_config() if options.tiny else PRESETS["flashvggt-mini"]
        self.student = Student(FlashVGGT(self.config))
        initialize(self.student)
        if options.init is not None:
            load_into(self.student.model, options.init)
        self.student.to(self.device)
        use_fast_blocks(self.student.model, options.compile)
        self.optimizer = Optimizer(self.student)
        self.average = {name: p.detach().clone() for name, p in self.student.named_parameters()}
        self.step = 0
        if options.state is not None and options.state.exists():
            self._load_state()
        self._say(textures=textures.count, world=world, schedule=options.schedule,
                  parameters=sum(p.numel() for p in self.student.model.parameters()))

    def _use_device(self, kind: str) -> None:
        if kind == "cuda":
            local = int(os.environ.get("LOCAL_RANK", 0))
            torch.cuda.set_device(local)
            self.device = torch.device("cuda", local)
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
        else:
            self.device = torch.device(kind)
        if self.world > 1:
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")
            self.clock = dist.new_group(backend="gloo")

    def train(self, started: float) -> None:
        """Step until the time or the number of steps is used up; save at the end."""
        options = self.options
        begin = saved = time.monotonic()
        deadline = started + options.seconds - 12.0
        first_step = self.step
        progress_log = Progress()
        while self.step - first_step < options.steps:
            now = time.monotonic()
            share = max((now - begin) / max(deadline - begin, 1e-6),
                        (self.step - first_step) / options.steps)
            share = self._agree(share)
            if share >= 1:
                break
            progress = options.begin + (options.end - options.begin) * share
            progress_log.add(*self._train_step(progress))
            self.step += 1
            if self.step % options.log_every == 0:
                self._say(step=self.step, progress=round(progress, 4),
                          **progress_log.finish(self.world))
            if time.monotonic() - saved > 200:
                saved = time.monotonic()
                self._save_weights()
        self._save()

    def _agree(self, share: float) -> float:
        """The first process's clock, so that all stop together."""
        if self.world == 1:
            return share
        value = torch.tensor([share])
        dist.broadcast(value, 0, group=self.clock)
        return float(value)

    def _train_step(self, progress: float) -> tuple[dict[str, Tensor], int, int]:
        """Take a step; return losses and scores, frames of a sequence, and frames in all."""
        dice = random.Random(self.options.seed + self.step)
        kind, sizes, grid = self.schedule.choose(progress, dice)
        sequences = max(1, kind.batch * self.options.frames // kind.frames)
        patch = self.config.patch_size
        self.pool.refresh()
        with torch.no_grad():
            batch = self.pool.draw(
                sequences, kind.frames, (grid[0] * patch, grid[1] * patch), kind.motion,
                self.generator, samples=self.schedule.samples_a_pixel(progress),
                kernel=self.expose, shadows=not self.options.tiny and dice.random() < 0.5,
            )
        is_cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_cuda):
            total, parts = self.student(batch, sizes, max(1, kind.frames // 4),
                                        self.schedule.auxiliary_share(self.step))
        total.backward()
        norm = self._reduce_gradients()
        rate = self.schedule.rate(progress, self.step)
        auxiliary = self.schedule.auxiliary_rate(progress, self.step)
        self.optimizer.step(rate * self.options.muon_rate, rate * self.options.adam_rate,
                            auxiliary * self.options.adam_rate)
        self._update_average()
        return parts | {"loss": total, "gradient": norm}, kind.frames, sequences * kind.frames

    @torch.no_grad()
    def _reduce_gradients(self) -> Tensor:
        """Average gradients over processes, clip their norm to 1, and return the norm before."""
        gradients = [gradient_of(p) for p in self.student.parameters() if p.requires_grad]
        flat = torch.cat([g.flatten() for g in gradients])
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        norm = flat.norm()
        flat = (flat * (1.0 / (norm + 1e-6)).clamp(max=1.0)).nan_to_num(0.0, 0.0, 0.0)
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [x.view_as(g) for x, g in zip(parts, gradients,
                                                                     strict=True)])
        return norm

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(EMA_DECAY, (self.step + 1) / (self.step + 10))
        parameters: list[Tensor] = list(self.student.parameters())
        torch._foreach_lerp_(list(self.average.values()), parameters, 1 - decay)
        for parameter in parameters:
            parameter.grad = None

    def _save_weights(self) -> None:
        if self.rank:
            return
        self.options.out.mkdir(parents=True, exist_ok=True)
        weights = {name.removeprefix("model."): value for name, value in self.average.items()
                   if name.startswith("model.")}
        save_parts(weights, self.config, self.options.out, "flashvggt-mini")

    def _save(self) -> None:
        self._save_weights()
        if self.options.state is not None and not self.rank:
            self.options.state.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"student": self.student.state_dict(), "average": self.average,
                        "optimizer": self.optimizer.state_dict(), "step": self.step},
                       self.options.state)
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0
        self._say(saved=self.step, peak_gib=round(memory, 1))

    def _load_state(self) -> None:
        state = torch.load(self.options.state, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _say(self, **values: object) -> None:
        if not self.rank:
            print(json.dumps(values), flush=True)


class Progress:
    """Means over a span of steps; scores apart for each length of sequences."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._frames = 0

    def add(self, parts: dict[str, Tensor], length: int, frames: int) -> None:
        """Add a step on ``frames`` frames in sequences of ``length``."""
        self._frames += frames
        for name, value in parts.items():
            key = f"{name}_{length}" if name.startswith("score_") else name
            self._counts[key] += 1
            self._sums[key] = self._sums.get(key, torch.zeros_like(value)) + value.detach()

    def finish(self, world: int) -> dict[str, float]:
        """Means since the last call, and frames per second over all processes."""
        result = {name: round(float(value) / self._counts[name], 4)
                  for name, value in sorted(self._sums.items())}
        now = time.monotonic()
        result["frames_per_second"] = round(self._frames * world / (now - self._started))
        result["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        self._started = now
        self._clear()
        return result


if __name__ == "__main__":
    main()
