"""The ray caster as one Triton kernel: the same image as ``ray_casting``, much faster.

One program casts a tile of one frame: all samples, shading and shadow rays, and the depth of the
pixel center. Of the visible primitives it tries those whose bounds reach into the tile.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from flashvggt_ros.scene import ray_casting, rays, shading, textures
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.visibility import Visible

TILE_HEIGHT, TILE_WIDTH = 8, 16  # pixels of one program

FAR = tl.constexpr(rays.FAR)
EPSILON = tl.constexpr(rays.EPSILON)
PLAIN = tl.constexpr(shading.PLAIN)
SHADOW_LIFT = tl.constexpr(shading.SHADOW_LIFT)
SIDE = tl.constexpr(textures.SIDE)
LEVELS = tl.constexpr(textures.LEVELS)
TEXELS = tl.constexpr(textures.TEXELS)
MACRO_SCALE = tl.constexpr(textures.MACRO_SCALE)
ROW = tl.constexpr(32)


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
    """Radiance (F, 3, H, W) and depth (F, H, W); arguments as ``ray_casting.render`` has them."""
    frames = len(T_world_camera)
    height, width = size
    device = rows.device
    radiance = torch.empty(frames, 3, height, width, device=device)
    depth = torch.empty(frames, height, width, device=device)
    poses = T_world_camera[:, :3].float().contiguous()  # (F, 3, 4)
    times = torch.stack([shutter.exposure * (samples > 1), shutter.readout], 1).float()
    offsets = torch.tensor([*ray_casting.SAMPLE_OFFSETS[samples], (0.0, 0.0)], device=device)
    tiles_across = triton.cdiv(width, TILE_WIDTH)
    grid = (triton.cdiv(height, TILE_HEIGHT) * tiles_across, frames)
    _render_kernel[grid](
        rows.contiguous(), counts.to(torch.int32), lights.contiguous(), atlas,
        scene_of_frame.to(torch.int32), poses, shutter.swing.float().contiguous(),
        times.contiguous(), visible.order, visible.counts, visible.bounds,
        intrinsics.float().contiguous(), offsets,
        radiance, depth, height, width, tiles_across, rows.shape[1],
        SAMPLES=samples, SHADOWS=shadows, TILE_HEIGHT=TILE_HEIGHT, TILE_WIDTH=TILE_WIDTH,
        num_warps=4,
    )
    return radiance, depth


@triton.jit
def _slab(o, d):
    inverse = 1.0 / tl.where(tl.abs(d) < 1e-9, 1e-9, d)
    middle = -o * inverse
    reach = tl.abs(inverse)
    return middle - reach, middle + reach


@triton.jit
def _quadratic(a, b, c):
    a = tl.maximum(a, 1e-12)
    disc = b * b - a * c
    root = tl.sqrt(tl.maximum(disc, 0.0))
    miss = disc < 0
    return tl.where(miss, FAR, (-b - root) / a), tl.where(miss, -FAR, (-b + root) / a)


@triton.jit
def _interval(row, ox, oy, oz, dx, dy, dz, kind):
    """Where rays are inside the primitive at ``row``."""
    m0, m1, m2, m3 = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    m4, m5, m6, m7 = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6), tl.load(row + 7)
    m8, m9, m10, m11 = tl.load(row + 8), tl.load(row + 9), tl.load(row + 10), tl.load(row + 11)
    px = m0 * ox + m1 * oy + m2 * oz + m3
    py = m4 * ox + m5 * oy + m6 * oz + m7
    pz = m8 * ox + m9 * oy + m10 * oz + m11
    qx = m0 * dx + m1 * dy + m2 * dz
    qy = m4 * dx + m5 * dy + m6 * dz
    qz = m8 * dx + m9 * dy + m10 * dz
    if kind == 1.0:
        near, far = _quadratic(
            qx * qx + qy * qy + qz * qz, px * qx + py * qy + pz * qz,
            px * px + py * py + pz * pz - 1.0,
        )
    else:
        near, far = _slab(pz, qz)
        if kind == 2.0:
            near_s, far_s = _quadratic(
                qx * qx + qy * qy, px * qx + py * qy, px * px + py * py - 1.0
            )
            near, far = tl.maximum(near, near_s), tl.minimum(far, far_s)
        else:
            near_x, far_x = _slab(px, qx)
            near_y, far_y = _slab(py, qy)
            near = tl.maximum(near, tl.maximum(near_x, near_y))
            far = tl.minimum(far, tl.minimum(far_x, far_y))
    return near, far


@triton.jit
def _closest(table, order, count, bounds, top, bottom, left, right, ox, oy, oz, dx, dy, dz):
    """First hit among the visible primitives that reach into the tile top:bottom, left:right."""
    best = tl.zeros_like(dx) + FAR
    index = tl.zeros_like(dx).to(tl.int32)
    for place in range(count):
        number = tl.load(order + place)
        box = bounds + number * 4
        is_near_rows = (tl.load(box) < bottom) & (tl.load(box + 1) > top)
        is_near_columns = (tl.load(box + 2) < right) & (tl.load(box + 3) > left)
        if is_near_rows & is_near_columns:
            row = table + number * ROW
            kind = tl.load(row + 15)
            near, far = _interval(row, ox, oy, oz, dx, dy, dz, kind)
            t = tl.where(near > EPSILON, near, far)
            hit = (near <= far) & (t > EPSILON) & (t < best)
            best = tl.where(hit, t, best)
            index = tl.where(hit, number, index)
    return best, index


@triton.jit
def _shadow(table, count, ox, oy, oz, dx, dy, dz):
    shadow = tl.zeros_like(dx)
    for number in range(1, count):
        row = table + number * ROW
        kind = tl.load(row + 15)
        emission = tl.load(row + 27)
        if (kind < 2.5) & (emission < 0.5):
            near, far = _interval(row, ox, oy, oz, dx, dy, dz, kind)
            shadow = tl.where((near <= far) & (far > 1e-4) & (near < 1.0), 1.0, shadow)
    return shadow


@triton.jit
def _texel(atlas, base, row, column, size, weight, r, g, b):
    packed = tl.load(atlas + base + row * size + column)
    w = weight / 255.0
    r += (packed & 255).to(tl.float32) * w
    g += ((packed >> 8) & 255).to(tl.float32) * w
    b += ((packed >> 16) & 255).to(tl.float32) * w
    return r, g, b


@triton.jit
def _fetch(atlas, texture, u, v, texels):
    level = tl.floor(tl.log2(tl.maximum(texels, 1e-6)) + 0.5)
    level = tl.minimum(tl.maximum(level, 0.0), LEVELS - 1.0).to(tl.int32)
    size = SIDE >> level
    base = texture * TEXELS + 4 * (SIDE * SIDE - size * size) // 3
    x = (u - tl.floor(u)) * size - 0.5
    y = (v - tl.floor(v)) * size - 0.5
    x0, y0 = tl.floor(x), tl.floor(y)
    fx, fy = x - x0, y - y0
    left, top = x0.to(tl.int32) & (size - 1), y0.to(tl.int32) & (size - 1)
    right, bottom = (left + 1) & (size - 1), (top + 1) & (size - 1)
    r, g, b = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    r, g, b = _texel(atlas, base, top, left, size, (1 - fx) * (1 - fy), r, g, b)
    r, g, b = _texel(atlas, base, top, right, size, fx * (1 - fy), r, g, b)
    r, g, b = _texel(atlas, base, bottom, left, size, (1 - fx) * fy, r, g, b)
    r, g, b = _texel(atlas, base, bottom, right, size, fx * fy, r, g, b)
    return r, g, b


@triton.jit
def _lamp(light, shadow, x, y, z, nx, ny, nz, ex, ey, ez, r, g, b, shine):
    """Add one light's diffuse part to (r, g, b) and its highlight to ``shine``."""
    lx, ly, lz = tl.load(light) - x, tl.load(light + 1) - y, tl.load(light + 2) - z
    k = tl.load(light + 6)
    squared = lx * lx + ly * ly + lz * lz
    inverse = 1.0 / tl.sqrt(tl.maximum(squared, 1e-12))
    lx, ly, lz = lx * inverse, ly * inverse, lz * inverse
    fall = 1.0 / (1.0 + k * squared)
    strength = tl.maximum(nx * lx + ny * ly + nz * lz, 0.0) * fall * shadow
    r += tl.load(light + 3) * strength
    g += tl.load(light + 4) * strength
    b += tl.load(light + 5) * strength
    ne = 2.0 * (nx * ex + ny * ey + nz * ez)
    mirrored = (ex - ne * nx) * lx + (ey - ne * ny) * ly + (ez - ne * nz) * lz
    s = tl.maximum(mirrored, 0.0)
    s2 = s * s
    s4 = s2 * s2
    s8 = s4 * s4
    shine += tl.where(strength > 0, s8 * s8 * fall, 0.0)
    return r, g, b, shine


@triton.jit
def _shade(table, count, light, atlas, ox, oy, oz, dx, dy, dz, t, index, pixel_size,
           SHADOWS: tl.constexpr):
    row = table + index * ROW
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    m0, m1, m2, m3 = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    m4, m5, m6, m7 = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6), tl.load(row + 7)
    m8, m9, m10, m11 = tl.load(row + 8), tl.load(row + 9), tl.load(row + 10), tl.load(row + 11)
    px = m0 * x + m1 * y + m2 * z + m3
    py = m4 * x + m5 * y + m6 * z + m7
    pz = m8 * x + m9 * y + m10 * z + m11
    kind = tl.load(row + 15)
    ax, ay, az = tl.abs(px), tl.abs(py), tl.abs(pz)
    is_x = (ax >= ay) & (ax >= az)
    is_y = (is_x == 0) & (ay >= az)
    is_z = (is_x == 0) & (is_y == 0)
    is_box = kind == 0.0
    is_cap = (kind == 2.0) & (pz * pz > px * px + py * py)
    is_side = (kind == 2.0) & (is_cap == 0)
    ux = tl.where((is_box & (is_x == 0)) | is_cap, 0.0, px)
    uy = tl.where((is_box & (is_y == 0)) | is_cap, 0.0, py)
    uz = tl.where((is_box & (is_z == 0)) | is_side, 0.0, pz)
    nx = m0 * ux + m4 * uy + m8 * uz
    ny = m1 * ux + m5 * uy + m9 * uz
    nz = m2 * ux + m6 * uy + m10 * uz
    inverse = 1.0 / tl.sqrt(tl.maximum(nx * nx + ny * ny + nz * nz, 1e-20))
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    length = tl.sqrt(dx * dx + dy * dy + dz * dz)
    cosine = (nx * dx + ny * dy + nz * dz) / length
    flip = tl.where(cosine > 0, -1.0, 1.0)
    nx, ny, nz = nx * flip, ny * flip, nz * flip

    ax, ay, az = tl.abs(ux), tl.abs(uy), tl.abs(uz)
    is_x = (ax >= ay) & (ax >= az)
    is_z = (is_x == 0) & (az > ay)
    hx, hy, hz = tl.load(row + 12), tl.load(row + 13), tl.load(row + 14)
    half_u = tl.where(is_x, hy, hx)
    half_v = tl.where(is_z, hy, hz)
    p = tl.where(is_x, py, px)
    q = tl.where(is_z, py, pz)
    scale = tl.load(row + 22)
    is_fit = scale < 0
    per_metre = tl.where(is_fit, -scale / (2.0 * tl.minimum(half_u, half_v)), scale)
    off_u, off_v = tl.load(row + 29), tl.load(row + 30)
    u = tl.where(is_fit, (0.5 + 0.5 * p) * -scale, p * half_u * scale + off_u)
    v = tl.where(is_fit, (0.5 - 0.5 * q) * -scale, -q * half_v * scale + off_v)
    axis = tl.where(is_x, 0, tl.where(is_z, 2, 1))
    value = tl.where(is_x, ux, tl.where(is_z, uz, uy))
    face = 2 * axis + tl.where(value > 0, 1, 0)
    texture = tl.load(row + 16 + face).to(tl.int32)
    footprint = t * pixel_size * SIDE / tl.maximum(tl.abs(cosine), 0.3)
    r, g, b = _fetch(atlas, texture, u, v, footprint * per_metre)
    slow, _g, _b = _fetch(atlas, texture * 0, p * half_u * MACRO_SCALE + off_u,
                          q * half_v * MACRO_SCALE + off_v, footprint * MACRO_SCALE)
    contrast = tl.load(row + 26)
    slow = 1.0 + tl.load(row + 28) * (slow - 0.5)
    r = (PLAIN + contrast * (r - PLAIN)) * slow
    g = (PLAIN + contrast * (g - PLAIN)) * slow
    b = (PLAIN + contrast * (b - PLAIN)) * slow
    r = tl.load(row + 23) * r * r
    g = tl.load(row + 24) * g * g
    b = tl.load(row + 25) * b * b

    up = 0.75 + 0.25 * nz
    lr, lg, lb = tl.load(light + 14) * up, tl.load(light + 15) * up, tl.load(light + 16) * up
    ex, ey, ez = dx / length, dy / length, dz / length
    shine = tl.zeros_like(dx)
    clear = tl.zeros_like(dx) + 1.0
    if SHADOWS:
        sx, sy, sz = x + SHADOW_LIFT * nx, y + SHADOW_LIFT * ny, z + SHADOW_LIFT * nz
        lx, ly, lz = tl.load(light) - x, tl.load(light + 1) - y, tl.load(light + 2) - z
        clear = 1.0 - tl.load(light + 17) * _shadow(table, count, sx, sy, sz, lx, ly, lz)
    lr, lg, lb, shine = _lamp(light, clear, x, y, z, nx, ny, nz, ex, ey, ez, lr, lg, lb, shine)
    lr, lg, lb, shine = _lamp(light + 7, tl.zeros_like(dx) + 1.0, x, y, z, nx, ny, nz, ex, ey, ez,
                              lr, lg, lb, shine)
    e = tl.load(row + 27)
    gloss = tl.load(row + 31) * shine
    seen = t < FAR
    r = tl.where(seen, r * (e + (1.0 - e) * lr) + gloss, 0.0)
    g = tl.where(seen, g * (e + (1.0 - e) * lg) + gloss, 0.0)
    b = tl.where(seen, b * (e + (1.0 - e) * lb) + gloss, 0.0)
    return r, g, b


# Sizes are not specialized on: one compilation serves pictures of all shapes.
@triton.jit(do_not_specialize=["height", "width", "tiles_across", "most"])
def _render_kernel(rows, counts, lights, atlas, scene_of_frame, poses, swings, times, orders,
                   visible_counts, all_bounds, intrinsics, offsets, radiance, depth, height, width,
                   tiles_across, most,
                   SAMPLES: tl.constexpr, SHADOWS: tl.constexpr, TILE_HEIGHT: tl.constexpr,
                   TILE_WIDTH: tl.constexpr):
    frame = tl.program_id(1)
    top = (tl.program_id(0) // tiles_across) * TILE_HEIGHT
    left = (tl.program_id(0) % tiles_across) * TILE_WIDTH
    lane = tl.arange(0, TILE_HEIGHT * TILE_WIDTH)
    x = left + lane % TILE_WIDTH
    y = top + lane // TILE_WIDTH
    inside = (x < width) & (y < height)
    column = x.to(tl.float32)
    line = y.to(tl.float32)
    scene = tl.load(scene_of_frame + frame)
    count = tl.load(counts + scene)
    table = rows + scene * most * ROW
    light = lights + scene * 20
    order = orders + frame * most
    seen = tl.load(visible_counts + frame)
    bounds = all_bounds + frame * most * 4
    fx, fy = tl.load(intrinsics + frame * 4), tl.load(intrinsics + frame * 4 + 1)
    cx, cy = tl.load(intrinsics + frame * 4 + 2), tl.load(intrinsics + frame * 4 + 3)
    exposure, readout = tl.load(times + frame * 2), tl.load(times + frame * 2 + 1)
    rolling = readout * ((line - (height - 1) / 2.0) / height)
    dither = 0.125 + 0.5 * ((x + y) & 1).to(tl.float32) + 0.25 * (y & 1).to(tl.float32)
    pose = poses + frame * 12
    swing = swings + frame * 12
    red = tl.zeros_like(column)
    green = tl.zeros_like(column)
    blue = tl.zeros_like(column)
    t = tl.zeros_like(column)
    index = tl.zeros_like(x)
    for sample in range(SAMPLES + 1):
        if (SAMPLES > 1) | (sample < SAMPLES):
            s = rolling
            if sample < SAMPLES:
                s = rolling + exposure * ((sample + dither) / SAMPLES - 0.5)
            u = (column + tl.load(offsets + 2 * sample) - cx) / fx
            v = (line + tl.load(offsets + 2 * sample + 1) - cy) / fy
            dx = ((tl.load(pose) + s * tl.load(swing)) * u
                  + (tl.load(pose + 1) + s * tl.load(swing + 1)) * v
                  + tl.load(pose + 2) + s * tl.load(swing + 2))
            dy = ((tl.load(pose + 4) + s * tl.load(swing + 4)) * u
                  + (tl.load(pose + 5) + s * tl.load(swing + 5)) * v
                  + tl.load(pose + 6) + s * tl.load(swing + 6))
            dz = ((tl.load(pose + 8) + s * tl.load(swing + 8)) * u
                  + (tl.load(pose + 9) + s * tl.load(swing + 9)) * v
                  + tl.load(pose + 10) + s * tl.load(swing + 10))
            ox = tl.load(pose + 3) + s * tl.load(swing + 3)
            oy = tl.load(pose + 7) + s * tl.load(swing + 7)
            oz = tl.load(pose + 11) + s * tl.load(swing + 11)
            t, index = _closest(table, order, seen, bounds, top, top + TILE_HEIGHT, left,
                                left + TILE_WIDTH, ox, oy, oz, dx, dy, dz)
            if sample < SAMPLES:
                size = 1.0 / (fx * tl.sqrt(SAMPLES * 1.0))
                r, g, b = _shade(table, count, light, atlas, ox, oy, oz, dx, dy, dz, t, index,
                                 size, SHADOWS)
                red += r / SAMPLES
                green += g / SAMPLES
                blue += b / SAMPLES
    area = height * width
    pixel = y * width + x
    out = radiance + frame.to(tl.int64) * 3 * area + pixel
    tl.store(out, red, mask=inside)
    tl.store(out + area, green, mask=inside)
    tl.store(out + 2 * area, blue, mask=inside)
    tl.store(depth + frame.to(tl.int64) * area + pixel, t, mask=inside)
