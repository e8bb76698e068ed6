"""What a fresh run of the model over two groups of keyframes says of how they lie to each other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.depth_sketch import sketch_depth
from flashvggt_ros.mapping.graph_factors import FREEDOMS
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.submap import View
from flashvggt_ros.mapping.submap_alignment import SubmapAlignment, align_submaps
from flashvggt_ros.mapping.view_agreement import SeenView, correlate, gray_image, reproject

logger = logging.getLogger(__name__)

STEP = 1e-6  # of numeric derivatives
# Between two groups a run errs this many times as much as between keyframes of one group, of which
# the alignments know (flashvggt-mini, 32 true loops of a real walk: 3.3 degrees, not 0.5).
RUN_ERROR = 5.0

CacheT = TypeVar("CacheT")


class FreshPredictor(Protocol[CacheT]):
    """The model, as far as a loop check needs it."""

    def new_cache(self) -> CacheT:
        """Return an empty memory."""
        ...

    def predict(self, frames: Sequence[Frame], cache: CacheT) -> ChunkPrediction:
        """Run the model on frames."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeGroup:
    """Some neighboring keyframes of one submap, at least one, and their poses (n, 4, 4) in it."""

    keyframes: tuple[Keyframe, ...]
    T_submap_camera: NDArray[np.float64]

    def around(self, keyframe: int, count: int) -> KeyframeGroup:
        """Return the ``count`` keyframes around one, by number; fewer where there are fewer."""
        first = max(0, min(keyframe - (count - 1) // 2, len(self.keyframes) - count))
        part = slice(first, first + count)
        return KeyframeGroup(self.keyframes[part], self.T_submap_camera[part])

    def views(self) -> list[View]:
        """Return what the submap says of them, as far as it was kept."""
        return [
            View(
                keyframe.frame(),
                keyframe.sketch.depth.astype(np.float32),
                np.ones(keyframe.sketch.depth.shape, np.float32),
                keyframe.sketch.camera,
                T,
            )
            for keyframe, T in zip(self.keyframes, self.T_submap_camera, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class LoopMeasurement:
    """How the query's submap lies in the match's, and what speaks for it; shares are 0 to 1.

    ``geometry``: of the pixels of the group that agrees less, the share whose points in the fresh
    run agree with its own submap. ``overlap``: of the query's best view, the share of pixels whose
    surface a view of the match shows at the same depth. ``through``: the share of the overlap
    that the match looks through, on average. ``likeness``: median correlation of patches there.
    """

    S_match_query: Sim3
    covariance: NDArray[np.float64]
    geometry: float
    overlap: float
    through: float
    likeness: float


def measure_loop(
    query: KeyframeGroup, match: KeyframeGroup, predictor: FreshPredictor[CacheT]
) -> LoopMeasurement | None:
    """Run the model afresh on both groups and find S_match_query; None where that cannot be had.

    Each group lies in the fresh run where its keyframes do, so that
    S_match_query = S_match_run @ inverse(S_query_run). The images must be of one size.
    """
    groups = (match, query)
    try:
        frames = [keyframe.frame() for group in groups for keyframe in group.keyframes]
    except ValueError as error:  # of a loaded map
        logger.warning("a place is not compared: %s", error)
        return None
    if len({frame.image.shape for frame in frames}) > 1:
        return None
    run = predictor.predict(frames, predictor.new_cache())
    count = len(match.keyframes)
    alignments = []
    for group, part in zip(groups, (slice(0, count), slice(count, None)), strict=True):
        own, fresh = group.views(), _fresh_views(frames, run, part)
        if [view.depth.shape for view in own] != [view.depth.shape for view in fresh]:
            return None
        alignments.append(align_submaps(own, fresh))
    S_match_query, covariance = _joined(*alignments)
    seen = [_seen(run, number) for number in range(len(frames))]
    overlap, through, likeness = _agreement(seen[count:], seen[:count])
    return LoopMeasurement(
        S_match_query=S_match_query,
        covariance=covariance,
        geometry=min(alignment.inliers for alignment in alignments),
        overlap=overlap,
        through=through,
        likeness=likeness,
    )


def _fresh_views(frames: Sequence[Frame], run: ChunkPrediction, part: slice) -> list[View]:
    """What the fresh run says of some of its frames, thinned as keyframes are."""
    views = []
    for number in range(len(frames))[part]:
        sketch = sketch_depth(
            run.depth[number], run.confidence[number], run.cameras[number], min_confidence=0.0
        )
        depth = sketch.depth.astype(np.float32)
        T_run_camera = run.T_submap_camera[number]
        views.append(View(frames[number], depth, np.ones_like(depth), sketch.camera, T_run_camera))
    return views


def _seen(run: ChunkPrediction, number: int) -> SeenView:
    return SeenView(
        gray_image(run.colors[number]),
        run.depth[number],
        run.cameras[number],
        run.T_submap_camera[number],
    )


def _agreement(
    queries: Sequence[SeenView], matches: Sequence[SeenView]
) -> tuple[float, float, float]:
    """Overlap of the best pair of views; through and likeness over each query's best view."""
    overlaps, patches = [], []
    through = 0.0
    for query in queries:
        pairs = [(reproject(query, other), other) for other in matches]
        seen, other = max(pairs, key=lambda pair: int(pair[0].is_covisible.sum()))
        overlaps.append(float(seen.is_covisible.mean()))
        through += float(seen.is_through.mean())
        correlation = correlate(query, other, seen)
        patches.append(correlation[~np.isnan(correlation)])
    total = sum(overlaps) + through
    likeness = np.concatenate(patches)
    return (
        max(overlaps),
        through / total if total else 0.0,
        float(np.median(likeness)) if len(likeness) else 0.0,
    )


def _joined(
    match: SubmapAlignment, query: SubmapAlignment
) -> tuple[Sim3, NDArray[np.float64]]:
    """S_match_query by way of the fresh run, and its covariance by those of both alignments."""
    steps = STEP * np.eye(FREEDOMS)
    joined = match.S_old_new @ query.S_old_new.inverse()
    by_match = [_moved(match.S_old_new, step) @ query.S_old_new.inverse() for step in steps]
    by_query = [match.S_old_new @ _moved(query.S_old_new, step).inverse() for step in steps]
    covariance = np.zeros((FREEDOMS, FREEDOMS))
    for moved, alignment in ((by_match, match), (by_query, query)):
        derivative = np.stack([relative_change(joined, S) for S in moved], axis=1) / STEP
        covariance += RUN_ERROR**2 * derivative @ alignment.covariance @ derivative.T
    return joined, covariance


def _moved(S: Sim3, delta: NDArray[np.float64]) -> Sim3:
    """S changed as covariances count it: turned from the left, shifted, grown."""
    turn = Rotation.from_rotvec(delta[:3]).as_matrix()
    return Sim3(float(S.scale * np.exp(delta[6])), turn @ S.rotation, S.translation + delta[3:6])


def relative_change(S: Sim3, moved: Sim3) -> NDArray[np.float64]:
    """Return delta (7,): by what turn [rad], shift and log scale ``moved`` differs from ``S``.

    The turn is from the left, as in a factor of the pose graph.
    """
    turn = Rotation.from_matrix(moved.rotation @ S.rotation.T).as_rotvec()
    return np.array([*turn, *(moved.translation - S.translation), np.log(moved.scale / S.scale)])
