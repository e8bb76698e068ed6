"""Which primitives a frame can see, and where, so that rays are cast at few of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashvggt_ros.scene import primitives
from flashvggt_ros.scene.shutter import Shutter

NEAR = 0.05  # what reaches closer to the camera's plane may be anywhere in the picture [m]
MARGIN = 3  # around what the corners of a primitive's box span [px]


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """For each of F frames the primitives that its rays can meet, in the order of the table.

    ``order`` (F, P) int32: their numbers, of which the first ``counts`` (F,) int32 count.
    ``bounds`` (F, P, 4) int32: rows and columns (top, bottom, left, right; the second ones
    excluded) that each primitive of the table can be seen in.
    """

    order: Tensor
    counts: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, rows: Tensor, counts: Tensor, scene_of_frame: Tensor, T_world_camera: Tensor,
           shutter: Shutter, intrinsics: Tensor, size: tuple[int, int]) -> Visible:
        """Find them from the corners of each primitive's box. The first primitive always counts.

        ``rows`` (B, P, 32), ``counts`` (B,), ``scene_of_frame`` (F,), ``T_world_camera``
        (F, 4, 4), ``intrinsics`` (F, 4).
        """
        scene = scene_of_frame.long()
        bounds = _bounds(_corners(rows)[scene], T_world_camera, shutter, intrinsics, size)
        number = torch.arange(rows.shape[1], device=rows.device)
        is_used = (number < counts[:, None]) & (rows[..., primitives.KIND] != primitives.ABSENT)
        bounds = bounds * is_used[scene][..., None]
        bounds[:, 0, 0::2] = 0
        bounds[:, 0, 1] = size[0]
        bounds[:, 0, 3] = size[1]
        is_seen = (bounds[..., 0] < bounds[..., 1]) & (bounds[..., 2] < bounds[..., 3])
        order = torch.where(is_seen, number, number + rows.shape[1]).sort(1).values
        return cls((order % rows.shape[1]).int(), is_seen.sum(1).int(),
                   bounds.int().contiguous())


def _corners(rows: Tensor) -> Tensor:
    """Corners (B, P, 8, 3) in the world of the box around each primitive."""
    matrix = rows[..., primitives.MATRIX].unflatten(-1, (3, 4))
    axes = matrix[..., :3] * rows[..., primitives.HALF].square()[..., None]
    center = -(axes * matrix[..., 3:]).sum(-2)
    bits = torch.arange(8, device=rows.device)
    signs = torch.stack([bits & 1, bits >> 1 & 1, bits >> 2 & 1], 1) * 2.0 - 1.0
    return center[..., None, :] + signs @ axes


def _bounds(corners: Tensor, T_world_camera: Tensor, shutter: Shutter, intrinsics: Tensor,
            size: tuple[int, int]) -> Tensor:
    """Rows and columns (F, P, 4) that span the corners (F, P, 8, 3) while the shutter works."""
    height, width = size
    R, t = T_world_camera[:, :3, :3], T_world_camera[:, :3, 3]
    A = R.mT @ shutter.swing[..., :3]
    reach = (shutter.exposure + shutter.readout) / 2
    low = high = camera = torch.zeros(())
    near = behind = torch.zeros(())
    fx, fy, cx, cy = (value[:, None, None] for value in intrinsics.unbind(1))
    for number, moment in enumerate((-reach, 0 * reach, reach)):
        s = moment[:, None, None]
        inverse = (torch.eye(3, device=R.device) - s * A + s * s * (A @ A)) @ R.mT
        origin = t + moment[:, None] * shutter.swing[..., 3]
        camera = (corners - origin[:, None, None]) @ inverse.mT[:, None]
        z = camera[..., 2].clamp(min=NEAR)
        spot = torch.stack([camera[..., 1] / z * fy + cy, camera[..., 0] / z * fx + cx], -1)
        least, most = spot.amin(2), spot.amax(2)  # (F, P, 2)
        nearest, farthest = camera[..., 2].amin(2), camera[..., 2].amax(2)
        low, high = (least, most) if not number else (low.minimum(least), high.maximum(most))
        near = nearest if not number else near.minimum(nearest)
        behind = farthest if not number else behind.maximum(farthest)
    edge = torch.stack([low[..., 0].floor() - MARGIN, high[..., 0].ceil() + MARGIN,
                        low[..., 1].floor() - MARGIN, high[..., 1].ceil() + MARGIN], -1)
    limits = torch.tensor([height, height, width, width], device=R.device)
    whole = limits * torch.tensor([0, 1, 0, 1], device=R.device)
    edge = torch.where((near < NEAR)[..., None], whole, edge.clamp(min=0).minimum(limits))
    return edge * (behind > 0)[..., None]
