"""What is asked of the model, and the true answers, from depth and poses of a rendered batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.sequences import FARTHEST, Batch

ITERATION_DECAY = 0.6
CONFIDENCE_WEIGHT = 0.2
GAPS = (1, 2, 4, 8)  # frames between which relative poses are compared
SMALL_STEP = 0.03  # translations below it count by less, in units of the first image


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Targets of B sequences: world is the first camera, its mean point distance is 1.

    ``pose_enc`` (B, N, 9) as the camera head gives it; ``R`` (B, N, 3, 3), ``t`` (B, N, 3):
    camera-from-world; ``depth`` (B, N, H, W) and ``is_valid``; ``scale`` (B,): meters per unit;
    ``spread`` (B,): root mean square of t, at least 0.3.
    """

    pose_enc: Tensor
    R: Tensor
    t: Tensor
    depth: Tensor
    is_valid: Tensor
    scale: Tensor
    spread: Tensor
    intrinsics: Tensor


def truth(batch: Batch) -> Truth:
    """Targets of a batch."""
    T = batch.T_world_camera
    R = T[..., :3, :3].mT @ T[:, :1, :3, :3]  # R_camera_world R_world_first
    t = (T[..., :3, :3].mT @ (T[:, :1, :3, 3:] - T[..., :3, 3:]))[..., 0]
    is_valid = batch.depth < FARTHEST
    depth = batch.depth.clamp(max=FARTHEST)
    height, width = depth.shape[-2:]
    rays = pixel_rays(batch.intrinsics, height, width)  # (B, H, W, 3)
    distance = depth[:, 0] * rays.norm(dim=-1)
    count = is_valid[:, 0].sum((1, 2)).clamp(min=1)
    scale = ((distance * is_valid[:, 0]).sum((1, 2)) / count).clamp(min=0.05)
    t = t / scale[:, None, None]
    fov = 2 * torch.atan(torch.tensor([height, width], device=t.device) / 2
                         / batch.intrinsics[:, [1, 0]])
    fov = fov[:, None].expand(-1, t.shape[1], -1)
    pose_enc = torch.cat([t, quaternion(R), fov], -1)
    spread = t.square().sum(-1).mean(1).sqrt().clamp(min=0.3)
    return Truth(pose_enc, R, t, depth / scale[:, None, None, None], is_valid, scale, spread,
                 batch.intrinsics)


def log_scale(depth: Tensor, target: Tensor, is_valid: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the scale of predicted over true depth (B, n, H, W): median (B,) and mean (B,)."""
    ratio = (depth.clamp(min=1e-6).log() - target.clamp(min=1e-6).log())[..., ::4, ::4]
    valid = is_valid[..., ::4, ::4]
    median = torch.where(valid, ratio, torch.nan).detach().flatten(1).nanmedian(1).values
    count = valid.flatten(1).sum(1).clamp(min=1)
    return median.nan_to_num(0.0), (ratio * valid).flatten(1).sum(1) / count


def rescaled(target: Truth, factor: Tensor) -> Truth:
    """The same truth in units that are ``factor`` (B,) times smaller."""
    wide = factor[:, None, None]
    t = target.t * wide
    return dataclasses.replace(
        target, t=t, pose_enc=torch.cat([t, target.pose_enc[..., 3:]], -1),
        depth=target.depth * wide[..., None], scale=target.scale / factor,
        spread=target.spread * factor,
    )


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Directions (B, H, W, 3) of unit length along z through the pixel centers."""
    device = intrinsics.device
    u = (torch.arange(width, device=device) - intrinsics[:, 2:3]) / intrinsics[:, 0:1]
    v = (torch.arange(height, device=device) - intrinsics[:, 3:4]) / intrinsics[:, 1:2]
    u, v = torch.broadcast_tensors(u[:, None, :], v[:, :, None])
    return torch.stack([u, v, torch.ones_like(u)], -1)


def quaternion(R: Tensor) -> Tensor:
    """Unit quaternions xyzw with w >= 0 of rotations (..., 3, 3)."""
    m = R.flatten(-2).unbind(-1)
    squares = torch.stack([
        1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8], 1 - m[0] - m[4] + m[8],
        1 + m[0] + m[4] + m[8],
    ], -1)
    mixed = torch.stack([
        torch.stack([squares[..., 0], m[1] + m[3], m[2] + m[6], m[7] - m[5]], -1),
        torch.stack([m[1] + m[3], squares[..., 1], m[5] + m[7], m[2] - m[6]], -1),
        torch.stack([m[2] + m[6], m[5] + m[7], squares[..., 2], m[3] - m[1]], -1),
        torch.stack([m[7] - m[5], m[2] - m[6], m[3] - m[1], squares[..., 3]], -1),
    ], -2)
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = F.normalize(mixed.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(q[..., 3:] < 0, -q, q)


def rotation_matrix(q: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of quaternions xyzw of any norm."""
    x, y, z, w = F.normalize(q, dim=-1).unbind(-1)
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ], -1).unflatten(-1, (3, 3))


def camera_loss(iterations: tuple[Tensor, ...], target: Truth) -> dict[str, Tensor]:
    """L1 on each iteration of the camera head, and on relative poses of the last.

    Translations count relative to the sequence's own extent, so that a sequence that begins in
    front of a wall does not outweigh all others.
    """
    total = {"translation": torch.zeros((), device=target.t.device)}
    total["rotation"] = total["fov"] = total["translation"]
    count = len(iterations)
    for number, pose in enumerate(iterations):
        weight = ITERATION_DECAY ** (count - 1 - number) / count
        error = (pose - target.pose_enc).abs()
        relative = error[..., :3] / target.spread[:, None, None]
        total["translation"] = total["translation"] + weight * relative.mean()
        total["rotation"] = total["rotation"] + weight * error[..., 3:7].mean()
        total["fov"] = total["fov"] + weight * error[..., 7:].mean()
    return total | _relative_loss(iterations[-1], target)


def _relative_loss(pose: Tensor, target: Truth) -> dict[str, Tensor]:
    """Errors of the pose of each frame as seen from frames a few before it (GAPS).

    Of translations the error relative to their size, and that of their direction alone: scale
    drifts, and is taken from elsewhere, but a wrong direction bends the path.
    """
    R, t = rotation_matrix(pose[..., 3:7]), pose[..., :3]
    rotation, translation, direction = [], [], []
    for gap in GAPS:
        if t.shape[1] <= gap:
            break
        R_pred, t_pred = _between(R, t, gap)
        R_true, t_true = _between(target.R, target.t, gap)
        rotation.append((R_pred - R_true).abs().mean())
        size = t_true.norm(dim=-1, keepdim=True)
        translation.append(((t_pred - t_true).abs() / (SMALL_STEP * gap + size)).mean())
        course = t_pred / t_pred.norm(dim=-1, keepdim=True).clamp(min=SMALL_STEP)
        direction.append((course - t_true / size.clamp(min=SMALL_STEP)).abs().mean())
    return {"relative_rotation": torch.stack(rotation).mean(),
            "relative_translation": torch.stack(translation).mean(),
            "relative_direction": torch.stack(direction).mean()}


def _between(R: Tensor, t: Tensor, gap: int) -> tuple[Tensor, Tensor]:
    """Pose of frame i as seen from frame i + gap: rotations and translations."""
    R_between = R[:, gap:] @ R[:, :-gap].transpose(-1, -2)
    t_between = t[:, gap:] - (R_between @ t[:, :-gap, :, None])[..., 0]
    return R_between, t_between


def depth_loss(depth: Tensor, confidence: Tensor, target: Tensor, is_valid: Tensor
               ) -> dict[str, Tensor]:
    """Confidence-weighted error of log depth, and of its gradient at three scales.

    All (M, H, W). Where depth is not valid (sky) only confidence is asked to be low.
    """
    log_error = depth.clamp(min=1e-6).log() - target.clamp(min=1e-6).log()
    valid = is_valid.float()
    count = valid.sum().clamp(min=1)
    error = log_error.abs()
    weighted = confidence * error - CONFIDENCE_WEIGHT * confidence.log()
    weighted = (weighted * valid).sum() / count
    plain = (error.clamp(max=2) * valid).sum() / count
    sky = (confidence.log() * (1 - valid)).mean()
    gradient = torch.zeros_like(plain)
    for step in (1, 2, 4):
        e, m = log_error[..., ::step, ::step], valid[..., ::step, ::step]
        for axis in (-1, -2):
            change = e.diff(dim=axis).abs().clamp(max=1)
            both = torch.minimum(m.narrow(axis, 1, m.shape[axis] - 1),
                                 m.narrow(axis, 0, m.shape[axis] - 1))
            gradient = gradient + (change * both).sum() / both.sum().clamp(min=1) / 3
    return {"depth_confident": weighted + 0.05 * sky, "depth": plain, "depth_gradient": gradient}


@dataclass(frozen=True, slots=True, eq=False)
class PatchTruth:
    """Geometry at patch centers: ``points`` (B, N, P, 3) in the first camera, ``is_valid``."""

    points: Tensor
    is_valid: Tensor
    patch: int
    grid: tuple[int, int]


def patch_truth(target: Truth, patch: int) -> PatchTruth:
    """Points of the patch centers."""
    height, width = target.depth.shape[-2:]
    rays = pixel_rays(target.intrinsics, height, width)
    middle = slice(patch // 2, None, patch)
    depth = target.depth[..., middle, middle].flatten(2)
    is_valid = target.is_valid[..., middle, middle].flatten(2)
    points_camera = depth[..., None] * rays[:, None, middle, middle].flatten(2, 3)
    points = (points_camera - target.t[:, :, None]) @ target.R  # R^T (x - t)
    return PatchTruth(points, is_valid, patch, (height // patch, width // patch))


def matching_loss(
    features: Tensor, patches: PatchTruth, target: Truth, pairs: list[tuple[int, int]],
    temperature: Tensor,
) -> tuple[Tensor, Tensor]:
    """InfoNCE between patch features (B, N, P, D) of frame pairs; also the share matched right.

    The true place of a patch's center in the other frame lies between patches: the target is
    bilinear over the four nearest. Patches that leave the image or are hidden do not count.
    """
    sources = [i for i, _ in pairs]
    others = [j for _, j in pairs]
    index, weight, is_seen = _correspondences(patches, target, sources, others)
    a, b = F.normalize(features[:, sources], dim=-1), F.normalize(features[:, others], dim=-1)
    logits = (a @ b.transpose(-1, -2)).float() * temperature.exp().clamp(max=60)
    log_share = logits.log_softmax(-1)
    picked = (log_share.gather(-1, index) * weight).sum(-1)
    seen = is_seen.float()
    loss = -(picked * seen).sum() / seen.sum().clamp(min=1)
    with torch.no_grad():
        best = index.gather(-1, weight.argmax(-1, keepdim=True))[..., 0]
        right = (logits.argmax(-1) == best).float()
        accuracy = (right * seen).sum() / seen.sum().clamp(min=1)
    return loss, accuracy


def _correspondences(patches: PatchTruth, target: Truth, sources: list[int], others: list[int]
                     ) -> tuple[Tensor, Tensor, Tensor]:
    """For (B, pairs, P): four patches (.., 4) of the other frame, their weights, is it seen."""
    points = patches.points[:, sources]
    x = points @ target.R[:, others].transpose(-1, -2) + target.t[:, others, None]
    z = x[..., 2].clamp(min=1e-3)
    fx, fy, cx, cy = (value[:, None, None] for value in target.intrinsics.unbind(-1))
    u, v = x[..., 0] / z * fx + cx, x[..., 1] / z * fy + cy
    height, width = target.depth.shape[-2:]
    is_inside = (u > 0) & (v > 0) & (u < width - 1) & (v < height - 1) & (x[..., 2] > 1e-3)
    column, line = u.clamp(0, width - 1).round().long(), v.clamp(0, height - 1).round().long()
    surface = target.depth[:, others].flatten(2).gather(2, line * width + column)
    is_seen = is_inside & patches.is_valid[:, sources] & ((surface - z).abs() < 0.05 * z)
    rows, columns = patches.grid
    p = ((u - patches.patch // 2) / patches.patch).clamp(0, columns - 1)
    q = ((v - patches.patch // 2) / patches.patch).clamp(0, rows - 1)
    p0, q0 = p.floor().clamp(max=columns - 2), q.floor().clamp(max=rows - 2)
    a, b = p - p0, q - q0
    base = (q0 * columns + p0).long()
    index = torch.stack([base, base + 1, base + columns, base + columns + 1], -1)
    weight = torch.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], -1)
    return index, weight, is_seen


def point_loss(points: Tensor, patches: PatchTruth) -> Tensor:
    """Relative L1 error of predicted patch points (B, N, P, 3)."""
    error = (points - patches.points).abs().sum(-1)
    relative = error / (0.3 + patches.points.norm(dim=-1))
    valid = patches.is_valid.float()
    return (relative.clamp(max=4) * valid).sum() / valid.sum().clamp(min=1)
