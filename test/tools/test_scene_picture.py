import cv2
import numpy as np
import pytest

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.tools.scene_picture import contrast, draw_scene, splat, surface_normals
from flashvggt_ros.worlds import look

CAMERA = Pinhole(100.0, 100.0, 79.5, 59.5, 160, 120)
RED, BLUE = (200, 30, 40), (20, 60, 220)


def wall(x, half=2.0, count=40):
    """Points (count^2, 3) of a wall across the x axis, at the height of the eye."""
    y, z = np.meshgrid(np.linspace(-half, half, count), np.linspace(-half, half, count))
    return np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3).astype(np.float32)


def colored(count, color):
    return np.tile(np.array(color, np.uint8), (count, 1))


def test_a_near_wall_hides_a_far_one_and_leaves_no_holes():
    points = np.concatenate([wall(2.0, 0.4), wall(4.0)])
    colors = np.concatenate([colored(1600, RED), colored(1600, BLUE)])
    order = np.random.default_rng(0).permutation(len(points))
    view = splat(points[order], colors[order], look((0, 0, 0), 0.0), CAMERA, 0.1)
    assert (view[45:75, 65:95] == RED).all()
    assert (view[20:35, 40:120] == BLUE).all()
    behind = splat(points, colors, look((0, 0, 0), np.pi), CAMERA, 0.1)
    assert (behind == 255).all()


def test_an_image_of_furniture_has_more_contrast_than_a_wall_with_fine_texture():
    wall_image = np.random.default_rng(0).integers(60, 200, (480, 640, 1), np.uint8).repeat(3, 2)
    blocks = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    furniture = blocks.repeat(80, axis=0).repeat(80, axis=1)
    assert contrast(furniture) > 2 * contrast(wall_image)
    assert contrast(np.full((480, 640, 3), 90, np.uint8)) == 0


def test_normals_point_to_where_the_surface_was_seen_from():
    points = np.concatenate([wall(2.0), wall(-2.0)])
    normals = surface_normals(points, np.array([[0.1, 0, 0], [-0.1, 0, 0]]))
    assert normals[:1600] == pytest.approx(np.tile([-1, 0, 0], (1600, 1)), abs=1e-3)
    assert normals[1600:] == pytest.approx(np.tile([1, 0, 0], (1600, 1)), abs=1e-3)


@pytest.mark.parametrize("count", [0, 1, 5, 3200])
def test_a_picture_shows_image_map_and_path(tmp_path, count):
    points = np.concatenate([wall(2.0), wall(-2.0)])[:count]
    poses = np.stack([look((0.01 * step, 0.2 * step, 0), 0.0) for step in range(4)])
    image = np.full((120, 160, 3), 90, np.uint8)
    draw_scene(tmp_path / "scene.png", points, colored(count, BLUE), poses, image, 1, CAMERA, "two")
    picture = cv2.imread(str(tmp_path / "scene.png"))[..., ::-1].astype(int)
    assert (np.abs(picture - 90).max(axis=2) < 8).sum() > 10_000
    if count > 1000:
        assert (np.abs(picture - BLUE).max(axis=2) < 12).sum() > 10_000
        assert (np.abs(picture - (213, 94, 0)).max(axis=2) < 12).sum() > 100
