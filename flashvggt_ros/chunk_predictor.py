"""The model as slam sees it, and how it may begin with a chunk before slam needs it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from operator import is_
from typing import Generic, Protocol, TypeVar, runtime_checkable

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.shared_work import SharedWork


class Cache(Protocol):
    """A descriptor cache: the memory of one submap."""

    @property
    def frames(self) -> int:
        """How many frames' descriptors it holds."""
        ...

    @property
    def nbytes(self) -> int:
        """Size of the descriptors held [bytes]."""
        ...

    def fits(self, frames: int) -> bool:
        """Whether a chunk of so many frames fits its bound without any frame leaving it."""
        ...


CacheT = TypeVar("CacheT", bound=Cache)


class ChunkPredictor(Protocol[CacheT]):
    """What slam needs of a model."""

    def new_cache(self) -> CacheT:
        """Return the empty memory of a new submap."""
        ...

    def predict(self, frames: Sequence[Frame], cache: CacheT) -> ChunkPrediction:
        """Run the model on a chunk against its submap's memory, which grows by the chunk."""
        ...


@runtime_checkable
class SharingPredictor(Protocol):
    """A predictor whose work may be shared among threads."""

    def share(self, work: SharedWork) -> None:
        """Offer pieces of each run from now on, which changes its result at most by rounding."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Begun(Generic[CacheT]):
    frames: tuple[Frame, ...]
    cache: CacheT
    prediction: Future[ChunkPrediction]

    def is_of(self, frames: Sequence[Frame]) -> bool:
        """Whether it is about exactly these frames."""
        return len(frames) == len(self.frames) and all(map(is_, frames, self.frames))


class PredictorAhead(Generic[CacheT]):
    """A predictor that may work on the next chunk in a thread while the caller does other things.

    The model runs once at a time, always in the same order: what it says does not depend on
    timing. As soon as something was begun it runs in that thread only; a caller who waits for it
    helps with what a SharingPredictor offers. Not thread-safe itself: one thread owns it.
    """

    def __init__(self, predictor: ChunkPredictor[CacheT]) -> None:
        self._predictor = predictor
        self._begun: _Begun[CacheT] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._work = SharedWork()

    def new_cache(self) -> CacheT:
        """Return the empty memory of a new submap."""
        return self._predictor.new_cache()

    def begin(self, frames: Sequence[Frame], cache: CacheT) -> None:
        """Let the model begin with a chunk; nothing else may use ``cache`` until it is predicted.

        What was begun before and not asked for is lost, and its cache spoiled.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "model")
            if isinstance(self._predictor, SharingPredictor):
                self._predictor.share(self._work)
        prediction = self._thread.submit(self._predictor.predict, frames, cache)
        self._begun = _Begun(tuple(frames), cache, prediction)

    def has_begun(self, frames: Sequence[Frame], cache: CacheT) -> bool:
        """Whether the model began with ``frames`` against ``cache``, which then says nothing."""
        begun = self._begun
        return begun is not None and begun.cache is cache and begun.is_of(frames)

    def cache_for(self, frames: Sequence[Frame]) -> CacheT:
        """Return the memory of a submap that begins with ``frames``: empty, or begun with them."""
        begun = self._begun
        return begun.cache if begun is not None and begun.is_of(frames) else self.new_cache()

    def predict(self, frames: Sequence[Frame], cache: CacheT) -> ChunkPrediction:
        """Return what was begun of a chunk; run the model on it where nothing was.

        Raises what the model raised, and ValueError for a cache that another chunk was begun with.
        """
        begun = self._begun
        if begun is not None and begun.cache is cache:
            if not begun.is_of(frames):
                raise ValueError("the model began with another chunk than it is asked for now")
            self._begun = None
            return self._waited_for(begun.prediction)
        if self._thread is None:
            return self._predictor.predict(frames, cache)
        return self._waited_for(self._thread.submit(self._predictor.predict, frames, cache))

    def wait(self, timeout: float | None) -> bool:
        """Let the thread end what was begun; return whether it has nothing to do any more [s]."""
        if self._thread is None:
            return True
        last = self._thread.submit(bool)  # which comes after all that was begun
        return not wait([last], timeout).not_done

    def _waited_for(self, prediction: Future[ChunkPrediction]) -> ChunkPrediction:
        self._work.help_until(prediction)
        return prediction.result()
