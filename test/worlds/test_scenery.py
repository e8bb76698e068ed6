"""Boxes are seen where they are, and nothing else is."""

import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds import (
    PINHOLE,
    Box,
    Mover,
    MovingScenery,
    Scenery,
    furnished_room,
    look,
    mount,
    roaming,
)


def box(low: tuple[float, ...], high: tuple[float, ...], color: float = 100.0) -> Box:
    return Box(np.array(low), np.array(high), np.full(3, color), 0.5, np.zeros(3))


def surface_distance(points: np.ndarray, scenery: Scenery) -> np.ndarray:
    """How far points (M, 3) are from the nearest face of any box [m]."""
    distances = []
    for each in scenery.boxes:
        outside = np.maximum(np.maximum(each.low - points, points - each.high), 0)
        inside = np.minimum(points - each.low, each.high - points).min(axis=1)
        distances.append(np.linalg.norm(outside, axis=1) + np.maximum(inside, 0))
    return np.min(distances, axis=0)


def test_a_wall_is_as_far_away_as_it_is() -> None:
    scenery = Scenery([box((3.0, -9.0, -9.0), (4.0, 9.0, 9.0))])
    image, depth = scenery.render(look((1.0, 0.0, 0.0), 0.0))
    assert image.shape == (120, 160, 3)
    np.testing.assert_allclose(depth, 2.0, rtol=1e-6)


def test_what_no_box_covers_is_black_and_without_depth() -> None:
    scenery = Scenery([box((3.0, 0.0, -9.0), (4.0, 9.0, 9.0))])  # y > 0 is on the left
    image, depth = scenery.render(look((1.0, 0.0, 0.0), 0.0))
    assert (depth[:, :79] > 0).all()
    assert (depth[:, 81:] == 0).all()
    assert (image[:, 81:] == 0).all()


def test_near_boxes_hide_far_ones() -> None:
    near, far = box((2.0, -0.2, -0.2), (2.4, 0.2, 0.2)), box((4.0, -9.0, -9.0), (5.0, 9.0, 9.0))
    for order in ([near, far], [far, near]):
        depth = Scenery(order).render(look((0.0, 0.0, 0.0), 0.0))[1]
        assert depth[60, 80] == pytest.approx(2.0, rel=1e-6)
        assert depth[0, 0] == pytest.approx(4.0, rel=1e-6)


def test_every_point_lies_on_a_face_of_a_box() -> None:
    scenery = furnished_room(3)
    for T_world_camera in roaming(200)[::20] @ mount(pitch=0.2):
        depth = scenery.render(T_world_camera)[1]
        assert (depth > 0).all()
        points = PINHOLE.backproject(depth).reshape(-1, 3).astype(float)
        points = se3.transform_points(T_world_camera, points)
        assert surface_distance(points, scenery).max() < 1e-4


def test_leaving_out_what_is_not_in_view_changes_nothing() -> None:
    scenery, T_world_camera = furnished_room(1), look((1.0, 0.5, 1.2), 0.7, 0.3)
    narrow = Pinhole(100.0, 100.0, 49.5, 29.5, 100, 60)  # the same rays as a part of PINHOLE
    whole, part = (scenery.render(T_world_camera, camera) for camera in (PINHOLE, narrow))
    np.testing.assert_array_equal(whole[0][30:90, 30:130], part[0])
    np.testing.assert_array_equal(whole[1][30:90, 30:130], part[1])


def test_a_box_that_is_moved_takes_its_texture_along() -> None:
    offset = np.array([5.0, 1.0, 0.0])
    one = box((2.0, -1.0, -1.0), (3.0, 1.0, 1.0))
    here = Scenery([one]).render(look((0.0, 0.0, 0.0), 0.0))[0]
    there = Scenery([one.moved(offset)]).render(look((5.0, 1.0, 0.0), 0.0))[0]
    assert np.abs(here.astype(int) - there).max() <= 1
    assert here[20:100, 40:120].std() > 5


def test_a_mover_goes_to_its_reach_and_back() -> None:
    mover = Mover(box((2.0, -0.5, -0.5), (3.0, 0.5, 0.5)), np.array([2.0, 0.0, 0.0]), period=4.0)
    places = [mover.at(seconds).low[0] for seconds in (0.0, 1.0, 2.0, 3.0, 4.0)]
    np.testing.assert_allclose(places, [2.0, 3.0, 4.0, 3.0, 2.0])
    moving = MovingScenery(Scenery([box((9.0, -9.0, -9.0), (10.0, 9.0, 9.0))]), [mover])
    depths = [moving.render(look((0, 0, 0), 0.0), seconds=s)[1][60, 80] for s in (0.0, 2.0)]
    np.testing.assert_allclose(depths, [2.0, 4.0], rtol=1e-6)
