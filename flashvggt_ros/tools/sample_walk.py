"""A walk with a camera through a rendered room: true poses, images and surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.se3 import pose, transform_points
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels

if TYPE_CHECKING:
    from flashvggt_ros.scene import Scene

SPEED = 0.4  # of the hand that carries the camera [m/s]
LEAST_RADIUS = 0.6  # [m]: the view turns slowly in short bags too
LOOK_INWARD, LOOK_UP = 0.6, -0.1  # from straight ahead [rad]
R_BODY_CAMERA = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # body: x ahead, z up (REP-103)
FRAMES_AT_ONCE = 5  # rendered in one call: bounds the memory
EXPOSED_FRAMES = 12  # looked at to set the exposure, which the whole walk shares
SURFACE_SPACING = 0.02  # between neighboring points of the true surfaces [m]
FARTHEST_SURFACE = 100.0  # what is beyond is sky [m]


@dataclass(frozen=True, slots=True, eq=False)
class SampleView:
    """One ``image`` (H, W, 3) RGB and the points of the surfaces that it shows, in the world."""

    image: NDArray[np.uint8]
    surfaces_world: WeightedCloud


def render_walk(
    seed: int, seconds: float, frames: int, camera: Pinhole
) -> tuple[NDArray[np.float64], Iterator[SampleView]]:
    """Walk through a random room: poses T_world_camera (N, 4, 4), and the views one by one."""
    from flashvggt_ros.scene import Scene, materials  # torch: seconds that --help can spare

    rng = np.random.default_rng(seed)
    scene = Scene.random(rng, place="room", style=materials.TEXTURED)
    T_world_camera = _walk(scene.walk[0].double().numpy(), seconds, frames)
    return T_world_camera, _views(scene.cleared(T_world_camera), T_world_camera, camera)


def _walk(space: NDArray[np.float64], duration: float, frames: int) -> NDArray[np.float64]:
    """Poses (N, 4, 4) of a hand that carries the camera in a circle at SPEED.

    ``space`` (2, 3): corners of the box to stay in [m], z up. The camera looks ahead and across
    the room, and nods, rolls and bobs a little.
    """
    middle, half = space.mean(axis=0), (space[1] - space[0]) / 2
    radius = max(SPEED * duration / (2 * math.pi), LEAST_RADIUS)
    radius = min(radius, 0.8 * half[:2].min())
    seconds = np.arange(frames) * (duration / frames)
    angle = SPEED / radius * seconds
    bob = np.minimum(0.04, 0.5 * half[2]) * np.sin(2.1 * seconds)
    position = middle + np.stack([radius * np.cos(angle), radius * np.sin(angle), bob], axis=1)
    yaw = angle + math.pi / 2 + LOOK_INWARD + 0.15 * np.sin(0.9 * seconds)
    pitch = LOOK_UP + 0.08 * np.sin(1.3 * seconds)
    roll = 0.04 * np.sin(1.7 * seconds + 1)
    turns = Rotation.from_euler("ZYX", np.stack([yaw, -pitch, roll], axis=1)).as_matrix()
    return pose(turns @ R_BODY_CAMERA, position)


def _views(
    scene: Scene, T_world_camera: NDArray[np.float64], camera: Pinhole
) -> Iterator[SampleView]:
    """Yield what each pose sees, all with one exposure.

    Two threads render, each with one core: torch's own threads, which meet after every small
    operation, are many times slower on a busy machine.
    """
    import torch

    from flashvggt_ros.scene.camera_effects import automatic_gain, develop

    poses = torch.from_numpy(T_world_camera).float()
    intrinsics = torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy])

    def cast(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(part)
        return scene.cast(
            part, torch.zeros(count, dtype=torch.int32), intrinsics.expand(count, 4),
            (camera.height, camera.width), 1, False,
        )

    def views(part: torch.Tensor) -> list[SampleView]:
        radiance, depth = cast(part)
        developed = develop(radiance, gain.expand(len(part)))
        images = (developed * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        surfaces = [_surfaces(image, one.numpy(), camera, T.double().numpy())
                    for image, one, T in zip(images, depth, part, strict=True)]
        return [SampleView(*view) for view in zip(images, surfaces, strict=True)]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        exposed = poses[:: max(1, len(poses) // EXPOSED_FRAMES)]
        gain = automatic_gain(cast(exposed)[0]).log().mean().exp()
        with ThreadPoolExecutor(2) as pool:
            for done in pool.map(views, poses.split(FRAMES_AT_ONCE)):
                yield from done
    finally:
        torch.set_num_threads(threads)


def _surfaces(
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: Pinhole,
    T_world_camera: NDArray[np.float64],
) -> WeightedCloud:
    """Return the points that the pixels of an image show, thinned to SURFACE_SPACING."""
    is_surface = depth < FARTHEST_SURFACE
    points_world = transform_points(T_world_camera, camera.backproject(depth)[is_surface])
    count = len(points_world)
    cloud = WeightedCloud(points_world, image[is_surface], np.ones(count, np.float32))
    return fuse_voxels(cloud, SURFACE_SPACING)
