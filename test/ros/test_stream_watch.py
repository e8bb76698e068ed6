"""Rates, stalls and clocks of cameras, on a clock of the test's own."""

import pytest

from flashvggt_ros.ros.stream_watch import StreamReport, StreamWatch, drift_problem


class Camera:
    """A stream that is watched by a clock which only the test moves [s]."""

    def __init__(self) -> None:
        self.now = 100.0
        self.watch = StreamWatch(lambda: self.now)

    def take(self, count: int, period: float, delay_ns: int = 0) -> StreamReport:
        """Let images come; each is stamped by this very clock, ``delay_ns`` before it comes."""
        for _ in range(count):
            self.now += period
            self.watch.arrived(round(self.now * 1e9) - delay_ns)
        return self.report

    @property
    def report(self) -> StreamReport:
        return self.watch.report("/camera")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    camera = Camera()
    assert camera.report.rate_hz == 0
    assert camera.take(400, 1 / 60).rate_hz == pytest.approx(60)
    assert camera.take(60, 0.1).rate_hz == pytest.approx(10)


def test_a_camera_stalls_after_a_second_and_comes_back() -> None:
    camera = Camera()
    camera.now += 0.9
    assert not camera.report.is_stalled  # nothing could have come yet
    camera.now += 0.2
    assert camera.report.is_stalled
    camera.take(30, 1 / 30)
    camera.now += 0.9
    assert not camera.report.is_stalled
    camera.now += 0.2
    assert camera.report.is_stalled
    assert camera.report.silence_s == pytest.approx(1.1)
    camera.now += 60.0
    assert camera.report.rate_hz == 0
    assert not camera.take(30, 1 / 30).is_stalled
    camera.now += 1.1  # the long gap does not count as a period
    assert camera.report.is_stalled


def test_a_slow_camera_is_given_three_periods() -> None:
    camera = Camera()
    camera.take(5, 2.0)
    camera.now += 5.9
    assert not camera.report.is_stalled
    camera.now += 0.2
    assert camera.report.is_stalled


def test_cameras_stamped_by_clocks_that_differ_are_named() -> None:
    one, other = Camera(), Camera()
    one.take(30, 1 / 30)
    other.take(10, 1 / 10)
    assert drift_problem([one.report, other.report]) == ""
    late = Camera()
    late.take(30, 1 / 30, delay_ns=800_000_000)
    assert "stamped 0.8 s before" in drift_problem([one.report, late.report])
    late.now += 3.0
    assert drift_problem([one.report, late.report]) == ""  # it has stopped: that is said instead
