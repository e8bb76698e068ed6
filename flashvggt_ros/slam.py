"""The algorithm on one page: images in, poses and map out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.chunk_predictor import CacheT, ChunkPredictor, PredictorAhead
from flashvggt_ros.config import Config
from flashvggt_ros.frame import Chunk, Frame, FrameStamp, MapUpdate
from flashvggt_ros.mapping.bundle_adjustment import BundleAdjustment
from flashvggt_ros.mapping.chunker import Chunker
from flashvggt_ros.mapping.keyframe_gate import KeyframeGate
from flashvggt_ros.mapping.localization import (
    InitialPose,
    corrected,
    newest_group,
    warn_of_other_sizes,
)
from flashvggt_ros.mapping.loop_closure import LoopCloser
from flashvggt_ros.mapping.loop_measurement import KeyframeGroup
from flashvggt_ros.mapping.map import Map
from flashvggt_ros.mapping.map_archive import load_map
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.rig_adjustment import RigAdjustment
from flashvggt_ros.mapping.shared_view import shared_view
from flashvggt_ros.mapping.standstill import Standstill
from flashvggt_ros.robot import UNKNOWN_ROBOT, Robot, RobotState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """A chunk of keyframes that is complete, and what was known of the robot at each by then."""

    chunk: Chunk
    states: tuple[RobotState, ...]


class Slam(Generic[CacheT]):
    """Builds a map from frames. Not thread-safe: one thread owns it.

    Every frame added counts once, in ``gated`` (it showed nothing new) or in ``keyframes``.
    """

    def __init__(
        self, config: Config, predictor: ChunkPredictor[CacheT], robot: Robot = UNKNOWN_ROBOT
    ) -> None:
        self.config = config
        self.predictor = (
            predictor if isinstance(predictor, PredictorAhead) else PredictorAhead(predictor)
        )
        self.robot = robot
        self._loaded = MapSnapshot.empty()
        self.reset()

    def load_map(self, folder: Path, model: MapModel) -> None:
        """Begin anew in a map that was saved with the same ``model``; reset() comes back to it.

        With ``mode`` localization it is not extended. Raises ValueError and OSError as load_map of
        map_archive does; nothing has changed then.
        """
        self._loaded = load_map(folder, model)
        self.reset()

    def set_initial_pose(
        self, T_map_base: NDArray[np.float64], sigmas: NDArray[np.float64]
    ) -> None:
        """Say where the robot is in the loaded map; see InitialPose. What it sees must confirm it.

        Raises ValueError where no map is loaded, and for what is no pose.
        """
        self.check_map_is_loaded()
        initial = InitialPose(T_map_base, sigmas)
        if self.map.live.frames:
            self._open_submap(Chunk(()))
        self.map.begin_at(initial)

    def check_map_is_loaded(self) -> None:
        """Raise ValueError where none is: an initial pose means nothing then."""
        if not self._loaded.submaps:
            raise ValueError("an initial pose means nothing where no map is loaded")

    def reset(self) -> None:
        """Forget everything that was seen, but for a loaded map."""
        self.keyframe_gate = KeyframeGate(self.config.keyframe)
        self.standstill = Standstill()
        self.chunker = Chunker(self.config.chunk)
        self.map = Map(self.config, self._loaded)
        self.loop_closer = LoopCloser(self.config.loop, self.predictor)
        for submap in self._loaded.submaps:
            self.loop_closer.add(submap.index, newest_group(submap, submap.frames))
        self.cache = self.predictor.new_cache()
        self.bundle_adjustment = BundleAdjustment(
            self.config.bundle_adjustment, use_camera_info=self.config.predictor.use_camera_info
        )
        self.rig = RigAdjustment(self.config.rig)
        self.gated = 0
        self.keyframes = 0
        self._begins_submap = False

    @property
    def waiting(self) -> tuple[FrameStamp, ...]:
        """The keyframes that wait for their chunk to fill, oldest first."""
        return self.chunker.waiting

    def add_frame(self, frame: Frame) -> MapUpdate | None:
        """Take one image; return an update when it completes a chunk, or ends its wait."""
        collected = self.collect(frame)
        return self.map_chunk(collected) if collected else None

    def flush(self) -> MapUpdate | None:
        """Map the keyframes that still wait for their chunk to fill, if there are any."""
        collected = self.collect_rest()
        return self.map_chunk(collected) if collected else None

    def collect(self, frame: Frame) -> Collected | None:
        """Take one image as add_frame does, but leave the chunk that it completes to map_chunk."""
        if self.keyframe_gate.accepts(frame):
            self.keyframes += 1
            self.standstill.begin(frame)
            chunk = self.chunker.push(frame)
        else:
            self.gated += 1
            if self.keyframe_gate.has_stood:
                self.standstill.go_on(frame)
            chunk = self.chunker.expire(frame.stamp_ns)
        return self._collected(chunk) if chunk else None

    def collect_rest(self) -> Collected | None:
        """Return the keyframes that still wait for their chunk to fill, if there are any."""
        chunk = self.chunker.flush()
        return self._collected(chunk) if chunk else None

    def finish(self) -> None:
        """Close the submap that grows, as at the end of a recording, and look for its loops.

        A chunk that comes all the same begins a submap that is joined to it. Only between chunks:
        raises ValueError while keyframes wait.
        """
        if self.waiting:
            raise ValueError(f"{len(self.waiting)} keyframes wait for their chunk: flush() first")
        if self.map.live.frames:
            self._open_submap(Chunk(()))
            self._begins_submap = True

    def rest(self) -> bool:
        """Finish a submap with a chunk of its own, as nothing new is seen for a while.

        Returns whether there was one. Raises what finish() raises.
        """
        live = self.map.live
        is_worth_it = live.frames - live.shared >= self.config.chunk.size
        if not (is_worth_it and self.map.is_extended):
            return False
        self.finish()
        return True

    def map_frames(self, frames: Sequence[Frame]) -> MapUpdate:
        """Map keyframes whose chunk failed before, without asking gate and chunker again."""
        return self.map_chunk(self._collected(Chunk(tuple(frames))))

    def close_submap(self) -> None:
        """Free the cache; the next chunk begins a fresh submap."""
        self.cache = self.predictor.new_cache()
        self._begins_submap = True

    @property
    def can_halve_chunks(self) -> bool:
        """Whether a chunk may still become smaller."""
        return self._half_chunk() < self.config.chunk.size

    def halve_chunks(self) -> None:
        """Make chunks half as large until reset() is called with another config (memory is short).

        Only between chunks: raises ValueError while keyframes wait.
        """
        if self.waiting:
            raise ValueError(f"{len(self.waiting)} keyframes wait for their chunk: flush() first")
        chunk = replace(self.config.chunk, size=self._half_chunk())
        self.config = replace(self.config, chunk=chunk)
        self.chunker = Chunker(chunk)

    def _half_chunk(self) -> int:
        return max(2, self.config.chunk.overlap + 1, self.config.chunk.size // 2)

    def _collected(self, chunk: Chunk) -> Collected:
        return Collected(chunk, self._states(chunk.frames))

    def _states(self, frames: Sequence[Frame]) -> tuple[RobotState, ...]:
        return tuple(RobotState.of(self.robot, f.camera, f.stamp_ns) for f in frames)

    def map_chunk(self, collected: Collected, upcoming: Collected | None = None) -> MapUpdate:
        """Map a chunk. The model begins meanwhile, in a thread, with the one to be mapped next.

        That changes nothing but the time it takes. Where a chunk fails, close_submap() makes the
        one after it begin anew.
        """
        chunk, states = collected.chunk, collected.states
        if ending := self._why_submap_ends(chunk):
            logger.debug("submap %d ends: %s", self.map.live.index, ending)
            chunk = self._open_submap(chunk)
            shared = chunk.frames[: -len(states)]
            states = self._states(shared) + states
            self._begins_submap = False
        prediction = self.predictor.predict(chunk.frames, self.cache)
        if upcoming is not None:
            self._predict_ahead(chunk, upcoming.chunk)
        prediction = self.bundle_adjustment.refine(chunk, prediction)
        stamps = tuple(FrameStamp(frame.stamp_ns, frame.camera) for frame in chunk.frames)
        live = self.map.live
        rig = self.rig.fit(live.stamps + stamps, live.states + states, prediction)
        update = self.map.integrate(chunk, rig.prediction, states, rig.scale)
        return update if self.map.is_localized else self._localized(update)

    def _predict_ahead(self, chunk: Chunk, upcoming: Chunk) -> None:
        """Let the model begin with the next chunk, if it is certain how its submap will begin."""
        if self.config.submap.min_shared_view:
            return  # only the map of this chunk will say
        overlap = self.config.chunk.overlap
        known, new = self.map.live.frames + len(chunk.frames), len(upcoming.frames)
        if not self._why_submap_is_full(known, new):
            self.predictor.begin(upcoming.frames, self.cache)
        elif len(chunk.frames) >= overlap:
            frames = chunk.frames[-overlap:] + upcoming.frames
            self.predictor.begin(frames, self.predictor.new_cache())

    def _why_submap_ends(self, chunk: Chunk) -> str:
        """Say why a chunk is to begin a fresh submap; empty if it is not."""
        live, config = self.map.live, self.config
        if self._begins_submap:
            return "its cache was given up"
        if self.predictor.has_begun(chunk.frames, self.cache):
            return ""  # that it has room was found before the model began
        if ending := self._why_submap_is_full(live.frames, len(chunk.frames)):
            return ending
        least = config.submap.min_shared_view
        if least and shared_view(live, config.chunk.overlap) < least:
            return "it no longer shows what it began with"
        return ""

    def _why_submap_is_full(self, known: int, new: int) -> str:
        """Say why a submap of so many frames has no room for new ones; empty if it has."""
        config = self.config
        if known + new > config.submap.max_frames:
            return "it has as many frames as submap.max_frames allows"
        if known and not (config.predictor.evict or self.cache.fits(new)):
            return "its cache is as large as predictor.max_cache_mb allows"
        return ""

    def _localized(self, update: MapUpdate) -> MapUpdate:
        """Look for the newest keyframes in the loaded map; return the update as it is then."""
        live = self.map.live
        S_map_submap, newest = live.S_map_submap, newest_group(live, len(update.new))
        if live.frames == len(update.new):  # once, when the submap begins
            warn_of_other_sizes(newest, self._loaded.submaps)
        self._close_loops(live.index, newest)
        self.loop_closer.remove(live.index)
        return corrected(update, live, live.S_map_submap @ S_map_submap.inverse())

    def _open_submap(self, chunk: Chunk) -> Chunk:
        """Continue in a fresh submap that begins with the last frames of the one before."""
        closed, shared = self.map.live, self.map.open_submap()
        chunk = Chunk(shared + chunk.frames)
        self.cache = self.predictor.cache_for(chunk.frames)
        if closed.keyframes:
            self._close_loops(closed.index, newest_group(closed, closed.frames))
            if self.config.loop.enabled:
                self.map.tie_overlaps()
        logger.info("submap %d begins with %d shared frames", self.map.live.index, len(shared))
        return chunk

    def _close_loops(self, submap: int, group: KeyframeGroup) -> None:
        """Look for places that a submap shows again, and let what is found move the map."""
        self.loop_closer.keep({other.index for other in self.map.submaps if other.keyframes})
        self.loop_closer.add(submap, group)
        try:
            loops = self.loop_closer.find(submap, self.map.layout.graph)
        except RuntimeError as error:  # the model failed; the map is as good as before
            logger.warning("submap %d was not checked for loops: %s", submap, error)
            return
        self.map.close_loops(loops)
        if not self.map.is_extended:
            self.loop_closer.remove(submap)
