"""The floor is found among furniture, walls, a ceiling and noise, or said to be unseen."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.ground_plane import GroundPlane, find_ground

Array = NDArray[np.float64]
MAX_TILT = np.radians(40)
HEIGHT = 1.2  # of the cameras [m]
LOW, HIGH = np.array([-4.0, -3.0, 0.0]), np.array([4.0, 3.0, 2.8])


def boxes(rng: np.random.Generator, share: float) -> list[tuple[Array, Array]]:
    """Furniture on a ``share`` of the floor, but not where the cameras are."""
    cells = [np.array([x, y, 0.0]) for x in range(-4, 4) for y in range(-3, 3)]
    free = [cell for cell in cells if max(abs(cell[:2] + 0.5)) > 1]
    chosen = rng.permutation(len(free))[: round(share * len(cells))]
    heights = rng.uniform(0.2, 0.9, len(chosen))
    return [(free[i], free[i] + np.array([1, 1, h])) for i, h in zip(chosen, heights, strict=True)]


def cast(origin: Array, rays: Array, furniture: list[tuple[Array, Array]]) -> Array:
    """Depth (n,) along rays (n, 3) inside the room."""
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.maximum((LOW - origin) / rays, (HIGH - origin) / rays).min(axis=1)
        for low, high in furniture:
            first, second = (low - origin) / rays, (high - origin) / rays
            near, far = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
            depth = np.where((near < far) & (near > 0), np.minimum(depth, near), depth)
    return depth


def scene(
    seed: int, pitch: float, share: float = 0.5, noise: float = 0.03, wrong: float = 0.0
) -> tuple[Array, Array, Array, Array]:
    """Points, up as a level camera has it, camera centers and true up, in a submap's frame."""
    rng = np.random.default_rng(seed)
    furniture = boxes(rng, share)
    u, v = np.meshgrid(np.linspace(-0.85, 0.85, 48), np.linspace(-0.64, 0.64, 36))
    rays_camera = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    clouds, poses = [], []
    for yaw in rng.uniform(0, 2 * np.pi, 8):
        (c, s), (cp, sp) = (np.cos(yaw), np.sin(yaw)), (np.cos(pitch), np.sin(pitch))
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]
        R = R @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        origin = np.array([*rng.uniform(-0.6, 0.6, 2), HEIGHT])
        rays = rays_camera @ R.T
        depth = cast(origin, rays, furniture) * rng.normal(1, noise, len(rays))
        depth *= np.where(rng.random(len(rays)) < wrong, rng.uniform(0.3, 3, len(rays)), 1)
        clouds.append(origin + depth[:, None] * rays)
        poses.append(se3.pose(R, origin))
    S = Sim3(0.4, se3.matrix_from_quaternion(rng.normal(size=4)), rng.normal(0, 3, 3))
    T = S.transform_pose(np.stack(poses))
    points = S.transform_points(np.concatenate(clouds)).astype(np.float32)
    return points, -T[0, :3, 1], T[:, :3, 3], S.rotation[:, 2]


def tilt(ground: GroundPlane, up: Array) -> float:
    """Angle between the found and the true normal [degrees]."""
    return float(np.degrees(np.arccos(np.clip(ground.normal @ up, -1, 1))))


@pytest.mark.parametrize(("pitch", "share"), [(0, 0.3), (15, 0.5), (30, 0.5)])
def test_the_normal_is_within_2_degrees_for_pitched_cameras_in_a_furnished_room(pitch, share):
    tilts, sigmas, heights = [], [], []
    for seed in range(10):
        points, guess, centers, up = scene(seed, np.radians(pitch), share)
        ground = find_ground(points, guess, MAX_TILT, centers)
        if ground is not None:
            tilts.append(tilt(ground, up))
            sigmas.append(np.degrees(ground.sigma_rad))
            heights.append(ground.height / 0.4 / HEIGHT - 1)
    assert len(tilts) >= 8
    assert np.quantile(tilts, 0.9) < 2
    assert np.median(tilts) < 0.5
    assert np.mean(np.array(tilts) < 2 * np.sqrt(2) * np.array(sigmas)) >= 0.9
    assert np.median(np.abs(heights)) < 0.02


def test_the_ceiling_is_not_a_floor_though_it_is_all_that_is_seen():
    rng = np.random.default_rng(0)
    ceiling = np.column_stack([rng.uniform(-3, 3, (3000, 2)), rng.normal(2.5, 0.02, 3000)])
    walls = np.column_stack(
        [np.full(3000, 3.0), rng.uniform(-3, 3, 3000), rng.uniform(1.5, 2.5, 3000)]
    )
    centers = np.array([[0.0, 0, HEIGHT]])
    points = np.concatenate([ceiling, walls])
    assert find_ground(points, np.array([0.0, 0, 1]), MAX_TILT, centers) is None


def test_a_table_as_wide_as_the_floor_is_not_the_floor():
    rng = np.random.default_rng(0)
    floor = np.column_stack([rng.uniform(-3, 3, (2000, 2)), rng.normal(0, 0.02, 2000)])
    table = np.column_stack([rng.uniform(-3, 3, (3000, 2)), rng.normal(0.7, 0.02, 3000)])
    centers = np.array([[0.0, 0, HEIGHT], [1.0, 0, HEIGHT]])
    ground = find_ground(
        np.concatenate([floor, table]), np.array([0.1, 0, 1]), MAX_TILT, centers
    )
    assert ground.height == pytest.approx(HEIGHT, rel=0.02)
    np.testing.assert_allclose(ground.heights(floor).mean(), 0, atol=0.01)
    assert tilt(ground, np.array([0, 0, 1.0])) < 0.5


def test_points_that_are_not_finite_change_nothing_and_the_same_points_give_the_same_plane():
    points, guess, centers, _ = scene(3, 0.5)
    broken = np.concatenate([points, np.full((500, 3), np.nan), np.full((500, 3), np.inf)])
    first, again, other = (
        find_ground(each, guess, MAX_TILT, centers) for each in (points, points, broken)
    )
    np.testing.assert_array_equal(first.normal, again.normal)
    np.testing.assert_array_equal(first.normal, other.normal)


def test_without_points_or_cameras_or_a_wide_plane_there_is_no_floor():
    up, center = np.array([0.0, 0, 1]), np.array([[0.0, 0, 1]])
    rng = np.random.default_rng(0)
    floor = np.column_stack([rng.uniform(-3, 3, (500, 2)), np.zeros(500)])
    assert find_ground(np.zeros((0, 3)), up, MAX_TILT, center) is None
    assert find_ground(floor, up, MAX_TILT, np.full((2, 3), np.nan)) is None
    assert find_ground(floor, up * 0, MAX_TILT, center) is None
    assert find_ground(floor * [0.01, 0.01, 1], up, MAX_TILT, center) is None
    assert find_ground(np.zeros((500, 3)), up, MAX_TILT, center) is None
    wall = floor[:, [2, 0, 1]] + [2, 0, 0]
    assert find_ground(wall, up, MAX_TILT, center) is None
