import numpy as np
import pytest

pytest.importorskip("viser")
from flashvggt_ros.viewer.page import Page


@pytest.fixture(scope="module")
def page():
    with Page("127.0.0.1", 8500, 50_000) as page:
        yield page


def cloud(count, low=-5.0, high=5.0):
    rng = np.random.default_rng(count)
    points = rng.uniform(low, high, (count, 3)).astype(np.float32)
    return points, np.full((count, 3), 90, np.uint8)


def sent(page):
    """Points of the clouds that browsers are sent."""
    handles = page._server.scene._handle_from_node_name
    return sum(len(handle.points) for name, handle in handles.items()
               if name.startswith("/map_cloud/"))


def test_a_map_that_only_grew_is_not_sent_again(page):
    points, colors = cloud(30_000)
    page.show_cloud(points, colors)
    assert page.cloud.sent_points == page.cloud.shown_points == sent(page) == 30_000
    page.show_cloud(points, colors)
    assert page.cloud.sent_points == 0
    more, more_colors = cloud(100, 4.1, 4.5)
    page.show_cloud(np.concatenate([points, more]), np.concatenate([colors, more_colors]))
    assert 100 <= page.cloud.sent_points < 2000
    assert sent(page) == 30_100


def test_what_is_gone_from_the_map_goes_from_the_page(page):
    page.show_cloud(*cloud(1000))
    page.show_cloud(*cloud(10, 1.0, 1.1))
    assert sent(page) == 10
    page.show_cloud(*cloud(0))
    assert sent(page) == 0


def test_no_more_than_the_budget_is_sent(page):
    page.show_cloud(*cloud(120_000))
    assert 35_000 < page.cloud.shown_points == sent(page) < 52_000


def test_a_ceiling_can_be_taken_off(page):
    page.show_cloud(*cloud(10_000))
    page.cloud.set_height(0.5)
    assert sent(page) == pytest.approx(5000, rel=0.05)
    page.cloud.set_height(1.0)
    assert sent(page) == 10_000


def test_points_can_be_drawn_larger(page):
    page.show_cloud(*cloud(10_000))
    handle = next(iter(page.cloud._handles.values()))
    before = handle.point_size
    page.cloud.set_magnification(2.0)
    assert handle.point_size == pytest.approx(2 * before)
    page.cloud.set_magnification(1.0)
