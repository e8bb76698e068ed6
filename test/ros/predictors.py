"""Predictors that tell the truth, but not at once, or not always."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.worlds import TruthCache, TruthPredictor, World


class Held(TruthPredictor):
    """Tells the truth when it is allowed to."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.may_go_on = threading.Event()
        self.is_busy = threading.Event()

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        self.is_busy.set()
        assert self.may_go_on.wait(30)
        return super().predict(frames, cache)


class Failing(TruthPredictor):
    """Tells the truth, but for the calls of these numbers, counted from 1."""

    def __init__(self, world: World, error: Exception, calls: Sequence[int]) -> None:
        super().__init__(world)
        self._error, self._failing, self._calls = error, calls, 0

    def predict(self, frames: Sequence[Frame], cache: TruthCache) -> ChunkPrediction:
        self._calls += 1
        if self._calls in self._failing:
            raise self._error
        return super().predict(frames, cache)


def tripping(world: World) -> Failing:
    """A predictor whose second call fails."""
    return Failing(world, RuntimeError("the model tripped"), [2])
