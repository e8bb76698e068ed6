import threading

import pytest

from flashvggt_ros.sensors.stamped_track import KEPT_NS, StampedTrack


def track_of(*stamps: int, limit: int = 1000) -> StampedTrack[str]:
    track: StampedTrack[str] = StampedTrack(limit)
    for stamp in stamps:
        track.add(stamp, f"at {stamp}")
    return track


def test_values_around_a_stamp_are_the_last_before_and_the_first_after() -> None:
    track = track_of(10, 20, 40)
    assert track.around(30) == ((20, "at 20"), (40, "at 40"))
    assert track.around(20) == ((20, "at 20"), (20, "at 20"))
    assert track.around(10) == ((10, "at 10"), (10, "at 10"))
    assert track.around(40) == ((40, "at 40"), (40, "at 40"))


def test_nothing_is_extrapolated() -> None:
    track = track_of(10, 20)
    assert track.around(9) is None
    assert track.around(21) is None
    assert track_of().around(10) is None
    assert (track_of().newest_ns, track.newest_ns) == (0, 20)


def test_values_within_a_span_include_its_ends() -> None:
    assert [stamp for stamp, _ in track_of(10, 20, 30, 40).within(20, 30)] == [20, 30]


def test_stamps_grow_until_the_track_is_cleared() -> None:
    track = track_of(10)
    for stamp in (10, 9):
        with pytest.raises(ValueError, match="not after 10"):
            track.add(stamp, "late")
    track.clear()
    track.add(5, "anew")
    assert track.within(0, 100) == [(5, "anew")]


def test_what_is_older_than_a_minute_is_let_go() -> None:
    track = track_of(1, 2, KEPT_NS, KEPT_NS + 2)
    assert [stamp for stamp, _ in track.within(0, 2 * KEPT_NS)] == [2, KEPT_NS, KEPT_NS + 2]


def test_the_oldest_go_where_all_together_are_too_large() -> None:
    track: StampedTrack[str] = StampedTrack(100)
    for stamp in range(1, 11):
        track.add(stamp, "x", size=30)
    assert [stamp for stamp, _ in track.within(0, 100)] == [8, 9, 10]
    track.add(11, "huge", size=1000)  # the newest is always kept
    assert [stamp for stamp, _ in track.within(0, 100)] == [11]
    track.add(12, "x", size=30)
    track.add(13, "x", size=30)
    assert [stamp for stamp, _ in track.within(0, 100)] == [12, 13]


def test_one_thread_may_add_while_another_asks() -> None:
    track = track_of(1, limit=50)
    wrong: list[object] = []

    def ask() -> None:
        while track.newest_ns < 5000:
            found = track.around(track.newest_ns)
            if found is not None and found[0][1] != f"at {found[0][0]}":
                wrong.append(found)

    thread = threading.Thread(target=ask)
    thread.start()
    for stamp in range(2, 5001):
        track.add(stamp, f"at {stamp}")
    thread.join(10)
    assert not thread.is_alive()
    assert wrong == []
