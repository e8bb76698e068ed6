"""Planes are those of the world, and corners between them stay sharp."""

import numpy as np
import pytest

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.surface_planes import fit_planes
from flashvggt_ros.worlds import Scenery, look
from flashvggt_ros.worlds.floor_plan import FloorPlan

CAMERA = Pinhole(34.0, 34.0, 27.5, 20.5, 56, 42)


def corner() -> np.ndarray:
    """Depth of a room's corner: floor, and walls at x = 3 and y = 1."""
    plan = FloorPlan(np.random.default_rng(0))
    plan.add((-20, -20, -0.1), (20, 20, 0.0))
    plan.add((3.0, -20, 0.0), (3.2, 20, 6.0))
    plan.add((-20, 1.0, 0.0), (20, 1.2, 6.0))
    return Scenery(plan.boxes).render(look((0.0, 0.0, 1.2), 0.1), CAMERA)[1]


def depth_of(planes: np.ndarray) -> np.ndarray:
    rays = CAMERA.backproject(np.ones((CAMERA.height, CAMERA.width), np.float32))
    return 1 / (planes * rays).sum(axis=-1)


def noisy(depth: np.ndarray, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return depth * (1 + noise * rng.standard_normal(depth.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_of_a_corner_each_pixel_gets_the_plane_of_its_own_side(noise: float) -> None:
    depth = corner()
    planes = fit_planes(noisy(depth, noise), CAMERA)
    normals = planes @ look((0.0, 0.0, 0.0), 0.1)[:3, :3].T
    distances = 1 / np.linalg.norm(normals, axis=-1)
    normals *= distances[..., None]
    true_distances = np.where(normals.argmax(axis=-1) == 0, 3.0, 1.0)
    is_floor = normals.argmin(axis=-1) == 2
    is_floor &= normals.min(axis=-1) < -0.5
    true_distances[is_floor] = 1.2
    is_right = np.abs(distances / true_distances - 1) < 0.03 + 5 * noise
    assert is_right.mean() > (0.95 if noise == 0 else 0.85)
    errors = np.abs(depth_of(planes) / depth - 1)
    assert np.sqrt((errors**2).mean()) < 0.6 * noise + 0.001
    assert errors.max() < 4.5 * noise + 0.02


def test_a_step_between_two_walls_is_kept() -> None:
    depth = np.full((42, 56), 2.0, np.float32)
    depth[:, 30:] = 2.6
    assert np.abs(depth_of(fit_planes(noisy(depth, 0.01), CAMERA)) / depth - 1).max() < 0.04


def test_a_pole_of_two_pixels_keeps_its_depth_and_faces_the_camera() -> None:
    depth = np.full((42, 56), 4.0, np.float32)
    depth[:, 30:32] = 2.0
    planes = fit_planes(depth, CAMERA)
    np.testing.assert_allclose(planes[:, 30:32], np.broadcast_to([0, 0, 0.5], (42, 2, 3)))
    np.testing.assert_allclose(depth_of(planes), depth, rtol=1e-5)


def test_unknown_pixels_have_no_plane_and_spoil_none() -> None:
    depth = corner()
    known = np.random.default_rng(1).random(depth.shape) > 0.3
    planes = fit_planes(np.where(known, depth, np.float32(0)), CAMERA)
    assert not planes[~known].any()
    filled = np.where(known[..., None], planes, np.float32([0, 0, 1]))
    assert np.abs(depth_of(filled) / depth - 1)[known].max() < 0.02
    assert not fit_planes(np.zeros_like(depth), CAMERA).any()
