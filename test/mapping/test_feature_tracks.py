"""Corners are followed to a fraction of a pixel, and those that cannot be are said so."""

import cv2
import numpy as np

from flashvggt_ros.mapping.feature_tracks import (
    BORDER,
    CORNER_DISTANCE,
    KeyframeImage,
    follow,
)

NOTHING = np.zeros((0, 2))


def texture(seed: int = 0) -> np.ndarray:
    """A smooth random picture (168, 224, 3) uint8."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.normal(0, 1, (168, 224, 3)), (0, 0), 2.5)
    return np.clip(128 + 200 * picture, 0, 255).astype(np.uint8)


def warped(picture: np.ndarray, warp: np.ndarray) -> np.ndarray:
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, warp, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


WARP = np.array([[1.02, -0.03, 3.4], [0.03, 1.01, -2.7]])


def keyframe_image(picture: np.ndarray, detail: int = 1) -> KeyframeImage:
    gray = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return KeyframeImage(gray, picture.shape[1] // detail)


def found_errors(target: np.ndarray, guess_error: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Distances [px] of the corners found in ``target`` from their true places, and the share."""
    source = keyframe_image(texture())
    corners = source.new_corners(NOTHING, 200)
    truth = corners @ WARP[:, :2].T + WARP[:, 2]
    guesses = truth + np.random.default_rng(1).normal(0, guess_error, truth.shape)
    places, is_found = follow(source, keyframe_image(target), corners, guesses)
    return np.linalg.norm(places - truth, axis=1)[is_found], is_found.mean()


def test_corners_are_found_to_a_tenth_of_a_pixel() -> None:
    distances, share = found_errors(warped(texture(), WARP))
    assert share > 0.7
    assert np.median(distances) < 0.1
    assert np.quantile(distances, 0.95) < 0.5


def test_exposure_makes_no_difference() -> None:
    darker = warped(texture(), WARP).astype(float) * np.linspace(0.4, 0.8, 224)[:, None] + 20
    distances, share = found_errors(darker.astype(np.uint8))
    assert share > 0.7
    assert np.median(distances) < 0.2


def test_another_picture_is_not_mistaken() -> None:
    _, share = found_errors(texture(5))
    assert share < 0.25


def test_blank_and_noisy_walls_have_no_corners() -> None:
    noise = np.random.default_rng(2).normal(128, 1.2, (168, 224, 3))
    for picture in (np.full((168, 224, 3), 90.0), noise):
        image = keyframe_image(picture.clip(0, 255).astype(np.uint8))
        assert len(image.new_corners(NOTHING, 100)) == 0


def test_new_corners_keep_their_distance_from_known_ones() -> None:
    image = keyframe_image(texture())
    known = image.new_corners(NOTHING, 60)
    added = image.new_corners(known, 60)
    assert 40 < len(known) <= 60  # those at the border are left out
    assert len(added) > 10
    gaps = np.linalg.norm(added[:, None] - known[None], axis=2)
    assert gaps.min() > 8
    assert len(image.new_corners(known, 0)) == 0


def test_guesses_outside_or_unknown_are_not_looked_for() -> None:
    image = keyframe_image(texture())
    corners = image.new_corners(NOTHING, 3)
    guesses = np.array([[-5.0, 20.0], [np.nan, np.nan], corners[2]])
    places, is_found = follow(image, image, corners, guesses)
    np.testing.assert_array_equal(is_found, [False, False, True])
    np.testing.assert_allclose(places[2], corners[2], atol=0.02)
    assert not follow(image, image, NOTHING, NOTHING)[1].size


def test_fine_images_are_followed_in_pixels_of_the_model() -> None:
    """A view that turns and grows, as fine as a camera takes it, and as small as the model's."""
    rng = np.random.default_rng(3)
    large = cv2.GaussianBlur(rng.normal(0, 1, (336, 448, 3)), (0, 0), 1.5)
    large = np.clip(128 + 200 * large, 0, 255).astype(np.uint8)
    warp = np.array([[1.06, -0.08, -12.4], [0.08, 1.05, -14.7]])  # [fine px]
    pictures = [
        np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        for picture in (large, warped(large, warp))
    ]
    errors = {}
    for detail in (1, 2):
        size = (224 * detail, 168 * detail)
        fine = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
        source, target = (keyframe_image(np.asarray(picture), detail) for picture in fine)
        assert source.coarse.shape == (168, 224)
        corners = source.new_corners(NOTHING, 150)
        assert (corners >= BORDER).all() and (corners <= [223 - BORDER, 167 - BORDER]).all()
        distances = np.linalg.norm(corners[:, None] - corners[None], axis=2)
        assert distances[distances > 0].min() > CORNER_DISTANCE - 1
        truth = ((2 * corners + 0.5) @ warp[:, :2].T + warp[:, 2] - 0.5) / 2
        places, is_found = follow(source, target, corners, truth + rng.normal(0, 1, truth.shape))
        assert is_found.mean() > 0.6
        errors[detail] = np.linalg.norm(places - truth, axis=1)[is_found]
    assert np.median(errors[2]) < 0.1
    assert np.median(errors[2]) < 0.7 * np.median(errors[1])
