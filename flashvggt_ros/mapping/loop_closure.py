"""Finds submaps that show the same place, and believes it only when everything speaks for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from flashvggt_ros.config import LoopConfig
from flashvggt_ros.mapping.graph_factors import FREEDOMS
from flashvggt_ros.mapping.graph_measurements import Between, covariance_at, seen_from
from flashvggt_ros.mapping.loop_measurement import (
    CacheT,
    FreshPredictor,
    KeyframeGroup,
    LoopMeasurement,
    measure_loop,
    relative_change,
)
from flashvggt_ros.mapping.place_recognition import Candidate, PlaceIndex
from flashvggt_ros.mapping.pose_graph import PoseGraph, RelativePose

logger = logging.getLogger(__name__)

NEAR = 3  # submaps back to which a chain of joins is as sure as a loop
GROUP = 2  # keyframes that a place is checked with; more make loops no better, and runs longer
GATE = 0.999  # share of true loops that lie within what the pose graph expects
LOOKALIKES = 30  # times as many images are looked up as are checked, to leave out impossible ones
VIEW_FREEDOMS = 6  # of where an image is taken
VIEW_SIGMA = 0.2  # angle between two images that look alike, standard deviation [rad]
PLACE_SIGMA = 0.35  # distance between where they are taken, standard deviation [median depths]
FAR_PENALTY = 0.02  # of similarity, for each unit of that squared distance
LEAST_SIGMA = 1e-6  # of a place, in units of the submap; a covariance must not be singular
MOST_THROUGH = 0.15  # share of what both should see that one looks through


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedLoop:
    """A candidate that passed the check of the model: its submap is the match."""

    candidate: Candidate
    query: int
    measurement: LoopMeasurement

    @property
    def match(self) -> int:
        """The earlier submap."""
        return self.candidate.submap


class LoopCloser(Generic[CacheT]):
    """Remembers the keyframes of all closed submaps and looks for places that were seen before."""

    def __init__(self, config: LoopConfig, predictor: FreshPredictor[CacheT]) -> None:
        self._config = config
        self._predictor = predictor
        self._index = PlaceIndex()
        self._submaps: dict[int, KeyframeGroup] = {}

    def add(self, submap: int, group: KeyframeGroup) -> None:
        """Remember a closed submap: its keyframes and their final poses in it."""
        self._submaps[submap] = group
        for number, keyframe in enumerate(group.keyframes):
            self._index.add(submap, number, keyframe.signature)

    def remove(self, submap: int) -> None:
        """Forget a submap, if it is known."""
        if self._submaps.pop(submap, None) is not None:
            self._index.remove(submap)

    def keep(self, submaps: Collection[int]) -> None:
        """Forget all submaps but these."""
        for submap in self._submaps.keys() - submaps:
            self.remove(submap)

    def find(self, submap: int, graph: PoseGraph) -> tuple[VerifiedLoop, ...]:
        """Return the loops between a submap that was added and earlier ones, the surest first.

        The graph's nodes are the submaps, by number; it is only read. Of submaps that are not just
        before, the best candidates that may lie near are checked; a loop must lie where the graph
        expects it, within what it is sure of. Where it expects nothing, because nothing joins the
        two, two loops must agree. Nodes that are fixed, a loaded map's, are never just before.
        """
        if not self._config.enabled:
            return ()
        near = {other for other in self._submaps if other >= submap - NEAR} - graph.fixed
        group = self._submaps[submap]
        candidates = self._candidates(group, near, LOOKALIKES * self._config.candidates)
        possible = self._possible(candidates, submap, graph)
        drift = _typical_drift(graph) or (self._config.rotation_drift, self._config.scale_drift)
        found = self._verified(submap, group, possible[: self._config.candidates], drift)
        loops = [loop for loop in found if self._is_believed(loop, found, graph)]
        return tuple(sorted(loops, key=lambda loop: -loop.measurement.likeness))

    def _candidates(
        self, group: KeyframeGroup, exclude: set[int], most: int
    ) -> tuple[Candidate, ...]:
        if not group.keyframes:
            return ()
        signatures = np.stack([keyframe.signature for keyframe in group.keyframes])
        return self._index.candidates(signatures, exclude, most, self._config.min_similarity)

    def _possible(
        self, candidates: Sequence[Candidate], submap: int, graph: PoseGraph
    ) -> list[Candidate]:
        """Return those that may lie near the submap, as far as the graph knows, best first."""
        submaps = {candidate.submap for candidate in candidates}
        expected = {other: graph.relative(other, submap) for other in submaps}
        query, limit = self._submaps[submap], chi2.ppf(GATE, VIEW_FREEDOMS)
        ranked = []
        for number, candidate in enumerate(candidates):
            match = self._submaps[candidate.submap]
            distance = _view_distance(candidate, query, match, expected[candidate.submap])
            if distance <= limit:
                ranked.append((FAR_PENALTY * distance - candidate.similarity, number))
        return [candidates[number] for _, number in sorted(ranked)]

    def _verified(
        self, query: int, group: KeyframeGroup, candidates: Sequence[Candidate],
        drift: tuple[float, float],
    ) -> list[VerifiedLoop]:
        """Check candidates; ``drift``: rotation [rad] and log scale that submaps bend by."""
        loops = []
        for candidate in candidates:
            match = self._submaps[candidate.submap].around(candidate.keyframe, GROUP)
            part = group.around(candidate.query_keyframe, GROUP)
            measured = verify_loop(part, match, self._predictor, self._config)
            if measured is not None:
                measured = _with_bends(measured, part, *drift)
                loops.append(VerifiedLoop(candidate, query, measured))
        return loops

    def _is_believed(
        self, loop: VerifiedLoop, found: Sequence[VerifiedLoop], graph: PoseGraph
    ) -> bool:
        distance = expected_distance(loop, graph)
        if distance is None:
            return _has_second(loop, found)
        is_expected = distance <= chi2.ppf(GATE, FREEDOMS)
        if not is_expected:
            logger.info(
                "submap %d looks like submap %d, but that is %.1f standard deviations from where "
                "it should be: no loop",
                loop.query, loop.match, math.sqrt(distance),
            )
        return is_expected


def verify_loop(
    query: KeyframeGroup, match: KeyframeGroup, predictor: FreshPredictor[CacheT],
    config: LoopConfig,
) -> LoopMeasurement | None:
    """Run the model afresh on both groups; None unless geometry, overlap and images all agree."""
    measured = measure_loop(query, match, predictor)
    if measured is None:
        return None
    is_good = (
        measured.geometry >= config.min_geometry
        and measured.overlap >= config.min_overlap
        and measured.through <= MOST_THROUGH
        and measured.likeness >= config.min_likeness
    )
    logger.debug(
        "loop check %s: geometry %.2f, overlap %.2f, through %.2f, likeness %.2f",
        "passed" if is_good else "failed",
        measured.geometry, measured.overlap, measured.through, measured.likeness,
    )
    return measured if is_good else None


def _with_bends(
    measured: LoopMeasurement, query: KeyframeGroup, rotation_drift: float, scale_drift: float
) -> LoopMeasurement:
    """Count too what the two submaps may have bent between their origins and the place they share.

    That is half a submap's drift in either; it turns and grows them about this place.
    """
    here = query.T_submap_camera[:, :3, 3].mean(axis=0)
    drift = np.repeat([rotation_drift, LEAST_SIGMA, scale_drift], (3, 3, 1))
    bends = covariance_at(measured.S_match_query, here, drift)
    return replace(measured, covariance=measured.covariance + bends)


def _typical_drift(graph: PoseGraph) -> tuple[float, float] | None:
    """Rotation [rad] and log scale that one submap drifts by, as the joins of the graph say."""
    joins = [
        factor.covariance
        for factor in graph.factors.values()
        if isinstance(factor, Between) and not factor.is_robust
    ]
    if not joins:
        return None
    rotation, growth = (
        np.sqrt(np.median([variance(covariance) for covariance in joins]))
        for variance in (lambda c: np.trace(c[:3, :3]) / 3, lambda c: c[6, 6])
    )
    return float(rotation), float(growth)


def _view_distance(
    candidate: Candidate, query: KeyframeGroup, match: KeyframeGroup, expected: RelativePose | None
) -> float:
    """Squared distance, in standard deviations, of the poses of two images that look alike.

    Such images are taken within about PLACE_SIGMA and VIEW_SIGMA of each other; the rest is what
    the graph is unsure of. 0 where it knows nothing.
    """
    if expected is None:
        return 0.0
    T_match = match.T_submap_camera[candidate.keyframe]
    S_match_query = expected.S_first_second
    T_query = S_match_query.transform_pose(query.T_submap_camera[candidate.query_keyframe])
    arm = T_query[:3, 3] - S_match_query.translation
    near = PLACE_SIGMA * match.keyframes[candidate.keyframe].sketch.median
    moves = seen_from(arm)[:VIEW_FREEDOMS]
    covariance = moves @ expected.covariance @ moves.T
    covariance += np.diag(np.repeat([VIEW_SIGMA, max(near, 1e-6)], 3) ** 2)
    turn = Rotation.from_matrix(T_query[:3, :3] @ T_match[:3, :3].T).as_rotvec()
    offset = np.concatenate([turn, T_query[:3, 3] - T_match[:3, 3]])
    return float(offset @ np.linalg.solve(covariance, offset))


def expected_distance(loop: VerifiedLoop, graph: PoseGraph) -> float | None:
    """Squared distance, in standard deviations, of a loop from what the graph says without it.

    None where the graph says nothing.
    """
    expected = graph.relative(loop.match, loop.query)
    if expected is None:
        return None
    covariance = expected.covariance + loop.measurement.covariance
    change = relative_change(expected.S_first_second, loop.measurement.S_match_query)
    return float(change @ np.linalg.solve(covariance, change))


def _has_second(loop: VerifiedLoop, found: Sequence[VerifiedLoop]) -> bool:
    """Whether another loop between the same submaps, by another place, says the same."""
    for other in found:
        if other is loop or other.match != loop.match:
            continue
        covariance = loop.measurement.covariance + other.measurement.covariance
        change = relative_change(loop.measurement.S_match_query, other.measurement.S_match_query)
        if change @ np.linalg.solve(covariance, change) <= chi2.ppf(GATE, FREEDOMS):
            return True
    return False
