"""Pieces of one thread's work that another does while it would only wait for that thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Condition
from typing import Any, TypeVar

Result = TypeVar("Result")


class SharedWork:
    """Work that is offered in pieces, each of which is done once, by whoever comes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._pieces: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def run(self, pieces: Sequence[Callable[[], Result]]) -> list[Result]:
        """Do pieces that are independent of each other; return their results in order.

        Raises what the first of them that failed raised, once all have ended.
        """
        results: list[Future[Result]] = [Future() for _ in pieces]
        with self._changed:
            self._pieces.extend(zip(results, pieces, strict=True))
            self._changed.notify_all()
        while self._do_one():
            pass
        wait(results)
        return [result.result() for result in results]

    def help_until(self, done: Future[Any]) -> None:
        """Do pieces that other threads offer, or wait for some, until ``done`` is."""
        done.add_done_callback(self._wake)
        while not done.done():
            if not self._do_one():
                with self._changed:
                    self._changed.wait_for(lambda: self._pieces or done.done())

    def _do_one(self) -> bool:
        """Do the piece that was offered first; return whether there was one."""
        try:
            result, piece = self._pieces.popleft()
        except IndexError:
            return False
        try:
            result.set_result(piece())
        except BaseException as error:
            result.set_exception(error)
            if not isinstance(error, Exception):
                raise
        return True

    def _wake(self, done: Future[Any]) -> None:
        with self._changed:
            self._changed.notify_all()
