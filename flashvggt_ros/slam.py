"""The algorithm on one page: images in, poses and map out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from flashvggt_ros.config import Config
from flashvggt_ros.frame import Chunk, ChunkPrediction, Frame, MapUpdate
from flashvggt_ros.mapping.chunker import Chunker
from flashvggt_ros.mapping.keyframe_gate import KeyframeGate
from flashvggt_ros.mapping.map import Map

logger = logging.getLogger(__name__)


class Cache(Protocol):
    """A descriptor cache: the memory of one submap."""

    @property
    def frames(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


CacheT = TypeVar("CacheT", bound=Cache)


class ChunkPredictor(Protocol[CacheT]):
    """What slam needs of a model."""

    def new_cache(self) -> CacheT:
        """Return the empty memory of a new submap."""
        ...

    def predict(self, frames: Sequence[Frame], cache: CacheT) -> ChunkPrediction:
        """Run the model on a chunk against its submap's memory, which grows by the chunk."""
        ...


class Slam(Generic[CacheT]):
    """Builds a map from frames. Not thread-safe: one thread owns it."""

    def __init__(self, config: Config, predictor: ChunkPredictor[CacheT]) -> None:
        self.config = config
        self.predictor = predictor
        self.reset()

    def reset(self) -> None:
        """Forget everything that was seen."""
        self.keyframe_gate = KeyframeGate(self.config.keyframe)
        self.chunker = Chunker(self.config.chunk)
        self.map = Map(self.config)
        self.cache = self.predictor.new_cache()

    def add_frame(self, frame: Frame) -> MapUpdate | None:
        """Take one image; return an update when it completes a chunk."""
        if not self.keyframe_gate.accepts(frame):
            return None
        chunk = self.chunker.push(frame)
        return self._map(chunk) if chunk else None

    def flush(self) -> MapUpdate | None:
        """Map the keyframes that still wait for their chunk to fill, if there are any."""
        chunk = self.chunker.flush()
        return self._map(chunk) if chunk else None

    def _map(self, chunk: Chunk) -> MapUpdate:
        if self.map.live.frames + len(chunk.frames) > self.config.submap.max_frames:
            chunk = self._open_submap(chunk)
        prediction = self.predictor.predict(chunk.frames, self.cache)
        return self.map.integrate(chunk, prediction)

    def _open_submap(self, chunk: Chunk) -> Chunk:
        """Continue in a fresh submap that begins with the last frames of the one before."""
        self.cache = self.predictor.new_cache()
        shared = self.map.open_submap()
        logger.info("submap %d begins with %d shared frames", self.map.live.index, len(shared))
        return Chunk(shared + chunk.frames)
