"""Waiting for another thread without holding up the executor."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

POLL_S = 0.005


class Ended:
    """Awaits the end of a future of another thread inside a callback, however it ends.

    Executors resume a waiting coroutine again and again without a pause; waiting a few
    milliseconds here keeps that from taking the processor from the model, and images are taken in
    between.
    """

    def __init__(self, future: Future) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, Any]:
        while not self._future.done():  # wait() alone never says so of one that was cancelled
            concurrent.futures.wait([self._future], timeout=POLL_S)
            yield


class Completion(Ended):
    """Awaits the result of a future of another thread inside a callback.

    CancelledError is raised where the future was cancelled, or ``is_over()`` before it ends.
    """

    def __init__(self, future: Future, is_over: Callable[[], bool]) -> None:
        super().__init__(future)
        self._is_over = is_over

    def __await__(self) -> Generator[None, None, Any]:
        for _ in super().__await__():
            if self._is_over():
                raise concurrent.futures.CancelledError
            yield
        return self._future.result()
