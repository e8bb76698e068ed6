"""Camera paths like those of hands, walkers, robots, cars and drones, for many scenes at once.

World axes: z up. Camera axes are optical: x right, y down, z forward. Poses are world-from-camera.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HAND, ROBOT, TURN, ORBIT, WALK, DRIVE, DRONE = range(7)
MOTIONS = {"hand": HAND, "robot": ROBOT, "turn": TURN, "orbit": ORBIT, "walk": WALK,
           "drive": DRIVE, "drone": DRONE}
WAVES = 3
CLOSE = 1.0  # a walk space of less than this to each side [m] is one above or, along +y, before
# a desk, which cameras look down at
FASTEST_TURN = 0.44  # between neighboring frames, about one axis [rad]
LAP_POINTS = 512

Path = tuple[Tensor, Tensor, Tensor, Tensor]  # position (B, N, 3), yaw, pitch and roll (B, N)


def trajectory(
    motion: Tensor,
    walk: Tensor,
    step: Tensor,
    turn: Tensor,
    frames: int,
    generator: torch.Generator,
) -> Tensor:
    """Poses T_world_camera (B, N, 4, 4) float32 of N frames in B scenes.

    ``motion`` (B,) of MOTIONS. Those that wander in bursts: a hand (position and view; it may look
    down steeply and roll), a turn nearly on the spot, an orbit that keeps one point in view, a
    drone (fast, level, smooth). Those that follow a lap: a robot and a car (on the level; looking
    ahead, at times back or, the car, to a side), a walker (bobs, looks around). ``walk``
    (B, 2, 3): box that the camera stays in [m]. ``step`` and ``turn`` (B,): mean translation [m]
    and rotation [rad] between neighboring frames; near a border, and in bends, steps shorten.
    """
    noise = _Noise(len(motion), frames, generator, motion.device)
    low, high = walk[:, 0], walk[:, 1]
    middle, half = (low + high) / 2, (high - low) / 2
    wandering = _wandering(noise, motion, middle, half, step, turn)
    wandering = _orbiting(noise, motion, middle, half, step, wandering)
    following = _following(noise, motion, middle, half, step, turn)
    follows = ((motion == ROBOT) | (motion == WALK) | (motion == DRIVE))[:, None]
    position = torch.where(follows[..., None], following[0], wandering[0])
    yaw, pitch, roll = (torch.where(follows, one, other)
                        for one, other in zip(following[1:], wandering[1:], strict=True))
    return _poses(position, yaw, pitch, roll)


def _wandering(noise: _Noise, motion: Tensor, middle: Tensor, half: Tensor, step: Tensor,
               turn: Tensor) -> Path:
    """Position and view wander independently, both fast and slow at the same times."""
    is_drone, is_turn = (motion == DRONE)[:, None], (motion == TURN)[:, None]
    noise.hurry(torch.where(is_drone, 0.3, noise.uniform(0.0, 1.0)), noise.chance(0.3))
    yaw = _limited(_paced(noise.wander(0.6, 3.0)[..., None], turn), FASTEST_TURN)[..., 0]
    corner = 2 * noise.random(3) - 1  # rather near the walls, to see far across the place
    start = middle + half * corner.sign() * corner.abs().sqrt() * 0.85
    inward = torch.atan2(middle[:, 1] - start[:, 1], middle[:, 0] - start[:, 0])[:, None]
    is_close = half[:, :2].amax(1, keepdim=True) < CLOSE
    inward = torch.where(is_close, -math.pi / 2, inward)  # a desk is before the walk space
    yaw = yaw - yaw[:, :1] + inward + noise.normal(0.7)  # begin with a view of the place

    steep = noise.random(1) < torch.where(is_close, 0.7, 0.2)
    bias = torch.where(steep, noise.uniform(-1.1, -0.4), noise.uniform(-0.4, 0.2))
    bias = torch.where(is_drone, 0.4 * bias, bias)
    pitch = _limited(_paced(noise.wander(1.0, 4.0)[..., None], 0.5 * turn), 0.3)[..., 0]
    pitch = (bias + 0.35 * torch.tanh((pitch - pitch.mean(1, keepdim=True)) / 0.35))
    dice = noise.random(1)
    most = torch.where(dice < 0.55, 0.12, torch.where(dice < 0.88, 0.35, 1.05))  # 7, 20, 60 deg
    most = torch.where(is_turn, 0.12, torch.where(is_drone, 0.3, most))
    roll = _limited(_paced(noise.wander(1.0, 4.0)[..., None], 0.5 * turn), 0.3)[..., 0]
    roll = most * torch.tanh((roll - roll.mean(1, keepdim=True)) / most + noise.normal(0.5))

    path = torch.stack([noise.wander(0.4, 2.5), noise.wander(0.4, 2.5), noise.wander(0.7, 4.0)], -1)
    upward = torch.where(is_drone, 0.7, 0.35)[..., None]
    path = torch.cat([path[..., :2], path[..., 2:] * upward], -1)
    length = step * torch.where(is_turn, 0.15, 1.0)[:, 0]
    path = _limited(_paced(path, length), 2.5 * length[:, None, None])
    position = start[:, None] + path - path[:, :1]
    return _reflect(position, middle[:, None], half[:, None]), yaw, pitch.clamp(-1.25, 0.9), roll


def _orbiting(noise: _Noise, motion: Tensor, middle: Tensor, half: Tensor, step: Tensor,
              path: Path) -> Path:
    """Keep a point in view where the motion is an orbit and the point is not too near."""
    position, yaw, pitch, roll = path
    is_close = half[:, :2].amax(1, keepdim=True) < CLOSE
    target = middle + half * (2 * noise.random(3) - 1) * 1.2
    below = middle[:, 2:] - half[:, 2:] - noise.uniform(0.2, 0.5)
    before = target[:, 1:2] - torch.where(is_close, noise.uniform(0.0, 0.6), 0.0)
    target = torch.cat([target[:, :1], before, torch.where(is_close, below, target[:, 2:])], 1)
    view = target[:, None] - position
    level = view[..., :2].norm(dim=-1)
    turned = torch.atan2(view[..., 1], view[..., 0]) + 0.1 * (yaw - yaw.mean(1, True)).tanh()
    nod = torch.atan2(view[..., 2], level.clamp(min=0.5)) + 0.1 * (pitch - pitch.mean(1, True))
    # Nearer than this the view would spin: wander instead.
    enough = torch.where(is_close, 0.25, 0.8).maximum(3 * step[:, None])
    keep = (motion == ORBIT)[:, None] & (level.amin(1, keepdim=True) > enough)
    yaw = torch.where(keep, turned, yaw)
    return position, yaw, torch.where(keep, nod.clamp(-1.25, 0.9), pitch), roll


def _following(noise: _Noise, motion: Tensor, middle: Tensor, half: Tensor, step: Tensor,
               turn: Tensor) -> Path:
    """Drive or walk along a lap; the view is ahead but for what is particular to each motion."""
    is_walk, is_drive = (motion == WALK)[:, None], (motion == DRIVE)[:, None]
    pauses = noise.chance(0.2)
    noise.hurry(torch.where(is_walk, 0.4, 0.25) * noise.random(1), pauses)
    fastest = torch.where(is_drive[:, 0], 0.2, (2 * turn).clamp(0.06, 0.35))
    level, heading = _lap(noise, is_drive, middle, half, step, fastest)

    dice, side = noise.random(1), noise.sign()
    aside = torch.where(dice < 0.92, math.pi, torch.where(is_drive, math.pi / 2, 0.5)) * side
    aside = torch.where(dice < 0.85, 0.0, aside)
    swing = _limited(_paced(noise.wander(1.0, 4.0)[..., None], turn), 0.3)[..., 0]
    swing = torch.tanh(swing / 0.6) * torch.where(is_walk, 0.6, 0.03)
    yaw = heading + aside + swing + noise.normal(0.1) * (~is_drive)

    cycle = noise.uniform(0.1, 0.9) * noise.time + noise.random(1)  # of steps or of the road
    sway = torch.where(is_walk, 0.025, 0.006)
    tilt = torch.where(is_drive, noise.normal(0.012).clamp(-0.026, 0.026),
                       noise.uniform(-0.25, 0.08))
    pitch = tilt + sway * torch.sin(2 * math.pi * cycle)
    lean = torch.where(is_drive, noise.normal(0.008).clamp(-0.024, 0.024), noise.normal(0.03))
    roll = lean + sway * torch.sin(math.pi * cycle)
    height = torch.where(is_walk, noise.uniform(0.0, 0.9), noise.uniform(-0.9, 0.9))
    bob = torch.minimum(half[:, 2:] * 0.1, 0.03 * is_walk) * torch.sin(2 * math.pi * cycle + 1)
    up = middle[:, 2:] + half[:, 2:] * height + bob
    return torch.cat([level, up[..., None]], -1), yaw, pitch, roll


def _lap(noise: _Noise, is_drive: Tensor, middle: Tensor, half: Tensor, step: Tensor,
         fastest: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (B, N, 2) and headings (B, N) on a rounded rectangle or ellipse in the walk space.

    Each frame goes on by ``step`` where the lap is straight; in a bend by less, so that it turns
    by at most ``fastest`` [rad].
    """
    phase = torch.arange(LAP_POINTS + 1, device=middle.device) * (2 * math.pi / LAP_POINTS)
    phase = phase * noise.sign(0.5)
    square = torch.where(is_drive, noise.uniform(0.15, 0.35), noise.uniform(0.4, 1.0))
    wave = 1 + 0.1 * torch.sin(torch.where(is_drive, 2.0, 3.0) * phase
                               + 2 * math.pi * noise.random(1))
    size = half[:, :2] * (0.5 + 0.35 * noise.random(2))
    unit = torch.stack([phase.cos(), phase.sin()], -1)
    unit = unit.sign() * unit.abs().clamp(min=1e-9) ** square[..., None] * wave[..., None]
    point = middle[:, None, :2] + size[:, None] * unit  # (B, P + 1, 2)
    along = point[:, 1:] - point[:, :-1]
    course = torch.atan2(along[..., 1], along[..., 0])
    bend = _wrapped(course - course.roll(1, 1))  # (B, P) at each point
    heading = course[:, :1] - bend[:, :1] / 2 + torch.cat(
        [torch.zeros_like(bend[:, :1]), (bend + bend.roll(-1, 1)).cumsum(1) / 2], 1)
    rest = step / fastest  # [m/rad]
    each = (along.square().sum(-1) + (rest[:, None] * heading.diff(dim=1)).square()).sqrt()
    done = torch.cat([torch.zeros_like(each[:, :1]), each.cumsum(1)], 1)
    lap = done[:, -1:].clamp(min=1e-6)
    now = (noise.random(1) * lap + step[:, None] * noise.time) % lap
    after = torch.searchsorted(done, now.contiguous(), right=True).clamp(1, LAP_POINTS)
    share = (now - done.gather(1, after - 1)) / each.gather(1, after - 1).clamp(min=1e-9)
    first, second = heading.gather(1, after - 1), heading.gather(1, after)
    index = after[..., None].expand(-1, -1, 2)
    here, there = point.gather(1, index - 1), point.gather(1, index)
    share = share.clamp(0, 1)
    return here + share[..., None] * (there - here), first + share * (second - first)


def _wrapped(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


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


def _paced(path: Tensor, step: Tensor) -> Tensor:
    """Paths (B, N, D) scaled so that neighbors are ``step`` (B,) apart in the mean."""
    if path.shape[1] < 2:
        return path
    mean = (path[:, 1:] - path[:, :-1]).norm(dim=-1).mean(1).clamp(min=1e-6)
    return path * (step / mean)[:, None, None]


def _limited(path: Tensor, most: Tensor | float) -> Tensor:
    """Paths (B, N, D) from 0 whose steps are softly kept below ``most``."""
    step = path.diff(dim=1)
    length = step.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    step = step * (most * torch.tanh(length / most) / length)
    return torch.cat([torch.zeros_like(path[:, :1]), step.cumsum(1)], 1)


def _reflect(position: Tensor, middle: Tensor, half: Tensor) -> Tensor:
    """Fold positions into the box by reflection at its faces, with rounded turns."""
    q = (position - middle) / half.clamp(min=1e-3)
    return middle + half * torch.sin(q * (math.pi / 2)) * 0.98


class _Noise:
    """Random numbers and smooth random functions of time, one per scene."""

    def __init__(
        self, batch: int, frames: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self.batch, self.frames, self.device = batch, frames, device
        self.generator = generator
        self.time = torch.arange(frames, device=device).float().expand(batch, -1)

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

    def chance(self, probability: float) -> Tensor:
        return (self.random(1) < probability).float()

    def sign(self, negative: float = 0.5) -> Tensor:
        return torch.where(self.random(1) < negative, -1.0, 1.0)

    def hurry(self, bursts: Tensor, pauses: Tensor) -> None:
        """Let time (B, N) pass in bursts (B, 1; 0 to 1) and with pauses (B, 1; 0 or 1)."""
        self.time = torch.arange(self.frames, device=self.device).float().expand(self.batch, -1)
        pace = (bursts * _standard(self.wander(1.5, 6.0))).exp().clamp(max=4.0)
        rest = torch.sigmoid(6 * (_standard(self.wander(0.5, 2.0)) + 0.8))
        pace = pace * (1 + pauses * (rest - 1))
        pace = pace / pace.mean(1, keepdim=True).clamp(min=1e-3)
        self.time = pace.cumsum(1)

    def wander(self, slow: float, fast: float) -> Tensor:
        """Sum of sinusoids (B, N); ``slow`` to ``fast`` turns in 24 frames of this time."""
        time = self.time[..., None] / 24
        turns = slow * (fast / slow) ** self.random(WAVES)[:, None]
        phase = 2 * math.pi * (turns * time + self.random(WAVES)[:, None])
        weight = self.random(WAVES)[:, None] / turns + 0.05
        return (weight * torch.sin(phase)).sum(-1)


def _standard(wave: Tensor) -> Tensor:
    wave = wave - wave.mean(1, keepdim=True)
    return wave / wave.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
