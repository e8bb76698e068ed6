"""The gate keeps images that show something new, whatever noise and exposure do."""

import cv2
import numpy as np
import pytest

from flashvggt_ros.config import KeyframeConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.keyframe_gate import KeyframeGate
from flashvggt_ros.worlds import Room, look

VGA = Pinhole(400.0, 400.0, 319.5, 239.5, 640, 480)
SMALL = Pinhole(125.0, 125.0, 99.5, 74.5, 200, 150)
ROOM = Room(seed=3)


def photograph(x: float = 0.0, yaw: float = 0.3, pinhole: Pinhole = SMALL) -> np.ndarray:
    return ROOM.render(look((x, 0.0, 1.4), yaw), pinhole)[0]


def noisy(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def decisions(images: list[np.ndarray], config: KeyframeConfig | None = None) -> list[bool]:
    gate = KeyframeGate(config or KeyframeConfig())
    return [gate.accepts(Frame(i, "camera", image, None)) for i, image in enumerate(images)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_a_standing_robot_with_a_noisy_camera_adds_nothing(rng: np.random.Generator) -> None:
    image = photograph(pinhole=VGA)
    assert decisions([noisy(image, 12, rng) for _ in range(20)]) == [True] + 19 * [False]


def test_a_standing_robot_in_changing_light_adds_nothing(rng: np.random.Generator) -> None:
    image = photograph(pinhole=VGA).astype(float)
    gains = 1 + 0.4 * np.sin(np.arange(20))
    lit = [noisy(gain * image + 10 * (gain - 1), 4, rng) for gain in gains]
    assert decisions(lit) == [True] + 19 * [False]


def test_small_images_stand_still_as_well(rng: np.random.Generator) -> None:
    image = photograph()
    assert decisions([noisy(image, 5, rng) for _ in range(10)]) == [True] + 9 * [False]


def test_a_turn_on_the_spot_passes_when_the_image_has_moved_far_enough() -> None:
    step = np.deg2rad(0.5)  # about 1.1 px of 200 near the middle, 4 px are asked for
    passed = decisions([photograph(yaw=0.3 + i * step) for i in range(17)])
    assert passed[:3] == [True, False, False]
    assert 3 <= sum(passed) <= 6


def test_a_moving_robot_passes() -> None:
    assert all(decisions([photograph(x=0.4 * i) for i in range(6)]))


def test_slow_motion_adds_up_from_keyframe_to_keyframe() -> None:
    passed = decisions([photograph(x=0.05 * i) for i in range(31)])
    assert 3 <= sum(passed) <= 15


def test_driving_ahead_passes_though_most_of_the_view_is_far_away(
    rng: np.random.Generator,
) -> None:
    """Sky line and houses stand nearly still; the third that is close moves by 3 % of the width."""
    picture = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = np.asarray(cv2.resize(picture, (240, 160), interpolation=cv2.INTER_CUBIC))
    near = 105  # the first row of it

    def at(step: int) -> np.ndarray:
        image = picture[:, 20:220].copy()
        image[near:] = picture[near:, 20 - step : 220 - step]
        return image

    assert decisions([at(0), at(2), at(6), at(12)]) == [True, False, True, True]


def test_an_entirely_new_view_passes() -> None:
    assert decisions([photograph(), photograph(yaw=0.3 + np.pi)]) == [True, True]


def test_the_first_image_passes_even_if_it_is_black_and_more_black_does_not() -> None:
    black = np.zeros((150, 200, 3), np.uint8)
    assert decisions([black, black, black]) == [True, False, False]


def test_a_covered_lens_adds_nothing_and_the_old_view_is_known_again(
    rng: np.random.Generator,
) -> None:
    image, black = photograph(), np.zeros((150, 200, 3), np.uint8)
    covered = noisy(black, 8, rng)
    assert decisions([image, black, covered, image]) == [True, False, False, False]


def test_the_first_picture_after_black_passes() -> None:
    black = np.zeros((150, 200, 3), np.uint8)
    assert decisions([black, photograph()]) == [True, True]


def test_a_plain_wall_passes_only_when_its_shading_changes(rng: np.random.Generator) -> None:
    shade = np.linspace(60, 180, 640)[None, :, None] * np.ones((480, 1, 3))
    images = [noisy(wall, 3, rng) for wall in (shade, shade, shade[:, ::-1])]
    assert decisions(images) == [True, False, True]


def test_each_camera_is_compared_with_itself() -> None:
    gate = KeyframeGate(KeyframeConfig())
    front, back = photograph(), photograph(yaw=0.3 + np.pi)
    frames = [
        Frame(i, camera, image, None)
        for i, (camera, image) in enumerate(3 * [("front", front), ("back", back)])
    ]
    assert [gate.accepts(frame) for frame in frames] == [True, True] + 4 * [False]


def test_another_image_size_is_a_new_view() -> None:
    square = Pinhole(125.0, 125.0, 74.5, 74.5, 150, 150)
    assert decisions([photograph(), photograph(pinhole=square)]) == [True, True]


def test_min_motion_sets_how_far_the_image_must_move() -> None:
    images = [photograph(yaw=0.3 + np.deg2rad(2) * i) for i in range(11)]
    few = sum(decisions(images, KeyframeConfig(min_motion=0.1)))
    many = sum(decisions(images, KeyframeConfig(min_motion=0.01)))
    assert few < 5 < many == 11


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (4, 4), (8, 3000), (3000, 8)])
def test_images_of_any_size_are_decided(size: tuple[int, int], rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    assert decisions([image, image, image]) == [True, False, False]


def test_only_corners_that_stay_prove_that_the_camera_stands() -> None:
    gate = KeyframeGate(KeyframeConfig())
    first, other = photograph(), photograph(yaw=0.9)
    black = np.zeros_like(first)
    stood = []
    for number, image in enumerate((first, first, black, first, other, other)):
        gate.accepts(Frame(number, "camera", image, None))
        stood.append(gate.has_stood)
    assert stood == [False, True, False, True, False, True]
