"""The public face of the renderer: random scenes, camera paths in them, pictures of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.scene import primitives, ray_casting
from flashvggt_ros.scene.camera_effects import automatic_gain, develop
from flashvggt_ros.scene.layout import PLACES, Layout, compose
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.textures import Textures
from flashvggt_ros.scene.trajectory import MOTIONS, trajectory
from flashvggt_ros.scene.visibility import Visible

CLEARANCE = 0.3  # least distance between a camera and a thing [m]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """B scenes of at most P primitives each, on one device.

    ``rows`` (B, P, 32), ``counts`` (B,) primitives in use, ``groups`` (B, P) thing of each
    primitive, ``lights`` (B, 20), ``walk`` (B, 2, 3) space for cameras [m], ``pace`` (B,) typical
    step [m]. World axes: z up, floor at z = 0.
    """

    rows: Tensor
    counts: Tensor
    groups: Tensor
    lights: Tensor
    walk: Tensor
    pace: Tensor
    textures: Textures

    @classmethod
    def random(
        cls, rng: np.random.Generator, place: str | None = None, textures: Textures | None = None,
        style: int | None = None,
    ) -> Scene:
        """Compose one scene: ``place`` of PLACES and ``style`` of materials; None: any of them."""
        textures = Textures.procedural(rng) if textures is None else textures
        place = PLACES[int(rng.integers(len(PLACES)))] if place is None else place
        return cls.of([compose(place, textures, rng, style)], textures)

    @classmethod
    def of(cls, layouts: Sequence[Layout], textures: Textures) -> Scene:
        """Batch composed layouts."""
        most = max(len(layout.rows) for layout in layouts)
        rows = np.tile(primitives.absent(), (len(layouts), most, 1))
        groups = np.zeros((len(layouts), most), np.int64)
        for number, layout in enumerate(layouts):
            rows[number, : len(layout.rows)] = layout.rows
            groups[number, : len(layout.rows)] = layout.groups
        return cls(
            torch.from_numpy(rows),
            torch.tensor([len(layout.rows) for layout in layouts], dtype=torch.int32),
            torch.from_numpy(groups),
            torch.from_numpy(np.stack([layout.lights for layout in layouts])),
            torch.from_numpy(np.stack([layout.walk for layout in layouts])).float(),
            torch.tensor([layout.pace for layout in layouts], dtype=torch.float32),
            textures,
        )

    def trajectory(
        self,
        rng: np.random.Generator,
        frames: int,
        motion: str = "hand",
        step: float = 0.1,
        turn: float = 0.1,
    ) -> NDArray[np.float64]:
        """Poses T_world_camera (N, 4, 4) of a walk through the (one) scene.

        ``motion``: one of MOTIONS. ``step`` and ``turn``: mean translation [m] and
        rotation [rad] between frames. Give them to ``cleared`` before rendering.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        poses = trajectory(
            torch.tensor([MOTIONS[motion]]), self.walk, torch.tensor([step]), torch.tensor([turn]),
            frames, generator,
        )
        return poses[0].double().numpy()

    def cleared(self, T_world_camera: NDArray[np.float64] | Tensor) -> Scene:
        """Return the scenes without the things that stand within CLEARANCE of a camera's path.

        ``T_world_camera`` (N, 4, 4) of the one scene, or (B, N, 4, 4).
        """
        poses = torch.as_tensor(T_world_camera, dtype=torch.float32, device=self.rows.device)
        position = poses.view(len(self.rows), -1, 4, 4)[..., :3, 3]
        matrix = self.rows[..., primitives.MATRIX].unflatten(-1, (3, 4))
        unit = torch.einsum("bpij,bnj->bpni", matrix[..., :3], position) + matrix[:, :, None, :, 3]
        is_thing = (self.groups > 0)[..., None]
        margin = torch.where(is_thing, CLEARANCE, CLEARANCE / 2)
        reach = 1 + margin / self.rows[..., primitives.HALF]
        near = (unit.abs() < reach[:, :, None]).all(-1).any(-1)  # (B, P)
        near[:, 0] = False  # the shell that encloses everything
        groups = torch.zeros_like(self.groups).scatter_reduce(
            1, self.groups, near.to(self.groups), "amax"
        )
        gone = near | ((self.groups > 0) & (groups.gather(1, self.groups) > 0))
        rows = self.rows.clone()
        rows[..., primitives.KIND].masked_fill_(gone, primitives.ABSENT)
        return dataclasses.replace(self, rows=rows)

    def render(
        self,
        T_world_camera: NDArray[np.float64],
        camera: Pinhole,
        samples: int = 1,
        shadows: bool = False,
        exposure: NDArray[np.float64] | None = None,
        readout: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Pictures (N, H, W, 3) uint8 RGB and depth along z (N, H, W) [m] of the one scene.

        ``samples`` of a pixel: 1, 2 or 4. Brightness is automatic, one for the whole call.
        ``exposure`` and ``readout`` (N,): how long the shutter is open (with samples > 1), and how
        much later the last row is exposed than the first, as shares of the time between two poses.
        """
        poses = torch.as_tensor(T_world_camera, dtype=torch.float32)
        intrinsics = torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy])
        none = np.zeros(len(poses))
        shutter = Shutter.moving(
            poses[None], *(torch.as_tensor(none if x is None else x, dtype=torch.float32)[None]
                           for x in (exposure, readout)))
        radiance, depth = self.cast(
            poses, torch.zeros(len(poses), dtype=torch.int32), intrinsics.expand(len(poses), 4),
            (camera.height, camera.width), samples, shadows, shutter,
        )
        gain = automatic_gain(radiance).log().mean().exp().expand(len(poses))
        pictures = (develop(radiance, gain) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pictures.cpu().numpy(), depth.cpu().numpy()

    def cast(
        self,
        T_world_camera: Tensor,
        scene_of_frame: Tensor,
        intrinsics: Tensor,
        size: tuple[int, int],
        samples: int,
        shadows: bool,
        shutter: Shutter | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Radiance (F, 3, H, W) and depth (F, H, W) [m] of F frames of any of the scenes.

        ``T_world_camera`` (F, 4, 4), ``scene_of_frame`` (F,), ``intrinsics`` (F, 4) [px],
        ``shutter``: motion while the pictures are taken; None: none.
        """
        device = self.rows.device
        poses, scene = T_world_camera.float().to(device), scene_of_frame.to(device)
        intrinsics = intrinsics.to(device)
        shutter = Shutter.still(len(poses), device) if shutter is None else shutter
        visible = Visible.of(self.rows, self.counts, scene, poses, shutter, intrinsics, size)
        arguments = (
            self.rows, self.counts, self.lights, self.textures.atlas, scene, poses, shutter,
            visible, intrinsics, size, samples, shadows,
        )
        if device.type == "cuda":
            # Triton comes with PyTorch for GPUs alone.
            from flashvggt_ros.scene.ray_casting_triton import render

            return render(*arguments)
        return ray_casting.render(*arguments)
