"""Where the seconds of an offline run go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flashvggt_ros.chunk_predictor import CacheT, ChunkPredictor, PredictorAhead
from flashvggt_ros.config import KeyframeConfig
from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.mapping.keyframe_gate import KeyframeGate

STAGES = ("read", "gate", "model", "map", "write")


class Stopwatch:
    """Seconds per stage. Stages nest: an inner stage's time is not counted to the outer one."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = [0.0]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside the ``with`` block to ``name``."""
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[name] += elapsed - self._inner.pop()
            self._inner[-1] += elapsed


class TimedPredictor(PredictorAhead[CacheT]):
    """A predictor that books the time for which it is waited for to the stage ``model``."""

    def __init__(self, predictor: ChunkPredictor[CacheT], watch: Stopwatch) -> None:
        super().__init__(predictor)
        self._watch = watch

    def predict(self, frames: Sequence[Frame], cache: CacheT) -> ChunkPrediction:
        """Run the model on a chunk, or wait until it ran."""
        with self._watch.stage("model"):
            return super().predict(frames, cache)


class TimedGate(KeyframeGate):
    """A keyframe gate that books its time to the stage ``gate``."""

    def __init__(self, config: KeyframeConfig, watch: Stopwatch) -> None:
        super().__init__(config)
        self._watch = watch

    def accepts(self, frame: Frame) -> bool:
        """Say whether the frame becomes a keyframe."""
        with self._watch.stage("gate"):
            return super().accepts(frame)
