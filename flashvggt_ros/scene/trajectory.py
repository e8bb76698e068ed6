"""Camera paths like those of hands and robots, for many scenes at once.

World axes: z up. Camera axes are optical: x right, y down, z forward. Poses are world-from-camera.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HAND, ROBOT, TURN, ORBIT = 0, 1, 2, 3
MOTIONS = {"hand": HAND, "robot": ROBOT, "turn": TURN, "orbit": ORBIT}
WAVES = 3


def trajectory(
    motion: Tensor,
    walk: Tensor,
    step: Tensor,
    turn: Tensor,
    frames: int,
    generator: torch.Generator,
) -> Tensor:
    """Poses T_world_camera (B, N, 4, 4) float32 of N frames in B scenes.

    ``motion`` (B,) of MOTIONS: a hand (position and view both wander), a robot (drives forward on
    the level, looks ahead), a turn nearly on the spot, an orbit that keeps one point in view.
    ``walk`` (B, 2, 3): box that the camera stays in [m]. ``step`` and ``turn`` (B,): mean
    translation [m] and rotation [rad] between neighboring frames; near a border steps shorten.
    """
    noise = _Noise(len(motion), frames, generator, motion.device)
    low, high = walk[:, 0], walk[:, 1]
    middle, half = (low + high) / 2, (high - low) / 2
    is_turn = (motion == TURN).float()
    is_robot = motion == ROBOT

    yaw = noise.wander(0.6, 3.0)
    yaw = yaw * (turn / _mean_step(yaw[..., None]))[:, None]
    start = middle + half * (2 * noise.random(3) - 1) * 0.8
    inward = torch.atan2(middle[:, 1] - start[:, 1], middle[:, 0] - start[:, 0])[:, None]
    yaw = yaw - yaw[:, :1] + inward + noise.normal(0.7)  # begin with a view of the place
    pitch_scale = torch.where(is_robot, 0.1, 0.5) * turn
    pitch = noise.wander(1.0, 4.0)
    pitch = pitch * (pitch_scale / _mean_step(pitch[..., None]))[:, None]
    pitch = 0.9 * torch.tanh(pitch / 0.9) + noise.uniform(-0.35, 0.15) * (~is_robot)[:, None]
    roll_scale = torch.where(is_robot, 0.03, 0.3) * turn
    roll = noise.wander(1.0, 5.0)
    roll = roll * (roll_scale / _mean_step(roll[..., None]))[:, None]
    roll = 0.4 * torch.tanh(roll / 0.4) + noise.normal(0.05) * (~is_robot)[:, None]

    path = torch.stack([noise.wander(0.4, 2.5), noise.wander(0.4, 2.5), noise.wander(0.7, 4.0)], -1)
    path = path * torch.tensor([1.0, 1.0, 0.35], device=path.device)
    length = step * (1 - 0.85 * is_turn)
    hand = path * (length / _mean_step(path))[:, None, None]
    ahead = torch.stack([yaw.cos(), yaw.sin(), torch.zeros_like(yaw)], -1)
    sideways = noise.normal(0.1)
    ahead = ahead + sideways[..., None] * torch.stack([-yaw.sin(), yaw.cos(), 0 * yaw], -1)
    speed = (1 + 0.4 * noise.wander(0.5, 2.0).tanh()) * step[:, None]
    robot = (ahead * speed[..., None]).cumsum(1) * noise.sign()[..., None]
    shift = torch.where(is_robot[:, None, None], robot, hand)
    position = start[:, None] + shift - shift[:, :1]
    position = _reflect(position, middle[:, None], half[:, None])

    orbit = motion == ORBIT
    target = middle + half * (2 * noise.random(3) - 1) * 1.2
    view = target[:, None] - position
    orbit_yaw = torch.atan2(view[..., 1], view[..., 0])
    orbit_pitch = torch.atan2(view[..., 2], view[..., :2].norm(dim=-1).clamp(min=0.5))
    near = view.norm(dim=-1).amin(1) < 0.8  # too near to keep in view: wander instead
    keep = (orbit & ~near)[:, None]
    yaw = torch.where(keep, orbit_yaw + 0.1 * (yaw - yaw.mean(1, keepdim=True)).tanh(), yaw)
    pitch = torch.where(keep, orbit_pitch + 0.1 * pitch, pitch)
    return _poses(position, yaw, pitch, roll)


def _poses(position: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Camera looking along (yaw, pitch) [rad], pitch up, then rolled about its optical axis."""
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    forward = torch.stack([cy * cp, sy * cp, sp], -1)
    right = torch.stack([sy, -cy, torch.zeros_like(cy)], -1)
    down = torch.linalg.cross(forward, right)
    cr, sr = roll.cos()[..., None], roll.sin()[..., None]
    T = torch.zeros(*yaw.shape, 4, 4, device=yaw.device)
    T[..., :3, 0] = cr * right + sr * down
    T[..., :3, 1] = cr * down - sr * right
    T[..., :3, 2] = forward
    T[..., :3, 3] = position
    T[..., 3, 3] = 1
    return T


def _mean_step(path: Tensor) -> Tensor:
    """Mean distance between neighbors of paths (B, N, D): (B,)."""
    if path.shape[1] < 2:
        return torch.ones(len(path), device=path.device)
    return (path[:, 1:] - path[:, :-1]).norm(dim=-1).mean(1).clamp(min=1e-6)


def _reflect(position: Tensor, middle: Tensor, half: Tensor) -> Tensor:
    """Fold positions into the box by reflection at its faces, with rounded turns."""
    q = (position - middle) / half.clamp(min=1e-3)
    folded = (torch.remainder(q + 1, 4) - 2).abs() - 1  # triangle wave, slope +-1
    return middle - half * torch.sin(folded * (math.pi / 2)) * 0.98


class _Noise:
    """Random numbers and smooth random functions of time, one per scene."""

    def __init__(
        self, batch: int, frames: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self.batch, self.frames, self.device = batch, frames, device
        self.generator = generator

    def random(self, size: int) -> Tensor:
        draw = torch.rand(
            self.batch, size, generator=self.generator, device=self.generator.device
        )
        return draw.to(self.device)

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self.random(1)

    def normal(self, scale: float) -> Tensor:
        draw = torch.randn(
            self.batch, 1, generator=self.generator, device=self.generator.device
        )
        return scale * draw.to(self.device)

    def sign(self) -> Tensor:
        return torch.where(self.random(1) < 0.15, -1.0, 1.0)

    def wander(self, slow: float, fast: float) -> Tensor:
        """Sum of sinusoids (B, N); ``slow`` to ``fast`` turns in 24 frames."""
        time = torch.arange(self.frames, device=self.device)[None, :, None] / 24
        turns = slow * (fast / slow) ** self.random(WAVES)[:, None]
        phase = 2 * math.pi * (turns * time + self.random(WAVES)[:, None])
        weight = self.random(WAVES)[:, None] / turns + 0.05
        return (weight * torch.sin(phase)).sum(-1)
