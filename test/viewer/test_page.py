"""The page in a real browser."""

import threading

import numpy as np
import pytest
from viewer.browser import Browser, needs_chromium

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.viewer.camera_path import CameraPath
from flashvggt_ros.viewer.page import Page
from flashvggt_ros.viewer.palette import SUBMAPS, VERMILION

VIOLET = (120, 30, 200)  # a color that nothing else on the page has
PICTURE = (250, 120, 250)
LINES = 48  # by which colors of lines differ on screen from what was asked for


@pytest.fixture
def page():
    with Page("127.0.0.1", 8300, 2_000_000) as page:
        yield page


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as chromium:
        yield chromium


@pytest.fixture
def browser(chromium, page):
    yield chromium
    chromium.leave()


def sheet(color, height=0.0, count=20_000):
    rng = np.random.default_rng(0)
    points = rng.uniform(-5, 5, (count, 3)).astype(np.float32)
    points[:, 2] = height + 0.01 * points[:, 2]
    return points, np.full((count, 3), color, np.uint8)


def circle(submaps, loops):
    angles = np.linspace(0, 5, len(submaps))
    T_map_camera = np.tile(np.eye(4), (len(submaps), 1, 1))
    T_map_camera[:, :3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    places = [3 * np.cos(angles), 3 * np.sin(angles), np.full(len(angles), 1.5)]
    T_map_camera[:, :3, 3] = np.stack(places, axis=1)
    frames = tuple(FrameStamp(number, "camera") for number in range(len(submaps)))
    return CameraPath(frames, T_map_camera, np.array(submaps, np.int64),
                      np.array(loops, np.int64).reshape(-1, 2))


def scene(browser):
    """The 3D part of the page, without its panel and Chromium's warnings."""
    return browser.screenshot()[200:, :620]


def pixels(picture, color, tolerance=12):
    return int((np.abs(picture.astype(int) - color).max(axis=2) <= tolerance).sum())


def shows(color, least, tolerance=12):
    return lambda browser: pixels(scene(browser), color, tolerance) >= least


@needs_chromium
def test_the_map_its_cameras_submaps_and_loops_are_on_screen_and_the_console_has_no_errors(
    page, browser
):
    browser.open(page.address)
    empty = scene(browser)
    colors = (VIOLET, PICTURE, VERMILION, *SUBMAPS[:3])
    assert [pixels(empty, color, LINES) for color in colors] == [0] * len(colors)
    page.show_cloud(*sheet(VIOLET))
    browser.wait(shows(VIOLET, 10_000))
    path = circle([0] * 5 + [1] * 5 + [2] * 5, [(0, 2)])
    page.show_path(path, lambda frame: np.full((30, 40, 3), PICTURE, np.uint8))
    browser.wait(shows(PICTURE, 500))
    for color in (*SUBMAPS[:3], VERMILION):
        browser.wait(shows(color, 100, LINES))
    page.show_status({"state": "mapping the hall"})
    browser.wait(lambda browser: "mapping the hall" in browser.text())
    page.show_cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    browser.wait(lambda browser: pixels(scene(browser), VIOLET) == 0)
    assert browser.errors == []


@needs_chromium
def test_the_grid_lies_where_its_cells_are_and_a_browser_that_comes_late_sees_all(page, browser):
    points, colors = sheet(VIOLET)
    page.show_cloud(points, colors)
    page.cloud.root.visible = False
    cells = np.full((100, 100), -1, np.int8)
    cells[:20, :50] = 100  # y -5 to -3, x -5 to 0
    page.show_grid(Grid(0.1, np.array([-5.0, -5.0]), cells))
    beside = np.full((100, 3), (-2.5, -4.0, 0.06), np.float32)
    page.show_path(circle([], []), lambda _: None)
    browser.open(page.address)
    picture = browser.wait(_grid_picture)
    page.cloud.root.visible = True
    page.show_cloud(np.concatenate([points, beside]),
                    np.concatenate([colors, np.full((100, 3), PICTURE, np.uint8)]))
    page.cloud.set_magnification(3.0)
    spot = browser.wait(lambda browser: _middle(scene(browser), PICTURE))
    assert np.allclose(_middle(picture, (60, 60, 60), 60), spot, atol=45)


def _grid_picture(browser):
    picture = scene(browser)
    return picture if pixels(picture, (60, 60, 60), 60) > 1000 else None


def _middle(picture, color, tolerance=12):
    found = np.argwhere(np.abs(picture.astype(int) - color).max(axis=2) <= tolerance)
    return found.mean(axis=0) if len(found) else None


class Pressed:
    def __init__(self):
        self.saved = threading.Event()
        self.is_reset = threading.Event()
        self.name = ""

    def pause(self, *, is_paused):
        pass

    def reset(self):
        self.is_reset.set()

    def save(self, name):
        self.name = name
        self.saved.set()


@needs_chromium
def test_buttons_do_what_they_say_and_their_answers_are_shown(page, browser):
    pressed = Pressed()
    page.add_buttons(pressed)
    browser.open(page.address)
    browser.wait(lambda browser: "Save map" in browser.text())
    browser.click("Save map")
    assert pressed.saved.wait(10)
    assert pressed.name == "live_view"
    browser.click("Reset: forget the map")
    assert pressed.is_reset.wait(10)
    page.say("saved: 12 poses")
    browser.wait(lambda browser: "saved: 12 poses" in browser.text())
    assert browser.errors == []


def test_the_next_free_port_is_taken_and_no_tunnel_is_opened(page):
    with Page("127.0.0.1", int(page.address.rpartition(":")[2]), 10) as second:
        assert second.address != page.address
    assert page._server.request_share_url() is None
