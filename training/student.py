"""The model while it learns: chunked passes, auxiliary heads, and the sum of all losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flashvggt_ros.model.flashvggt import FlashVGGT, GradientCache
from training import losses
from training.sequences import Batch

WEIGHTS = {
    "translation": 1.0, "rotation": 4.0, "fov": 0.5, "relative_rotation": 4.0,
    "relative_translation": 0.3, "relative_direction": 0.1, "depth_confident": 1.0, "depth": 1.0,
    "depth_gradient": 0.6, "unit": 0.5, "matching": 0.2, "matching_middle": 0.1, "points": 0.5,
}
MATCH_WIDTH = 96
MOST_RESCALED = math.log(2)


class Student(nn.Module):
    """FlashVGGT with heads that exist in training only.

    They ask of each patch where it is (a point in the first camera) and which patch of another
    frame shows the same thing (features). Without them poses stay at 'no rotation' for long.
    """

    def __init__(self, model: FlashVGGT) -> None:
        super().__init__()
        self.model = model
        width = 2 * model.config.width
        self.match = nn.Linear(width, MATCH_WIDTH)
        self.match_middle = nn.Linear(width, MATCH_WIDTH)
        self.point = nn.Linear(width, 3)
        self.temperature = nn.Parameter(torch.tensor([2.5, 2.5]))

    def forward(self, batch: Batch, sizes: list[int], depth_frames: int,
                auxiliary_share: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss, and all parts and scores, of sequences seen in chunks of ``sizes``.

        ``auxiliary_share``: of the auxiliary heads' gradients, how much goes on into the model.
        """
        target = losses.truth(batch)
        cache = GradientCache()
        last, middle, taps, chosen, start = [], [], [], [], 0
        for images, size in zip(batch.images.split(sizes, 1), sizes, strict=True):
            features = self.model.encode_chunk(images, cache)
            count = max(1, round(depth_frames * size / sum(sizes)))
            frames = sorted(torch.randperm(size)[:count].tolist())
            taps.append([tap[:, frames, features.specials:] for tap in features.taps])
            chosen += [start + frame for frame in frames]
            last.append(features.taps[-1][:, :, features.specials:])
            middle.append(features.taps[1][:, :, features.specials:])
            start += size
        depth, confidence = self._depth([torch.cat(x, 1) for x in zip(*taps, strict=True)],
                                        features.grid)
        target, unit = _in_own_unit(target, depth, chosen)
        patches = losses.patch_truth(target, self.model.config.patch_size)
        iterations = self._poses(features.camera_tokens)
        parts = losses.camera_loss(iterations, target) | {"unit": unit}
        parts |= losses.depth_loss(depth, confidence, target.depth[:, chosen],
                                   target.is_valid[:, chosen])
        patches_last = _partly_detached(torch.cat(last, 1), auxiliary_share)
        patches_middle = _partly_detached(torch.cat(middle, 1), auxiliary_share)
        parts["points"] = losses.point_loss(self.point(patches_last).float(), patches)
        pairs = _pairs(batch.images.shape[1])
        for number, (name, tokens, head) in enumerate((
            ("matching", patches_last, self.match),
            ("matching_middle", patches_middle, self.match_middle),
        )):
            parts[name], accuracy = losses.matching_loss(
                head(tokens), patches, target, pairs, self.temperature[number])
            parts[f"{name}_accuracy"] = accuracy
        total = torch.stack([WEIGHTS[name] * parts[name] for name in WEIGHTS]).sum()
        parts |= {f"score_{k}": v for k, v in scores(iterations[-1].detach(), target).items()}
        return total, parts

    def _depth(self, taps: list[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Depth and confidence (B, n, H, W) of n frames of all chunks, in one pass."""
        head = self.model.depth_head
        maps = head._decode(tuple(tap.flatten(0, 1) for tap in taps), grid).float()
        log_depth, log_confidence = maps.unflatten(0, taps[0].shape[:2]).unbind(2)
        return log_depth.clamp(-6, 6).exp(), 1 + log_confidence.clamp(-8, 5).exp()

    def _poses(self, tokens: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(tokens.device.type, enabled=False):
            return self.model.camera_head(tokens.float())


def _in_own_unit(target: losses.Truth, depth: Tensor, frames: list[int]
                 ) -> tuple[losses.Truth, Tensor]:
    """The truth in the unit of the predicted depth of ``frames``, and how far that unit is off.

    A wrong unit pushes every depth and translation of a sequence the same way and hides their
    shape. It has a loss of its own, and all others ask for shape, in one unit for depth and poses.
    """
    median, mean = losses.log_scale(depth, target.depth[:, frames], target.is_valid[:, frames])
    factor = median.clamp(-MOST_RESCALED, MOST_RESCALED).exp()
    return losses.rescaled(target, factor), mean.abs().mean()


def _partly_detached(x: Tensor, share: float) -> Tensor:
    """The same values with ``share`` of the gradient."""
    return x if share >= 1 else torch.lerp(x.detach(), x, share)


def _pairs(frames: int) -> list[tuple[int, int]]:
    """Four pairs of frames a few steps apart, in both directions."""
    pairs = []
    for _ in range(2):
        gap = int(torch.randint(1, min(frames, 5), (1,)))
        first = int(torch.randint(0, frames - gap, (1,)))
        pairs += [(first, first + gap), (first + gap, first)]
    return pairs


@torch.no_grad()
def scores(pose: Tensor, target: losses.Truth) -> dict[str, Tensor]:
    """Medians over frames: rotation error and true rotation, angle of translation [degrees]."""
    R = losses.rotation_matrix(pose[..., 3:7])
    error = (R.transpose(-1, -2) @ target.R)[:, 1:]
    angle = _angle(error)
    truth = _angle(target.R[:, 1:])
    centers = -(R.transpose(-1, -2) @ pose[..., :3, None])[..., 0]
    true_centers = -(target.R.transpose(-1, -2) @ target.t[..., None])[..., 0]
    direction = torch.cosine_similarity(centers[:, 1:], true_centers[:, 1:], dim=-1)
    moved = true_centers[:, 1:].norm(dim=-1) > 0.05
    direction = torch.rad2deg(direction.clamp(-1, 1).acos())
    direction = torch.where(moved, direction, torch.nan)
    return {"rotation": torch.rad2deg(angle).median(),
            "rotation_truth": torch.rad2deg(truth).median(), "direction": direction.nanmedian()}


def _angle(R: Tensor) -> Tensor:
    skew = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0],
                        R[..., 1, 0] - R[..., 0, 1]], -1)
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(skew.norm(dim=-1), trace - 1)


def initialize(student: Student) -> None:
    """Set what a start from scratch wants larger than the fine-tuning defaults of the model."""
    model = student.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("camera_head.trunk.") and name.endswith("gamma"):
                parameter.fill_(0.2)
            if name.endswith(("camera_token", "register_token", "cls_token", "register_tokens")):
                parameter.normal_(std=0.1)
        last = model.camera_head.pose_branch.fc2
        last.weight.mul_(0.2)
        each = 1 / model.camera_head.iterations
        last.bias.copy_(torch.tensor([0, 0, 0, 0, 0, 0, 1, 0.95, 1.2]) * each)
