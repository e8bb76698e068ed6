"""Endless training sequences: random scenes, random camera paths, random cameras."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flashvggt_ros.scene import primitives
from flashvggt_ros.scene.camera_effects import photograph
from flashvggt_ros.scene.layout import MOST_PRIMITIVES, Layout, compose
from flashvggt_ros.scene.scene import Scene
from flashvggt_ros.scene.shutter import Shutter, swing
from flashvggt_ros.scene.textures import SIDE, Textures
from flashvggt_ros.scene.trajectory import CLOSE, DRIVE, trajectory
from training.variation import varied

FARTHEST = 80.0  # depth beyond this is sky or as good as sky [m]
PLACE_SHARES = {"room": 0.4, "desk": 0.12, "corridor": 0.1, "hall": 0.1, "street": 0.2,
                "park": 0.08}
MOTION_SHARES = {  # hand, robot, turn, orbit, walk, drive, drone
    "indoors": (0.36, 0.12, 0.06, 0.18, 0.14, 0.0, 0.14),
    "desk": (0.45, 0.0, 0.05, 0.4, 0.0, 0.0, 0.1),
    "street": (0.1, 0.05, 0.05, 0.08, 0.07, 0.6, 0.05),
}
FASTER = (1.0, 1.3, 1.0, 1.5, 1.0, 1.35, 1.6)  # steps of each motion, relative to a hand's
STREET_PACE = 0.5  # of a place that is a street
MOST_EXPOSURE = 0.3  # of the time between two frames
MOST_READOUT = 0.1
GLANCE = 8  # pixels per pixel of the small views that choose a path
LAYOUTS_A_TASK = 32


@dataclass(frozen=True, slots=True)
class Motion:
    """Range of motion between neighboring frames: means per sequence are drawn log-uniformly."""

    step: tuple[float, float] = (0.02, 0.2)  # [m] in a room; streets are larger by their pace
    turn: tuple[float, float] = (math.radians(1.5), math.radians(12.0))  # [rad]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B sequences of N frames.

    ``images`` (B, N, 3, H, W) in 0..1; ``depth`` (B, N, H, W) [m]; ``T_world_camera``
    (B, N, 4, 4); ``intrinsics`` (B, 4): fx, fy, cx, cy [px].
    """

    images: Tensor
    depth: Tensor
    T_world_camera: Tensor
    intrinsics: Tensor


def load_photographs(folder: Path | None, most: int = 100_000) -> dict[str, NDArray[np.uint8]]:
    """Pictures (M, 256, 256, 3) by kind of texture from a folder's files ``NUMBER_KIND.webp``."""
    names = sorted(folder.glob("*_*.webp"))[:most] if folder is not None else []
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    for name in names:
        picture = np.asarray(Image.open(name).convert("RGB").resize((SIDE, SIDE)))
        pictures.setdefault(name.stem.split("_")[1], []).append(picture)
    return {kind: np.stack(group) for kind, group in pictures.items()}


def _compose_many(seed: int, kinds: dict[str, tuple[int, ...]], shares: dict[str, float]
                  ) -> list[Layout]:
    rng = np.random.default_rng(seed)
    textures = Textures(torch.zeros(0, dtype=torch.int32), kinds)
    places = rng.choice(list(shares), LAYOUTS_A_TASK, p=list(shares.values()))
    return [compose(str(place), textures, rng) for place in places]


class ScenePool:
    """A pool of composed scenes on the device, renewed in the background by worker processes.

    Build it before the device is first used: the workers are forked.
    """

    def __init__(self, size: int, textures: Textures, seed: int, workers: int,
                 shares: dict[str, float] = PLACE_SHARES) -> None:
        """``size`` scenes of places by ``shares``, renewed by ``workers`` processes; 0: never."""
        self._shares = shares
        self._kinds, self._seed = textures.kinds, seed
        self._size = size - size % LAYOUTS_A_TASK
        self._workers = workers
        self._next_slot = 0
        self._textures = textures
        self._tasks: list[Future[list[Layout]]] = []
        if workers:
            self._executor = ProcessPoolExecutor(workers, get_context("fork"))
            self._tasks = [self._submit() for _ in range(self._size // LAYOUTS_A_TASK)]
            layouts = [layout for task in self._tasks for layout in task.result()]
            self._tasks = []
        else:
            tasks = self._size // LAYOUTS_A_TASK
            layouts = [layout for task in range(tasks)
                       for layout in _compose_many(seed + task, self._kinds, shares)]
        scene = Scene.of(layouts, textures)
        missing = MOST_PRIMITIVES - scene.rows.shape[1]
        if missing:
            absent = torch.from_numpy(primitives.absent()).expand(len(layouts), missing, -1)
            groups = torch.zeros(len(layouts), missing, dtype=torch.long)
            scene = dataclasses.replace(
                scene, rows=torch.cat([scene.rows, absent], 1),
                groups=torch.cat([scene.groups, groups], 1),
            )
        self.scenes = scene

    def _submit(self) -> Future[list[Layout]]:
        self._seed += 1
        return self._executor.submit(_compose_many, self._seed, self._kinds, self._shares)

    def to(self, device: torch.device) -> None:
        """Move the pool to a device."""
        self.scenes = _move(self.scenes, device)

    def refresh(self) -> None:
        """Put newly composed scenes in the place of old ones, as far as they are ready."""
        if not self._workers:
            return
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            self._replace(Scene.of(task.result(), self._textures))
        while len(self._tasks) < self._workers:
            self._tasks.append(self._submit())

    def _replace(self, fresh: Scene) -> None:
        slots = slice(self._next_slot, self._next_slot + LAYOUTS_A_TASK)
        most = fresh.rows.shape[1]
        self.scenes.rows[slots, :most] = fresh.rows.to(self.scenes.rows.device)
        self.scenes.groups[slots] = 0
        self.scenes.groups[slots, :most] = fresh.groups.to(self.scenes.rows.device)
        for name in ("counts", "lights", "walk", "pace"):
            target = getattr(self.scenes, name)
            target[slots] = getattr(fresh, name).to(target.device)
        self._next_slot = (self._next_slot + LAYOUTS_A_TASK) % self._size

    def close(self) -> None:
        """Stop the workers."""
        if self._workers:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def draw(
        self,
        sequences: int,
        frames: int,
        size: tuple[int, int],
        motion: Motion,
        generator: torch.Generator,
        *,
        samples: int = 4,
        shadows: bool = True,
        is_photographed: bool = True,
        kernel: Callable[..., Tensor] | None = None,
    ) -> Batch:
        """Render a batch of ``sequences`` of ``frames`` pictures of ``size`` (H, W)."""
        device = self.scenes.rows.device
        choice = torch.randint(self._size, (sequences,), generator=generator,
                               device=generator.device)
        scenes = varied(_select(self.scenes, choice.to(device)), generator)
        intrinsics = _cameras(sequences, size, generator).to(device)
        poses = _interesting_paths(scenes, frames, motion, intrinsics, size, generator)
        scenes = scenes.cleared(poses)
        sequence = torch.arange(sequences, device=device).repeat_interleave(
            frames, output_size=sequences * frames)
        exposure, readout, smear = _shutter_times(scenes, poses, intrinsics, generator)
        radiance, depth = scenes.cast(
            poses.flatten(0, 1), sequence.int(), intrinsics[sequence], size, samples, shadows,
            Shutter.moving(poses, exposure, readout),
        )
        if is_photographed:
            images = photograph(radiance, frames, generator, kernel,
                                smear.flatten() if samples > 1 else None)
        else:
            images = radiance.clamp(0, 1) ** 0.4545
        shape = (sequences, frames)
        return Batch(images.unflatten(0, shape), depth.unflatten(0, shape), poses, intrinsics)


def _move(scenes: Scene, device: torch.device) -> Scene:
    moved = {field.name: getattr(scenes, field.name).to(device)
             for field in dataclasses.fields(scenes)}
    return Scene(**moved)


def _select(scenes: Scene, index: Tensor) -> Scene:
    names = ("rows", "counts", "groups", "lights", "walk", "pace")
    return dataclasses.replace(scenes, **{name: getattr(scenes, name)[index] for name in names})


def _rand(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)


def _log_uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low * (high / low) ** _rand(generator, count)


def _interesting_paths(scenes: Scene, frames: int, motion: Motion, intrinsics: Tensor,
                       size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The one of two paths in each scene on which three small views show more contrast.

    Without that, one sequence in eight would show little but a bare wall.
    """
    count, device = len(scenes.rows), scenes.rows.device
    twice = _select(scenes, torch.arange(count, device=device).repeat(2))
    poses = _paths(twice, frames, motion, generator)
    some = sorted({0, frames // 2, frames - 1})
    shown = poses[:, some].flatten(0, 1)
    sequence = torch.arange(2 * count, device=device).repeat_interleave(
        len(some), output_size=len(shown))
    small = (size[0] // GLANCE, size[1] // GLANCE)
    radiance, depth = twice.cleared(poses).cast(
        shown, sequence.int(), (intrinsics / GLANCE).repeat(2, 1)[sequence], small, 1, False)
    gray = radiance.mean(1).flatten(1).clamp(min=1e-4).log()
    score = gray.std(1).clamp(max=0.8) - (depth < 0.4).float().mean((1, 2))
    score = score.unflatten(0, (2, count, len(some))).mean(2)
    first, second = poses[:count], poses[count:]
    return torch.where((score[0] > score[1])[:, None, None, None], first, second)


def _paths(scenes: Scene, frames: int, motion: Motion, generator: torch.Generator) -> Tensor:
    device, count = scenes.rows.device, len(scenes.rows)
    shares = torch.tensor([MOTION_SHARES[kind] for kind in ("indoors", "desk", "street")])
    is_desk = (scenes.walk[:, 1, :2] - scenes.walk[:, 0, :2]).amax(1) < 2 * CLOSE
    where = 1 * is_desk + 2 * (scenes.pace >= STREET_PACE)
    kinds = torch.multinomial(shares.to(generator.device)[where.to(generator.device)], 1,
                              generator=generator)[:, 0].to(device)
    faster = torch.tensor(FASTER, device=device)[kinds]
    slow = scenes.pace.clamp(max=torch.where(kinds == DRIVE, 1.0, 0.3))
    step = _log_uniform(*motion.step, count, generator).to(device) * slow * faster / 0.1
    turn = _log_uniform(*motion.turn, count, generator).to(device)
    return trajectory(kinds, scenes.walk, step, turn, frames, generator)


def _shutter_times(scenes: Scene, T_world_camera: Tensor, intrinsics: Tensor,
                   generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Exposure and readout (B, N) as shares of the time between frames, and smear (B, N) [px].

    The smear is that of things at a typical distance. Its mean in a sequence is drawn; half of the
    sequences have a rolling shutter.
    """
    device, (count, frames) = T_world_camera.device, T_world_camera.shape[:2]
    change = swing(T_world_camera)
    turn = change[..., :3].square().sum((-1, -2)).sqrt() / math.sqrt(2)  # [rad]
    away = 25 * scenes.pace[:, None]  # [m]
    speed = (turn + change[..., 3].norm(dim=-1) / away) * intrinsics[:, :1]  # [px per frame]
    smear = 8 * _rand(generator, count, 1).to(device) ** 2.5
    smear = smear * torch.where(_rand(generator, count, 1) < 0.1, 2.0, 1.0).to(device)
    share = (smear / speed.mean(1, keepdim=True).clamp(min=1e-3)).clamp(max=MOST_EXPOSURE)
    is_rolling = _rand(generator, count, 1) < 0.5
    readout = (MOST_READOUT * _rand(generator, count, 1) * is_rolling).to(device)
    return share.expand(-1, frames), readout.expand(-1, frames), share * speed


def _cameras(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Intrinsics (B, 4): 45 to 105 degrees across the longer side; the center nearly the middle."""
    height, width = size
    fov = torch.deg2rad(45 + 60 * _rand(generator, count))
    focal = max(height, width) / 2 / torch.tan(fov / 2)
    stretch = 1 + 0.04 * (_rand(generator, count) - 0.5)
    middle = torch.tensor([width / 2, height / 2], device=fov.device)
    center = middle * (1 + 0.04 * (_rand(generator, count, 2) - 0.5))
    return torch.cat([focal[:, None], (focal * stretch)[:, None], center], 1)
