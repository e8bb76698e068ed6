"""Rays of a camera that may move while it takes a picture, and where they meet primitives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashvggt_ros.scene import primitives as layout
from flashvggt_ros.scene.shutter import Shutter

EPSILON = 1e-3  # nearest hit [m along z]
FAR = 1e6


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
