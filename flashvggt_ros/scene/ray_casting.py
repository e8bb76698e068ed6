"""Ray casting of a scene in closed form with PyTorch, one frame at a time, on any device.

This is the reference of the renderer and its path on a CPU; ``ray_casting_triton`` computes the
same image in one kernel on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashvggt_ros.scene import primitives as layout
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.textures import LEVELS, MACRO_SCALE, SIDE, TEXELS
from flashvggt_ros.scene.visibility import Visible

EPSILON = 1e-3  # nearest hit [m along z]
FAR = 1e6
PLAIN = 0.75  # what a texture fades to at contrast 0
SHADOW_LIFT = 4e-3  # offset of shadow rays along the normal [m]

SAMPLE_OFFSETS = {
    1: ((0.0, 0.0),),
    2: ((-0.25, -0.25), (0.25, 0.25)),
    4: ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)),
}


def render(
    rows: Tensor,
    counts: Tensor,
    lights: Tensor,
    atlas: Tensor,
    scene_of_frame: Tensor,
    T_world_camera: Tensor,
    shutter: Shutter,
    visible: Visible,
    intrinsics: Tensor,
    size: tuple[int, int],
    samples: int,
    shadows: bool,
) -> tuple[Tensor, Tensor]:
    """Return radiance (F, 3, H, W) and depth along z (F, H, W) [m] of F frames.

    ``rows`` (B, P, 32) and ``counts`` (B,): primitives of B scenes, of which the first ``count``
    exist. ``lights`` (B, 20). ``atlas``: packed textures. ``T_world_camera`` (F, 4, 4). Each of
    1, 2 or 4 ``samples`` of a pixel is cast at its own part of the exposure of ``shutter``, a
    little earlier or later in neighboring pixels. ``visible``: what rays are cast at; shadows fall
    from everything. ``intrinsics`` (F, 4): fx, fy, cx, cy [px]; pixel centers are at integers.
    Depth is that of the pixel center in the middle of its row's exposure.
    """
    frames = len(T_world_camera)
    height, width = size
    radiance = torch.zeros(frames, 3, height, width, device=rows.device)
    depth = torch.empty(frames, height, width, device=rows.device)
    for frame in range(frames):
        scene = int(scene_of_frame[frame])
        table = rows[scene, : int(counts[scene])]
        seen = visible.order[frame, : int(visible.counts[frame])].tolist()
        bounds = visible.bounds[frame].tolist()
        parts = [(number, bounds[number]) for number in seen]
        camera = Camera.of(frame, T_world_camera, shutter, intrinsics, size)
        for sample, offset in enumerate(SAMPLE_OFFSETS[samples]):
            view = View(camera, offset, sample, samples)
            t, index = closest_hit(table, view, parts)
            color = shade(table, lights[scene], atlas, view, t, index, samples, shadows)
            radiance[frame] += color.view(3, height, width) / samples
        if samples > 1:
            t, _ = closest_hit(table, View(camera, (0.0, 0.0), 0, 1), parts)
        depth[frame] = t.view(height, width)
    return radiance, depth


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One frame's pose and its change (3, 4), exposure and readout, fx, fy, cx, cy, and size."""

    pose: Tensor
    swing: Tensor
    exposure: float
    readout: float
    lens: tuple[float, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, frame: int, T_world_camera: Tensor, shutter: Shutter, intrinsics: Tensor,
           size: tuple[int, int]) -> Camera:
        """One of the frames."""
        return cls(T_world_camera[frame, :3].float(), shutter.swing[frame].float(),
                   float(shutter.exposure[frame]), float(shutter.readout[frame]),
                   tuple(intrinsics[frame].tolist()), size)

    def moments(self, sample: int, samples: int) -> Tensor:
        """When (H, W) each pixel takes a sample, from when the middle row takes its middle one."""
        height, width = self.size
        x = torch.arange(width, device=self.pose.device)[None, :]
        y = torch.arange(height, device=self.pose.device)[:, None]
        dither = 0.125 + 0.5 * ((x + y) & 1) + 0.25 * (y & 1)
        moment = (sample + dither) / samples - 0.5 if samples > 1 else 0.0 * dither
        return self.exposure * moment + self.readout * ((y - (height - 1) / 2) / height)


class View:
    """Rays of one sample of a frame: origins (3, H*W or 1) and directions (3, H*W).

    Directions are of unit length along the optical axis.
    """

    def __init__(
        self, camera: Camera, offset: tuple[float, float], sample: int, samples: int
    ) -> None:
        self.size = camera.size
        self.fx, fy, cx, cy = camera.lens
        height, width = camera.size
        device = camera.pose.device
        u = (torch.arange(width, device=device) + offset[0] - cx) / self.fx
        v = (torch.arange(height, device=device) + offset[1] - cy) / fy
        x, y = u[None, :].expand(height, width), v[:, None].expand(height, width)
        rays = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
        self.directions = camera.pose[:, :3] @ rays
        self.origin = camera.pose[:, 3:]
        moment = camera.moments(sample, samples).reshape(1, -1)
        if bool(moment.any()) and bool(camera.swing.any()):
            self.directions = self.directions + moment * (camera.swing[:, :3] @ rays)
            self.origin = self.origin + moment * camera.swing[:, 3:]

    def part(self, values: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
        """Values (3, H*W or 1) at some rows and columns: (3, n or 1)."""
        if values.shape[1] == 1:
            return values
        return values.view(3, *self.size)[:, top:bottom, left:right].reshape(3, -1)


def closest_hit(
    table: Tensor, view: View, parts: list[tuple[int, list[int]]]
) -> tuple[Tensor, Tensor]:
    """Depth (H*W,) along z and index of the first primitive that each ray meets.

    ``parts``: primitives to try, and the rows and columns to try them in.
    """
    height, width = view.size
    depth = torch.full((height, width), FAR, device=table.device)
    index = torch.zeros(height, width, dtype=torch.long, device=table.device)
    for number, (top, bottom, left, right) in parts:
        direction = view.part(view.directions, top, bottom, left, right)
        origin = view.part(view.origin, top, bottom, left, right)
        near, far = interval(table[number], origin, direction)
        t = torch.where(near > EPSILON, near, far).view(bottom - top, right - left)
        hit = (near <= far).view_as(t) & (t > EPSILON) & (t < depth[top:bottom, left:right])
        depth[top:bottom, left:right] = torch.where(hit, t, depth[top:bottom, left:right])
        index[top:bottom, left:right].masked_fill_(hit, number)
    return depth.view(-1), index.view(-1)


def interval(row: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays (3, n) are inside a primitive: near and far (n,); near > far: they miss it."""
    matrix = row[layout.MATRIX].view(3, 4)
    o = matrix[:, :3] @ origin + matrix[:, 3:]
    d = matrix[:, :3] @ direction
    kind = float(row[layout.KIND])
    if kind == layout.BOX:
        near, far = _slabs(o, d)
        return near.amax(0), far.amin(0)
    if kind == layout.ELLIPSOID:
        return _quadratic((d * d).sum(0), (o * d).sum(0), (o * o).sum(0) - 1)
    near, far = _quadratic(
        (d[:2] * d[:2]).sum(0), (o[:2] * d[:2]).sum(0), (o[:2] * o[:2]).sum(0) - 1
    )
    near_z, far_z = _slabs(o[2], d[2])
    return torch.maximum(near, near_z), torch.minimum(far, far_z)


def _slabs(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    inverse = torch.where(d.abs() < 1e-9, 1e-9, d).reciprocal()
    middle = -o * inverse
    reach = inverse.abs()
    return middle - reach, middle + reach


def _quadratic(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    a = a.clamp(min=1e-12)
    disc = b * b - a * c
    root = disc.clamp(min=0).sqrt()
    miss = disc < 0
    return torch.where(miss, FAR, (-b - root) / a), torch.where(miss, -FAR, (-b + root) / a)


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
