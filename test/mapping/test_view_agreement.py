"""Two views of one place agree in depth and color; of two places they do not."""

import numpy as np
import pytest

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.view_agreement import SeenView, correlate, gray_image, reproject
from flashvggt_ros.worlds import Room, look

CAMERA = Pinhole(70.0, 70.0, 55.5, 41.5, 112, 84)
ROOM = Room(seed=1)
HERE, THERE = look((0.3, 0.2, 1.4), 0.4), look((0.0, -0.3, 1.5), 0.5, 0.05)


def seen(T: np.ndarray, room: Room = ROOM) -> SeenView:
    image, depth = room.render(T, CAMERA)
    return SeenView(gray_image(image), depth, CAMERA, T)


def likeness(view: SeenView, other: SeenView) -> float:
    correlation = correlate(view, other, reproject(view, other))
    return float(np.nanmedian(correlation))


def test_of_two_views_of_one_room_most_pixels_are_covisible_and_alike() -> None:
    found = reproject(seen(HERE), seen(THERE))
    assert found.is_covisible.mean() > 0.6
    assert found.is_through.mean() < 0.02
    assert likeness(seen(HERE), seen(THERE)) > 0.9


def test_a_covisible_pixel_is_where_its_point_is_seen() -> None:
    here, there = seen(HERE), seen(THERE)
    found = reproject(here, there)
    row, column = np.argwhere(found.is_covisible)[1000]
    ray = np.array([(column - CAMERA.cx) / CAMERA.fx, (row - CAMERA.cy) / CAMERA.fy, 1.0])
    point = HERE[:3, :3] @ (ray * here.depth[row, column]) + HERE[:3, 3]
    x, y, z = THERE[:3, :3].T @ (point - THERE[:3, 3])
    assert found.u[row, column] == pytest.approx(CAMERA.fx * x / z + CAMERA.cx, abs=1e-2)
    assert found.v[row, column] == pytest.approx(CAMERA.fy * y / z + CAMERA.cy, abs=1e-2)


def test_views_of_one_shape_in_other_colors_are_not_alike() -> None:
    assert likeness(seen(HERE), seen(THERE, Room(seed=2))) < 0.5


def test_a_small_error_of_the_pose_does_not_make_views_unlike() -> None:
    beside = seen(HERE)
    turned = SeenView(beside.gray, beside.depth, CAMERA, look((0.3, 0.2, 1.4), 0.4 + 0.02))
    assert likeness(turned, seen(THERE)) > 0.8


def test_what_the_other_view_looks_through_is_not_covisible() -> None:
    here, there = seen(HERE), seen(THERE)
    floating = SeenView(here.gray, here.depth * np.float32(0.5), CAMERA, HERE)
    found = reproject(floating, there)
    assert found.is_through.mean() > 0.4
    assert found.is_covisible.mean() < 0.1


def test_views_that_look_away_from_each_other_have_nothing_in_common() -> None:
    found = reproject(seen(HERE), seen(look((0.3, 0.2, 1.4), 0.4 + np.pi)))
    assert not found.is_covisible.any()
    assert not found.is_through.any()


def test_blank_images_are_neither_alike_nor_unlike() -> None:
    here, there = seen(HERE), seen(THERE)
    blank = [SeenView(np.full_like(v.gray, 90), v.depth, CAMERA, v.T_run_camera)
             for v in (here, there)]  # fmt: skip
    assert np.isnan(correlate(*blank, reproject(*blank))).all()


def test_noise_is_not_taken_for_likeness() -> None:
    rng = np.random.default_rng(3)
    noise = [SeenView(rng.normal(128, 20, (84, 112)).astype(np.float32), v.depth, CAMERA,
                      v.T_run_camera) for v in (seen(HERE), seen(THERE))]  # fmt: skip
    assert likeness(*noise) < 0.45
