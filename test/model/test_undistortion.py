import cv2
import numpy as np
import pytest

from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.model.undistortion import distort, undistortion_map

PINHOLE = Pinhole(300.0, 310.0, 161.5, 118.2, 320, 240)
CALIBRATIONS = {
    "plumb_bob": Calibration(PINHOLE, "plumb_bob", (-0.28, 0.09, 1e-3, -5e-4, -0.01)),
    "rational_polynomial": Calibration(
        PINHOLE, "rational_polynomial", (0.4, -0.2, 1e-3, 2e-4, 0.03, 0.7, -0.1, 0.02)
    ),
    "equidistant": Calibration(PINHOLE, "equidistant", (-0.02, 0.006, -0.003, 0.0005)),
}


def smooth_image(width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("model", CALIBRATIONS)
def test_rays_are_bent_as_opencv_bends_them(model):
    calibration = CALIBRATIONS[model]
    rays = np.random.default_rng(1).uniform(-0.6, 0.6, (50, 2))

    x, y = distort(rays[:, 0], rays[:, 1], calibration)

    points = np.column_stack([rays, np.ones(50)])[:, None]
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    expected, _ = project(points, np.zeros(3), np.zeros(3), np.eye(3),
                          np.array(calibration.coefficients))
    np.testing.assert_allclose(np.column_stack([x, y]), expected[:, 0], atol=1e-12)


@pytest.mark.parametrize("model", CALIBRATIONS)
def test_the_ideal_image_equals_opencv_undistortion(model):
    calibration = CALIBRATIONS[model]
    image, k = smooth_image(320, 240), np.array(calibration.coefficients)

    ours = undistortion_map(calibration, PINHOLE).apply(image)

    matrix = PINHOLE.matrix
    expected = (
        cv2.fisheye.undistortImage(image, matrix, k, Knew=matrix) if model == "equidistant"
        else cv2.undistort(image, matrix, k)
    )
    inside = undistortion_map(calibration, PINHOLE).is_seen
    inside[[0, -1]] = inside[:, [0, -1]] = False
    assert inside.mean() > 0.7
    assert np.abs(ours.astype(int) - expected)[inside].max() <= 2


@pytest.mark.parametrize("shrink", [2.0, 3.3])
def test_a_small_ideal_image_equals_the_large_one_made_small(shrink):
    calibration = CALIBRATIONS["plumb_bob"]
    image = smooth_image(320, 240)
    width, height = round(320 / shrink), round(240 / shrink)
    small = Pinhole(
        300 * width / 320, 310 * height / 240, (161.5 + 0.5) * width / 320 - 0.5,
        (118.2 + 0.5) * height / 240 - 0.5, width, height,
    )

    ours = undistortion_map(calibration, small).apply(image)

    large = undistortion_map(calibration, PINHOLE).apply(image)
    expected = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(ours.astype(int) - expected)[2:-2, 2:-2].mean() < 1.5


def test_noise_is_averaged_not_picked_when_the_image_becomes_small():
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    small = Pinhole(75.0, 77.5, 40.0, 29.2, 80, 60)

    ours = undistortion_map(CALIBRATIONS["plumb_bob"], small).apply(noise)

    assert ours.astype(float).std() < 0.3 * noise.astype(float).std()


def test_what_the_camera_never_saw_is_black_and_marked():
    pincushion = Calibration(PINHOLE, "plumb_bob", (0.5, 0.0, 0.0, 0.0, 0.0))
    lens = undistortion_map(pincushion, PINHOLE)

    ideal = lens.apply(np.full((240, 320, 3), 200, np.uint8))

    assert not lens.is_seen[0, 0]
    assert lens.is_seen[120, 160]
    assert (ideal[~lens.is_seen] == 0).all()
    assert (ideal[lens.is_seen] == 200).all()


def test_where_the_lens_model_folds_over_nothing_is_seen():
    wide = Pinhole(100.0, 100.0, 160.0, 120.0, 320, 240)
    folding = Calibration(wide, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    turning_radius = (1 / 0.9) ** 0.5  # where r - 0.3 r^3 is largest
    lens = undistortion_map(folding, wide)

    row, column = np.indices(lens.is_seen.shape)
    radius = np.hypot((column - 160) / 100, (row - 120) / 100)

    assert not lens.is_seen[radius > turning_radius + 0.02].any()
    assert lens.is_seen[radius < turning_radius - 0.02].all()
