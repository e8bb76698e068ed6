"""Other textures, tints and light for composed scenes, so that each serves many times."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from flashvggt_ros.scene import primitives
from flashvggt_ros.scene.scene import Scene


def varied(scenes: Scene, generator: torch.Generator) -> Scene:
    """Give scenes other textures, tints and light, so that a composed scene serves many times."""
    device, draws = scenes.rows.device, generator.device
    batch, most = scenes.rows.shape[:2]
    total = scenes.textures.count
    kept = torch.arange(total, device=draws).expand(batch, -1)
    other = torch.randint(1, total, (batch, total), generator=generator, device=draws)
    is_changed = _rand(generator, batch, total) < 0.7
    mapping = torch.where(is_changed, other, kept).float().to(device)
    rows = scenes.rows.clone()
    old = rows[..., primitives.TEXTURE].long()
    new = mapping.gather(1, old.flatten(1)).view_as(old)
    skies = scenes.textures.kinds["sky"]
    is_sky = (old >= skies[0]) & (old <= skies[-1])
    rows[..., primitives.TEXTURE] = torch.where(is_sky, old.float(), new)
    tint = 1 + 0.25 * torch.randn(batch, most, 1, generator=generator, device=draws)
    tint = tint * (1 + 0.08 * torch.randn(batch, most, 3, generator=generator, device=draws))
    rows[..., primitives.TINT] = (rows[..., primitives.TINT] * tint.to(device)).clamp(0.03, 1.2)
    detail = 2 ** (2.5 * _rand(generator, batch, most) - 1).to(device)
    scale = rows[..., primitives.SCALE]
    rows[..., primitives.SCALE] = torch.where((scale > 0) & ~is_sky[..., 0], scale * detail, scale)
    rows[..., primitives.OFFSET] = _rand(generator, batch, most, 2).to(device)
    lights = scenes.lights.clone()
    lights[:, 17] *= _rand(generator, batch).to(device) ** 0.5
    return dataclasses.replace(scenes, rows=rows, lights=lights)


def _rand(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)
