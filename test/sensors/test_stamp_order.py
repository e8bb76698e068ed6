"""When stamps that go back mean that time has begun anew."""

import pytest

from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.sensors.stamp_order import RUN, StampOrder

SECOND = 1_000_000_000


def refuse(order: StampOrder, *stamps_ns: int) -> int:
    """Let stamps be refused; return how far time has jumped back then [ns]."""
    for stamp_ns in stamps_ns:
        with pytest.raises(RejectedInput):
            order.check(stamp_ns, "image")
    return order.jump_back_ns


def at(stamp_ns: int) -> StampOrder:
    order = StampOrder()
    order.check(stamp_ns, "image")
    order.accept(stamp_ns)
    return order


def test_a_run_of_old_stamps_that_grow_is_a_jump_back() -> None:
    order = at(100 * SECOND)
    stamps = [10 * SECOND + n for n in range(RUN)]
    assert refuse(order, *stamps[:-1]) == 0
    assert refuse(order, stamps[-1]) == 100 * SECOND - stamps[-1]
    order.clear()
    order.check(stamps[-1], "image")
    assert order.jump_back_ns == 0


def test_messages_that_are_late_by_less_than_a_second_never_are() -> None:
    order = at(100 * SECOND)
    assert refuse(order, *(99 * SECOND + n for n in range(3 * RUN))) == 0


def test_old_stamps_in_no_order_or_between_new_ones_never_are() -> None:
    order = at(100 * SECOND)
    assert refuse(order, *([10 * SECOND] * 3 * RUN)) == 0
    for n in range(3 * RUN):
        refuse(order, 20 * SECOND + n)
        order.check((101 + n) * SECOND, "image")
        order.accept((101 + n) * SECOND)
    assert order.jump_back_ns == 0


def test_one_stamp_far_ahead_is_refused_and_five_in_a_row_are_a_jump_of_time() -> None:
    order = at(100 * SECOND)
    assert refuse(order, 4000 * SECOND) == 0
    order.check(101 * SECOND, "image")
    order.accept(101 * SECOND)
    assert refuse(order, *(4000 * SECOND + n for n in range(RUN - 1))) == 0
    order.check(4001 * SECOND, "image")
    order.accept(4001 * SECOND)
    order.check(4002 * SECOND, "image")
    assert order.jump_back_ns == 0


def test_stamps_ahead_and_back_by_turns_prove_nothing() -> None:
    order = at(100 * SECOND)
    for n in range(3 * RUN):
        assert refuse(order, 4000 * SECOND + n, 10 * SECOND + n) == 0


def test_a_stamp_ahead_that_a_clock_confirms_is_taken_at_once() -> None:
    order = StampOrder(lambda: 4000 * SECOND)
    order.accept(100 * SECOND)
    order.check(4000 * SECOND, "image")
    order.accept(4000 * SECOND)
    with pytest.raises(RejectedInput):
        order.check(8000 * SECOND, "image")


@pytest.mark.parametrize("has_paused", [False, True])
def test_a_first_stamp_that_is_far_ahead_of_the_clock_must_be_proven(has_paused: bool) -> None:
    order = StampOrder(lambda: 100 * SECOND)
    if has_paused:
        order.accept(90 * SECOND)
        order.pause()
    with pytest.raises(RejectedInput, match=r"3900\.000 s after the node's clock"):
        order.check(4000 * SECOND, "image")
    order.check(100 * SECOND, "image")
    assert refuse(order, *(4000 * SECOND + n for n in range(1, RUN - 1))) == 0
    order.check(4001 * SECOND, "image")


def test_what_was_proven_of_a_clock_that_is_ahead_outlives_a_reset() -> None:
    order = StampOrder(lambda: 100 * SECOND)
    assert refuse(order, *(4000 * SECOND + n for n in range(RUN - 1))) == 0
    order.check(4001 * SECOND, "image")
    order.accept(4001 * SECOND)
    order.clear()
    with pytest.raises(RejectedInput, match=r"4099\.000 s after"):
        order.check(8100 * SECOND, "image")
    order.check(4002 * SECOND, "image")
    order.accept(101 * SECOND)  # its clock was set right
    order.clear()
    with pytest.raises(RejectedInput):
        order.check(4003 * SECOND, "image")


def test_a_first_stamp_of_the_past_is_that_of_a_recording() -> None:
    StampOrder(lambda: 4000 * SECOND).check(100 * SECOND, "image")


def test_after_a_pause_any_later_stamp_is_taken_once() -> None:
    order = at(100 * SECOND)
    order.pause()
    order.check(4000 * SECOND, "image")
    order.accept(4000 * SECOND)
    assert refuse(order, 8000 * SECOND) == 0


def test_stamps_of_zero_are_no_time() -> None:
    assert refuse(at(100 * SECOND), *([0] * 3 * RUN)) == 0


def test_a_recording_that_paused_confirms_the_stamps_after_it_but_no_wild_one() -> None:
    lead = 500 * SECOND  # of the camera's clock before the recorder's
    order = StampOrder()
    for log_ns in (100 * SECOND, 101 * SECOND, 161 * SECOND, 1000 * SECOND):
        order.recording.hear(log_ns)
        order.check(log_ns + lead, "image")
        order.accept(log_ns + lead)
    order.recording.hear(1001 * SECOND)
    assert refuse(order, 1012 * SECOND + lead) == 0
    order.check(1001 * SECOND + lead, "image")
