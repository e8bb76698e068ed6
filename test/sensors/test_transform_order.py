"""Transforms that are stamped far from those before them: held back until time proves to jump."""

from types import SimpleNamespace

from sensor_messages import header

from flashvggt_ros.sensors.transform_order import TransformOrder

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


class Feed:
    """An order that is given stamps; ``cleared`` counts how often the buffer was to forget."""

    def __init__(self, now_ns=0):
        self.cleared = 0
        self.order = TransformOrder(self._clear, lambda: now_ns)

    def _clear(self):
        self.cleared += 1

    def takes(self, *stamps_ns, child="base"):
        return [
            self.order.accepts(SimpleNamespace(header=header(stamp), child_frame_id=child))
            for stamp in stamps_ns
        ]


def after(begin_ns, count=5):
    return [begin_ns + n * SECOND // 10 for n in range(count)]


def test_a_single_stamp_of_the_future_is_held_back_and_costs_nothing_else(caplog):
    feed = Feed()
    for _ in range(2):
        assert feed.takes(NOW, NOW + HOUR, NOW + SECOND) == [True, False, True]
    assert feed.takes(*after(NOW - 9 * SECOND)) == [True] * 5  # in any order, as tf2 does
    assert feed.cleared == 0
    assert caplog.text.count("a transform of 'base' is stamped 3600.0 s after those") == 1


def test_several_in_a_row_prove_that_time_has_jumped_on():
    feed = Feed()
    feed.takes(NOW)
    assert feed.takes(*after(NOW + HOUR)) == [False] * 4 + [True]
    assert feed.takes(*after(NOW + HOUR + SECOND)) == [True] * 5
    assert feed.cleared == 0


def test_a_first_stamp_that_was_wrong_is_forgotten_with_all_that_the_buffer_has():
    feed = Feed()
    feed.takes(NOW + HOUR)
    assert feed.takes(*after(NOW)) == [False] * 4 + [True]
    assert feed.cleared == 1
    assert feed.takes(*after(NOW + SECOND)) == [True] * 5
    assert feed.cleared == 1


def test_a_stamp_of_now_by_the_clock_needs_no_other_proof():
    feed = Feed(now_ns=NOW)
    feed.takes(*after(NOW + HOUR))
    assert feed.takes(NOW, NOW + HOUR) == [True, False]
    assert feed.cleared == 1


def test_a_first_stamp_that_is_ahead_of_the_clock_is_held_back():
    feed = Feed(now_ns=NOW)
    assert feed.takes(NOW + HOUR, NOW, NOW + SECOND) == [False, True, True]
    assert feed.cleared == 0
    assert feed.takes(*after(NOW + HOUR), child="other") == [False] * 4 + [True]
    assert feed.takes(NOW - HOUR, child="third") == [True]  # of a bag


def test_frames_do_not_disturb_each_other():
    feed = Feed()
    assert feed.takes(NOW, child="left") + feed.takes(NOW + HOUR, child="right") == [True, True]
    assert feed.takes(NOW + 1, child="left") == [True]


def test_what_has_no_stamp_is_left_to_the_buffer_to_refuse():
    assert Feed().order.accepts(SimpleNamespace())
