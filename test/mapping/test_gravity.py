"""Up is what the robot's frames say, else an IMU, else the floor; and how sure that is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.gravity import UpDirection, estimate_up
from flashvggt_ros.mapping.ground_plane import GroundPlane

Array = NDArray[np.float64]


def turn(angle: float, axis: int) -> Array:
    """Pose (4, 4) that turns about an axis [rad]."""
    xyzw = np.zeros(4)
    xyzw[[axis, 3]] = np.sin(angle / 2), np.cos(angle / 2)
    return se3.pose(se3.matrix_from_quaternion(xyzw), np.zeros(3))


FORWARD = se3.pose(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.2, 0, 0.4]))
T_BASE_CAMERA = turn(0.3, 2) @ turn(np.radians(20), 1) @ FORWARD
GROUND = GroundPlane(np.array([0.0, 0.6, 0.8]), -1.0, 0.3, 0.01, 1.0, 0.02)
COUNT = 24


def drive(rng: np.random.Generator, tilts: Array) -> tuple[Array, Array]:
    """Poses in a submap of a robot that tilts by so much at each keyframe, and where up is."""
    T = np.stack(
        [turn(0.05 * i, 2) @ turn(angle, 1) @ T_BASE_CAMERA for i, angle in enumerate(tilts)]
    )
    S = Sim3(0.5, se3.matrix_from_quaternion(rng.normal(size=4)), rng.normal(size=3))
    return S.transform_pose(T), S.rotation[:, 2]


def degrees(found: UpDirection, up: Array) -> float:
    return float(np.degrees(np.arccos(np.clip(found.up_submap @ up, -1, 1))))


def test_base_z_is_up_though_the_robot_rocks_and_some_keyframes_are_wrong():
    errors, sigmas = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tilts = rng.normal(0, np.radians(1), COUNT)
        T, up = drive(rng, tilts)
        T[:5, :3, :3] = se3.matrix_from_quaternion(rng.normal(size=(5, 4)))
        T[7] = np.nan
        known = [*[T_BASE_CAMERA] * (COUNT - 1), None]
        found = estimate_up(T, known, [None] * COUNT, None)
        assert found.source == "tf"
        errors.append(degrees(found, up))
        sigmas.append(np.degrees(found.sigma_rad))
    assert max(errors) < 1
    assert np.mean(np.array(errors) < 2 * np.array(sigmas)) >= 0.9


def test_a_ramp_on_the_way_counts_less_than_the_level_floor_and_makes_up_less_sure():
    rng = np.random.default_rng(0)
    level, up = drive(rng, np.zeros(COUNT))
    sure = estimate_up(level, [T_BASE_CAMERA] * COUNT, [None] * COUNT, None)
    ramp, up = drive(rng, np.where(np.arange(COUNT) < 8, np.radians(10), 0))
    found = estimate_up(ramp, [T_BASE_CAMERA] * COUNT, [None] * COUNT, None)
    assert degrees(found, up) < 0.5
    assert found.sigma_rad > 2 * sure.sigma_rad


def test_an_imu_that_contradicts_tf_makes_up_less_sure():
    rng = np.random.default_rng(0)
    T, up = drive(rng, np.full(COUNT, np.radians(10)))  # all of it on the ramp
    by_imu = [R.T @ up for R in T[:, :3, :3]]
    found = estimate_up(T, [T_BASE_CAMERA] * COUNT, by_imu, None)
    assert found.source == "tf"
    assert degrees(found, up) < 2 * np.degrees(found.sigma_rad)


def test_without_tf_the_imu_is_asked_then_the_floor_then_the_first_camera():
    rng = np.random.default_rng(3)
    T, up = drive(rng, np.zeros(COUNT))
    noise = rng.normal(0, 0.1, (COUNT, 3))
    by_imu = [R.T @ (9.8 * up + n) for R, n in zip(T[:, :3, :3], 9.8 * noise, strict=True)]
    by_imu[3] = np.full(3, np.nan)
    by_imu[4] = np.zeros(3)
    none = [None] * COUNT

    by_imu_up = estimate_up(T, none, by_imu, GROUND)
    assert by_imu_up.source == "imu"
    assert degrees(by_imu_up, up) < 4
    assert degrees(by_imu_up, up) < 2 * np.degrees(by_imu_up.sigma_rad)

    by_ground = estimate_up(T, none, none, GROUND)
    assert by_ground.source == "ground"
    np.testing.assert_array_equal(by_ground.up_submap, GROUND.normal)

    assumed = estimate_up(T, none, none, None)
    assert assumed.source == "assumed"
    np.testing.assert_allclose(assumed.up_submap, -T[0, :3, 1])
    assert degrees(assumed, up) == pytest.approx(20)
    assert assumed.sigma_rad > np.radians(15)


@pytest.mark.parametrize("source", ["tf", "imu", "ground"])
def test_only_the_source_that_is_asked_for_is_used(source):
    T, up = drive(np.random.default_rng(1), np.zeros(COUNT))
    by_imu = [R.T @ up for R in T[:, :3, :3]]
    assert estimate_up(T, [T_BASE_CAMERA] * COUNT, by_imu, GROUND, source).source == source
    none = estimate_up(T, [T_BASE_CAMERA] * COUNT, by_imu, GROUND, "none")
    assert none.source == "assumed"
    nobody = [None] * COUNT
    assert estimate_up(T, nobody, nobody, None, source).source == "assumed"


def test_without_any_finite_pose_there_is_no_up():
    with pytest.raises(ValueError, match="2 camera poses"):
        estimate_up(np.full((2, 4, 4), np.nan), [None] * 2, [None] * 2, None)
