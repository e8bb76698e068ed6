"""Ray casting of a scene in closed form with PyTorch, one frame at a time, on any device.

This is the reference of the renderer and its path on a CPU; ``ray_casting_triton`` computes the
same image in one kernel on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flashvggt_ros.scene.rays import Camera, View, closest_hit
from flashvggt_ros.scene.shading import shade
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.visibility import Visible

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
