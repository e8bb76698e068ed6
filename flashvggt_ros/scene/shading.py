"""What rays see where they meet primitives: texture, light, shadow and highlight."""

from __future__ import annotations

import torch
from torch import Tensor

from flashvggt_ros.scene import primitives as layout
from flashvggt_ros.scene.rays import FAR, View, interval
from flashvggt_ros.scene.textures import LEVELS, MACRO_SCALE, SIDE, TEXELS

PLAIN = 0.75  # what a texture fades to at contrast 0
SHADOW_LIFT = 4e-3  # offset of shadow rays along the normal [m]


def shade(
    table: Tensor,
    lights: Tensor,
    atlas: Tensor,
    view: View,
    t: Tensor,
    index: Tensor,
    samples: int,
    shadows: bool,
) -> Tensor:
    """Radiance (3, n) of the points that rays meet at depth ``t`` (n,) on primitive ``index``."""
    columns = table.T[:, index]  # (32, n)
    point = view.origin + view.directions * t
    m = columns[layout.MATRIX]
    unit = [m[4 * k] * point[0] + m[4 * k + 1] * point[1] + m[4 * k + 2] * point[2] + m[4 * k + 3]
            for k in range(3)]
    local = _unit_normal(columns[layout.KIND], unit)
    normal = torch.stack([m[k] * local[0] + m[4 + k] * local[1] + m[8 + k] * local[2]
                          for k in range(3)])
    normal = normal * (normal * normal).sum(0).clamp(min=1e-20).rsqrt()
    length = (view.directions * view.directions).sum(0).sqrt()
    cosine = (normal * view.directions).sum(0) / length
    normal = torch.where(cosine > 0, -normal, normal)
    pixel = t / (view.fx * samples**0.5)
    albedo = _albedo(columns, atlas, unit, local, pixel, cosine.abs())
    lit, highlight = _light(table, lights, view, point, normal, length, shadows)
    emission = columns[layout.EMISSION]
    color = albedo * (emission + (1 - emission) * lit) + columns[layout.GLOSS] * highlight
    return torch.where(t < FAR, color, 0.0)


def _unit_normal(kind: Tensor, unit: list[Tensor]) -> list[Tensor]:
    x, y, z = unit
    ax, ay, az = x.abs(), y.abs(), z.abs()
    is_x = (ax >= ay) & (ax >= az)
    is_y = ~is_x & (ay >= az)
    is_z = ~is_x & ~is_y
    is_box = kind == layout.BOX
    is_cylinder = kind == layout.CYLINDER
    is_cap = is_cylinder & (z * z > x * x + y * y)
    is_side = is_cylinder & ~is_cap
    return [
        torch.where((is_box & ~is_x) | is_cap, 0.0, x),
        torch.where((is_box & ~is_y) | is_cap, 0.0, y),
        torch.where((is_box & ~is_z) | is_side, 0.0, z),
    ]


def _albedo(
    columns: Tensor, atlas: Tensor, unit: list[Tensor], local: list[Tensor], pixel: Tensor,
    cosine: Tensor,
) -> Tensor:
    ax, ay, az = (value.abs() for value in local)
    is_x = (ax >= ay) & (ax >= az)
    is_z = ~is_x & (az > ay)
    half = columns[layout.HALF]
    half_u = torch.where(is_x, half[1], half[0])
    half_v = torch.where(is_z, half[1], half[2])
    p = torch.where(is_x, unit[1], unit[0])
    q = torch.where(is_z, unit[1], unit[2])
    scale = columns[layout.SCALE]
    is_fit = scale < 0
    per_metre = torch.where(is_fit, -scale / (2 * torch.minimum(half_u, half_v)), scale)
    offset = columns[layout.OFFSET]
    u = torch.where(is_fit, (0.5 + 0.5 * p) * -scale, p * half_u * scale + offset[0])
    v = torch.where(is_fit, (0.5 - 0.5 * q) * -scale, -q * half_v * scale + offset[1])
    axis = torch.where(is_x, 0, torch.where(is_z, 2, 1))
    value = torch.where(is_x, local[0], torch.where(is_z, local[2], local[1]))
    face = 2 * axis + (value > 0)
    texture = columns[layout.TEXTURE].gather(0, face[None])[0].long()
    footprint = pixel * SIDE / cosine.clamp(min=0.3)
    color = _fetch(atlas, texture, u, v, footprint * per_metre)
    slow = _fetch(atlas, torch.zeros_like(texture), p * half_u * MACRO_SCALE + offset[0],
                  q * half_v * MACRO_SCALE + offset[1], footprint * MACRO_SCALE)[0]
    color = PLAIN + columns[layout.CONTRAST] * (color - PLAIN)
    color = color * (1 + columns[layout.MACRO] * (slow - 0.5))
    return columns[layout.TINT] * color * color


def _fetch(atlas: Tensor, texture: Tensor, u: Tensor, v: Tensor, texels: Tensor) -> Tensor:
    """Bilinear texel (3, n) in 0..1 at the mip level nearest to a footprint of ``texels``."""
    level = (texels.clamp(min=1e-6).log2() + 0.5).floor().clamp(0, LEVELS - 1).int()
    size = SIDE >> level
    base = texture * TEXELS + 4 * (SIDE * SIDE - size * size) // 3
    x = (u - u.floor()) * size - 0.5
    y = (v - v.floor()) * size - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    left, top = x0.int() & (size - 1), y0.int() & (size - 1)
    right, bottom = (left + 1) & (size - 1), (top + 1) & (size - 1)
    result = torch.zeros(3, len(u), device=u.device)
    for row, wy in ((top, 1 - fy), (bottom, fy)):
        for column, wx in ((left, 1 - fx), (right, fx)):
            packed = atlas[base + row * size + column]
            weight = wx * wy / 255.0
            result[0] += (packed & 255) * weight
            result[1] += ((packed >> 8) & 255) * weight
            result[2] += ((packed >> 16) & 255) * weight
    return result


def _light(
    table: Tensor, lights: Tensor, view: View, point: Tensor, normal: Tensor, length: Tensor,
    shadows: bool,
) -> tuple[Tensor, Tensor]:
    """Diffuse light (3, n) and highlight (n,) at points."""
    lit = lights[14:17, None] * (0.75 + 0.25 * normal[2])
    highlight = torch.zeros_like(length)
    eye = view.directions / length
    for number in range(2):
        x = lights[7 * number : 7 * number + 7]
        to_light = x[:3, None] - point
        squared = (to_light * to_light).sum(0)
        direction = to_light * squared.clamp(min=1e-12).rsqrt()
        strength = (normal * direction).sum(0).clamp(min=0) / (1 + x[6] * squared)
        if number == 0 and shadows:
            shadow = _shadow(table, point + SHADOW_LIFT * normal, to_light)
            strength = strength * (1 - lights[17] * shadow)
        lit = lit + x[3:6, None] * strength
        mirrored = eye - 2 * (normal * eye).sum(0) * normal
        shine = (mirrored * direction).sum(0).clamp(min=0) ** 16
        highlight = highlight + shine * (strength > 0) / (1 + x[6] * squared)
    return lit, highlight


def _shadow(table: Tensor, origin: Tensor, to_light: Tensor) -> Tensor:
    shadow = torch.zeros(origin.shape[1], dtype=torch.bool, device=origin.device)
    for row in table[1:]:
        kind, emission = float(row[layout.KIND]), float(row[layout.EMISSION])
        if kind != layout.ABSENT and emission < 0.5:
            near, far = interval(row, origin, to_light)
            shadow |= (near <= far) & (far > 1e-4) & (near < 1.0)
    return shadow.float()
