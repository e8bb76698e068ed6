"""Pieces of work are done once each, by whoever is free."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, current_thread, main_thread

import pytest

from flashvggt_ros.shared_work import SharedWork

PATIENCE_S = 20


def test_pieces_are_done_without_help() -> None:
    assert SharedWork().run([partial(pow, number, 2) for number in range(5)]) == [0, 1, 4, 9, 16]
    assert SharedWork().run([]) == []


def test_a_thread_that_waits_does_some_of_the_pieces_meanwhile() -> None:
    work, both = SharedWork(), Barrier(2)

    def piece() -> bool:
        both.wait(PATIENCE_S)  # needs two threads at a time
        return current_thread() is main_thread()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work.run, [piece] * 4)
        work.help_until(done)
        assert sorted(done.result()) == [False, False, True, True]


def test_it_waits_for_pieces_that_come_later_and_for_the_end() -> None:
    work, may_end = SharedWork(), Event()

    def owner() -> list[int]:
        first = work.run([partial(int, "1"), partial(int, "2")])
        assert may_end.wait(PATIENCE_S)
        return first + work.run([partial(int, "3")])

    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(owner)
        helper = pool.submit(work.help_until, done)
        assert not helper.done()
        may_end.set()
        helper.result(PATIENCE_S)
        assert done.result() == [1, 2, 3]


def test_nothing_is_waited_for_where_the_end_is_past() -> None:
    done: Future[int] = Future()
    done.set_result(1)
    SharedWork().help_until(done)


def test_what_a_piece_raises_reaches_its_owner_after_all_have_ended() -> None:
    work, ended = SharedWork(), []

    def fail(name: str) -> None:
        raise ValueError(name)

    with pytest.raises(ValueError, match="first"):
        work.run([partial(fail, "first"), partial(ended.append, 1), partial(fail, "second")])
    assert ended == [1]


def test_a_piece_that_fails_does_not_stop_who_helps() -> None:
    work, both = SharedWork(), Barrier(2)

    def fail() -> None:
        both.wait(PATIENCE_S)
        raise RuntimeError("not finite")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work.run, [fail, fail])
        work.help_until(done)
        with pytest.raises(RuntimeError, match="not finite"):
            done.result()
