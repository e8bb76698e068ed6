"""The model may run ahead of the map, and says the same."""

from threading import Event, current_thread, main_thread

import numpy as np
import pytest

from flashvggt_ros.chunk_predictor import PredictorAhead
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

WORLD = make_world(walk(12))
FIRST, SECOND = WORLD.frames[:4], WORLD.frames[4:8]


class Gated(TruthPredictor):
    """A model that works in other threads only when it is told to, and notes when it did."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.may_run, self.calls, self.running = Event(), [], 0

    def predict(self, frames, cache):
        assert self.running == 0, "two runs at a time"
        self.running += 1
        if current_thread() is not main_thread():
            assert self.may_run.wait(20)
        self.calls.append(frames[0].stamp_ns)
        self.running -= 1
        return super().predict(frames, cache)


def test_what_was_begun_is_the_same_as_what_is_asked_for_at_once() -> None:
    ahead, at_once = PredictorAhead(TruthPredictor(WORLD)), TruthPredictor(WORLD)
    cache, other = ahead.new_cache(), at_once.new_cache()
    for frames in (FIRST, SECOND):
        ahead.begin(frames, cache)
        found, expected = ahead.predict(frames, cache), at_once.predict(frames, other)
        assert np.array_equal(found.T_submap_camera, expected.T_submap_camera)
        assert np.array_equal(found.depth, expected.depth)


def test_the_caller_goes_on_while_the_model_works() -> None:
    model = Gated()
    ahead = PredictorAhead(model)
    cache = ahead.new_cache()
    ahead.begin(FIRST, cache)
    assert not model.calls
    model.may_run.set()
    ahead.predict(FIRST, cache)
    assert model.calls == [FIRST[0].stamp_ns]


def test_other_runs_wait_for_the_one_that_was_begun() -> None:
    model = Gated()
    ahead = PredictorAhead(model)
    cache = ahead.new_cache()
    ahead.begin(FIRST, cache)
    model.may_run.set()
    ahead.predict(SECOND, ahead.new_cache())  # a loop check, say
    ahead.predict(FIRST, cache)
    assert model.calls == [FIRST[0].stamp_ns, SECOND[0].stamp_ns]


def test_nothing_that_was_not_begun_needs_a_thread() -> None:
    model = Gated()  # would wait for ever in one
    ahead = PredictorAhead(model)
    ahead.predict(FIRST, ahead.new_cache())
    assert model.calls == [FIRST[0].stamp_ns]


def test_a_submap_that_was_begun_keeps_its_memory_and_others_get_an_empty_one() -> None:
    ahead = PredictorAhead(TruthPredictor(WORLD))
    cache = ahead.new_cache()
    ahead.begin(FIRST, cache)
    assert ahead.cache_for(FIRST) is cache
    assert ahead.cache_for(SECOND) is not cache
    assert ahead.cache_for(FIRST[:3]).frames == 0


def test_a_memory_that_another_chunk_was_begun_with_is_refused() -> None:
    ahead = PredictorAhead(TruthPredictor(WORLD))
    cache = ahead.new_cache()
    ahead.begin(FIRST, cache)
    with pytest.raises(ValueError, match="another chunk"):
        ahead.predict(SECOND, cache)


def test_what_the_model_raises_comes_when_its_chunk_is_asked_for() -> None:
    class Failing(TruthPredictor):
        def predict(self, frames, cache):
            raise RuntimeError("not finite")

    ahead = PredictorAhead(Failing(WORLD))
    cache = ahead.new_cache()
    ahead.begin(FIRST, cache)
    with pytest.raises(RuntimeError, match="not finite"):
        ahead.predict(FIRST, cache)
