import re

import cv2
import numpy as np
import pytest

from flashvggt_ros.tools.plots import (
    ARBITRARY,
    METERS,
    draw_comparison,
    draw_errors,
    draw_map,
    draw_trajectory,
)

NONE = np.empty((0, 3))


def pixels(path):
    return cv2.imread(str(path))[..., ::-1].reshape(-1, 3)


def has_color(path, color):
    return (np.abs(pixels(path).astype(int) - color).max(axis=1) < 12).sum()


def test_the_map_shows_the_colors_of_the_cloud_but_not_of_its_ceiling(tmp_path):
    rng = np.random.default_rng(0)
    floor = np.column_stack([rng.uniform(-2, 2, (40_000, 2)), np.zeros(40_000)])
    ceiling = floor + np.array([0, 0, 3])
    colors = np.repeat(np.array([[200, 30, 40], [20, 60, 220]], np.uint8), 40_000, axis=0)
    points = np.vstack([floor, ceiling]).astype(np.float32)
    positions = np.array([[0, 0, 1.0], [1, 1, 1.2]])
    draw_map(tmp_path / "map.png", points, colors, positions, METERS, "room")
    assert has_color(tmp_path / "map.png", [200, 30, 40]) > 10_000
    assert has_color(tmp_path / "map.png", [20, 60, 220]) < 100


def test_two_million_points_are_drawn(tmp_path):
    points = np.random.default_rng(0).normal(size=(2_000_000, 3)).astype(np.float32)
    colors = np.full((2_000_000, 3), 90, np.uint8)
    draw_map(tmp_path / "map.png", points, colors, np.zeros((1, 3)), METERS, "many")
    assert has_color(tmp_path / "map.png", [90, 90, 90]) > 10_000


def test_nothing_to_draw_is_still_a_picture(tmp_path):
    nothing = NONE.astype(np.float32), NONE.astype(np.uint8), NONE
    draw_map(tmp_path / "map.png", *nothing, METERS, "empty")
    draw_trajectory(tmp_path / "path.png", np.empty(0, np.int64), NONE, METERS, "empty")
    assert len(pixels(tmp_path / "map.png")) > 10_000
    assert len(pixels(tmp_path / "path.png")) > 10_000


def test_a_map_of_one_point_and_one_pose_is_drawn(tmp_path):
    one = np.ones((1, 3), np.float32)
    poses = one.astype(np.float64)
    draw_map(tmp_path / "map.png", one, one.astype(np.uint8), poses, METERS, "one")
    assert len(pixels(tmp_path / "map.png")) > 10_000


@pytest.mark.parametrize("unit", [METERS, ARBITRARY])
def test_axes_and_scale_bar_say_what_a_unit_is(tmp_path, unit):
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    colors, positions = np.zeros((500, 3), np.uint8), np.eye(3)
    draw_map(tmp_path / "map.svg", points, colors, positions, unit, "")
    draw_trajectory(tmp_path / "path.svg", np.arange(3), positions, unit, "")
    texts = [re.findall("<!-- (.*?) -->", (tmp_path / name).read_text())
             for name in ("map.svg", "path.svg")]
    assert f"x [{unit}]" in texts[0] and f"1 {unit}" in texts[0]
    assert {f"x [{unit}]", f"y [{unit}]", f"z [{unit}]"} <= set(texts[1])


@pytest.mark.parametrize("name", ["$x_{$", "_walk", "100% a^b"])
def test_a_name_stands_in_pictures_as_it_is(tmp_path, name):
    curve = np.arange(4.0), np.arange(4.0)
    draw_errors(tmp_path / "errors.svg", {name: curve, "other": curve}, "error", "errors")
    draw_trajectory(tmp_path / "path.svg", np.arange(3), np.eye(3), METERS, name)
    for file in ("errors.svg", "path.svg"):
        assert f"<!-- {name} -->" in (tmp_path / file).read_text()


def test_characters_that_no_font_has_are_said_once(tmp_path, caplog, recwarn):
    name = "".join(map(chr, range(0xE000, 0xE010)))  # which Unicode leaves to everyone
    draw_trajectory(tmp_path / "path.png", np.arange(3), np.eye(3), METERS, name)
    assert len(recwarn) == 0
    (record,) = caplog.records
    assert f"{tmp_path / 'path.png'}: Glyph 57344" in record.getMessage()
    assert "and 15 more; 'apt install fonts-noto-cjk'" in record.getMessage()


def test_truth_and_estimate_are_drawn_in_colors_that_differ(tmp_path):
    truth = np.cumsum(np.ones((50, 3)), axis=0)
    seconds = np.arange(50.0)
    errors = {"after Sim(3)": seconds, "after SE(3)": seconds[::-1]}
    draw_comparison(tmp_path / "both.png", truth, truth * [1, 0.5, 1], seconds, errors, 2, "both")
    assert has_color(tmp_path / "both.png", [0, 114, 178]) > 200
    assert has_color(tmp_path / "both.png", [213, 94, 0]) > 200
