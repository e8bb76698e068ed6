"""Other textures, tints and light for composed scenes, so that each serves many times."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from flashvggt_ros.scene import materials, primitives
from flashvggt_ros.scene.scene import Scene
from flashvggt_ros.scene.textures import KINDS

CHANGED = 0.7  # share of the textures that are swapped
RECOLORED = 0.5  # share of the colors that are drawn anew where the scene is realistic
_TABLE = 1024  # of colors per scene, found by a hash, so that equal tints stay equal


def varied(scenes: Scene, generator: torch.Generator) -> Scene:
    """Give scenes other textures, tints and light, each in the style it was composed in.

    Wild scenes take any texture and tint; realistic ones swap textures within their kind and draw
    colors that such a surface may have. The shares of light change in both.
    """
    is_wild = scenes.lights[:, primitives.STYLE] == materials.WILD
    wild, real = _wild(scenes, generator), _realistic(scenes, generator)
    rows = torch.where(is_wild[:, None, None], wild, real)
    lights = scenes.lights.clone()
    device = lights.device
    lights[:, 17] *= _rand(generator, len(lights)).to(device) ** 0.5
    for color in (slice(3, 6), slice(10, 13), slice(14, 17)):
        power = 2 ** (1.2 * _rand(generator, len(lights), 1) - 0.6)
        warmth = 0.12 * (2 * _rand(generator, len(lights), 1) - 1)
        tint = power * (1 + warmth * torch.tensor([1.0, 0.0, -1.0], device=power.device))
        lights[:, color] *= tint.to(device)
    return dataclasses.replace(scenes, rows=rows, lights=lights)


def _wild(scenes: Scene, generator: torch.Generator) -> Tensor:
    device, draws = scenes.rows.device, generator.device
    batch, most = scenes.rows.shape[:2]
    total = scenes.textures.count
    skies = scenes.textures.kinds["sky"]
    kept = torch.arange(total, device=draws).expand(batch, -1)
    other = torch.randint(1, skies[0], (batch, total), generator=generator, device=draws)
    is_changed = _rand(generator, batch, total) < CHANGED
    rows = scenes.rows.clone()
    old = rows[..., primitives.TEXTURE].long()
    new = _looked_up(torch.where(is_changed, other, kept), old)
    is_sky = (old >= skies[0]) & (old <= skies[-1])
    rows[..., primitives.TEXTURE] = torch.where(is_sky, old.float(), new)
    tint = 1 + 0.25 * torch.randn(batch, most, 1, generator=generator, device=draws)
    tint = tint * (1 + 0.08 * torch.randn(batch, most, 3, generator=generator, device=draws))
    rows[..., primitives.TINT] = (rows[..., primitives.TINT] * tint.to(device)).clamp(min=0.03)
    detail = 2 ** (2.5 * _rand(generator, batch, most) - 1).to(device)
    _rescale(rows, detail, is_sky[..., 0])
    rows[..., primitives.OFFSET] = _rand(generator, batch, most, 2).to(device)
    return rows


def _realistic(scenes: Scene, generator: torch.Generator) -> Tensor:
    device = scenes.rows.device
    batch, most = scenes.rows.shape[:2]
    kinds = scenes.textures.kinds
    total = scenes.textures.count
    kind_of = torch.full((total,), KINDS.index("odd"))
    first, size = torch.zeros(total), torch.ones(total)
    for number, name in enumerate(KINDS):
        numbers = kinds[name]
        kind_of[numbers[0] : numbers[-1] + 1] = number
        first[numbers[0] : numbers[-1] + 1] = numbers[0]
        size[numbers[0] : numbers[-1] + 1] = len(numbers)
    draws = generator.device
    kept = torch.arange(total, device=draws).expand(batch, -1)
    other = first.to(draws) + (_rand(generator, batch, total) * size.to(draws)).floor()
    is_changed = (_rand(generator, batch, total) < CHANGED) & (kept > 0)
    rows = scenes.rows.clone()
    old = rows[..., primitives.TEXTURE].long()
    rows[..., primitives.TEXTURE] = _looked_up(torch.where(is_changed, other, kept), old)
    kind = kind_of.to(device)[old[..., 0]]
    rows[..., primitives.TINT] = _recolored(rows, kind, generator)
    is_fixed = (kind == KINDS.index("sky")) | (kind == KINDS.index("facade"))
    _rescale(rows, 2 ** (1.2 * _rand(generator, batch, most) - 0.6).to(device), is_fixed)
    contrast = rows[..., primitives.CONTRAST] * (0.6 + 0.7 * _rand(generator, batch, most)).to(
        device)
    rows[..., primitives.CONTRAST] = contrast.clamp(max=1.0)
    return rows


def _recolored(rows: Tensor, kind: Tensor, generator: torch.Generator) -> Tensor:
    """Tints (B, P, 3): equal tints of a scene stay equal, lamps keep theirs."""
    draws, batch = generator.device, len(rows)
    names = list(materials.COLORS)
    weights = torch.tensor([[materials.PALETTES[materials.KIND_PALETTES[k]].get(name, 0.0)
                             for name in names] for k in KINDS], device=draws)
    chosen = torch.multinomial(weights, batch * _TABLE, True, generator=generator)
    color = torch.tensor(list(materials.COLORS.values()), device=draws)[chosen]
    hue = _rand(generator, *chosen.shape, 3)
    hue = hue - hue.amin(-1, keepdim=True)
    floor = 0.05 + 0.65 * _rand(generator, *chosen.shape, 1)
    hue = floor + (1 - floor) * (hue / hue.amax(-1, keepdim=True).clamp(min=1e-6)) ** 1.5
    color = torch.where((chosen == names.index("vivid"))[..., None], color * hue, color)
    color = color * (0.7 + 0.5 * _rand(generator, *chosen.shape, 1))
    color = color.view(len(KINDS), batch, _TABLE, 3).to(rows.device)
    tint = rows[..., primitives.TINT]
    mixed = (tint * torch.tensor([12.9898, 78.233, 37.719], device=tint.device)).sum(-1) + kind
    slot = (mixed * 43.7585).frac().mul(_TABLE).long().clamp(0, _TABLE - 1)
    scene = torch.arange(batch, device=rows.device)[:, None]
    fresh = color[kind, scene, slot]
    pale = (0.8 + 0.4 * _rand(generator, batch, _TABLE)).to(rows.device)[scene, slot]
    is_new = (_rand(generator, batch, _TABLE) < RECOLORED).to(rows.device)[scene, slot]
    is_new &= rows[..., primitives.EMISSION] < 0.3
    return torch.where(is_new[..., None], fresh, tint * pale[..., None])


def _looked_up(mapping: Tensor, old: Tensor) -> Tensor:
    """Map texture numbers (B, P, 6) by a table (B, T) of each scene."""
    table = mapping.float().to(old.device)
    return table.gather(1, old.flatten(1)).view_as(old)


def _rescale(rows: Tensor, factor: Tensor, is_fixed: Tensor) -> None:
    scale = rows[..., primitives.SCALE]
    rows[..., primitives.SCALE] = torch.where((scale > 0) & ~is_fixed, scale * factor, scale)


def _rand(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)
