"""Where the submaps lie in the map: what is measured of them goes into the pose graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.graph_measurements import with_drift
from flashvggt_ros.mapping.gravity import UpDirection
from flashvggt_ros.mapping.localization import InitialPose
from flashvggt_ros.mapping.loop_closure import VerifiedLoop
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.metric_scale import ScaleEstimate
from flashvggt_ros.mapping.overlap_search import Overlap
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.submap_alignment import align_submaps
from flashvggt_ros.mapping.submap_bending import Join, bend_submaps

logger = logging.getLogger(__name__)

STEEP = math.sin(math.radians(75.0))  # views up or down beyond it have no way ahead


class SubmapLayout:
    """Places submaps; the number of a submap is that of its node in the pose graph.

    The first camera begins level at the map's origin, or where the robot says it sits on the base,
    which then begins there. What is measured of gravity turns the map, what is measured of scale
    stretches it; neither moves its origin. Submaps of a loaded map stay where they are.
    """

    def __init__(self, config: Config, loaded: MapSnapshot) -> None:
        self._config = config
        self.graph = loaded.graph.part(loaded.graph.nodes)
        for node in self.graph.nodes:
            self.graph.fix(node, self.graph.pose(node))
        self._joins: dict[int, Join] = {}  # of each submap, by number, to the one before
        self._initial: int | None = None  # factor that says where a chain of submaps began
        self.scale_estimate: ScaleEstimate | None = loaded.scale
        self.up: UpDirection | None = loaded.up
        self.loops = loaded.loops
        self.last_loop_ns = 0  # newest keyframe when the newest loop was closed; 0: none was
        self.loop_factors: set[int] = set()  # ids of those that loop closure found

    def place_first(self, submap: Submap, up: UpDirection | None) -> None:
        """Put the first submap so that its first camera begins where the map begins."""
        T_submap_camera = submap.T_submap_camera[0]
        T_map_camera = submap.states[0].T_base_camera
        if T_map_camera is None:
            up_camera = T_submap_camera[:3, :3].T @ up.up_submap if up else -np.eye(3)[1]
            T_map_camera = se3.pose(_levelled(up_camera), np.zeros(3))
        to_camera = Sim3.from_pose(se3.inverse(T_submap_camera), 1.0)
        self._put(submap, Sim3.from_pose(T_map_camera, submap.S_map_submap.scale) @ to_camera)

    def place_at(self, submap: Submap, initial: InitialPose) -> None:
        """Put a submap that has just begun where someone says that it is."""
        scale = submap.S_map_submap.scale
        S_map_submap = initial.S_map_submap(submap.states[0].T_base_camera, scale)
        self._put(submap, S_map_submap)
        anchor = min(self.graph.fixed)
        S_map_anchor = self.graph.pose(anchor)
        self._initial = self.graph.add_between(
            anchor, submap.index, S_map_anchor.inverse() @ S_map_submap,
            initial.covariance(S_map_anchor), is_robust=False,
        )

    def snap(self, loop: VerifiedLoop, submaps: Sequence[Submap], first: int) -> None:
        """Move the submaps from ``first`` on so that one of them lies where a loop says."""
        S_map_match, S_map_query = (self.graph.pose(n) for n in (loop.match, loop.query))
        S_new_old = S_map_match @ loop.measurement.S_match_query @ S_map_query.inverse()
        for node in self.graph.nodes:
            if node >= first:
                self.graph.move(node, S_new_old @ self.graph.pose(node))
        if self._initial is not None:  # what was said of the place has served
            self.graph.remove(self._initial)
            self._initial = None
        self._take_over(submaps)

    def forget(self, node: int) -> None:
        """Forget a closed submap; what was known by it of others stays known."""
        if self.graph.merge(node) is None:
            self.graph.drop(node)
        self._initial = None

    def merge(self, node: int, kept: Collection[int]) -> int | None:
        """Let another submap, of those ``kept`` if one is joined to it, stand for a closed one.

        Return which. One that is joined to none is replaced by the next in time: nothing was ever
        known of where it lies. None: it must stay, as the only one that holds a loaded map.
        """
        heir = self.graph.merge(node, kept)
        if heir is not None or node in self.graph.fixed:
            return heir
        later = [other for other in kept if other > node]
        if later:
            self.graph.drop(node)
        return min(later, default=None)

    def join(self, submap: Submap, before: Submap, *, is_first: bool) -> None:
        """Put a submap where the keyframes shared with the one before say; ``is_first``: say it.

        ``submap.is_joined`` says whether they agree. If not, poses continue from the last one.
        """
        inliers = 0.0
        if (join := self._joins.pop(submap.index, None)) is not None:
            self.graph.remove(join.factor)
        if submap.shared:
            alignment = align_submaps(submap.before, submap.shared_views())
            inliers = alignment.inliers
        submap.is_joined = submap.shared > 0 and inliers >= self._config.submap.min_inliers
        if submap.is_joined:
            S_map_before = before.S_map_submap @ before.bend.S_middle_last
            self._put(submap, S_map_before @ alignment.S_old_new)
            loop = self._config.loop
            covariance = with_drift(
                alignment.covariance, alignment.S_old_new, before.T_submap_camera,
                loop.rotation_drift, loop.scale_drift,
            )
            factor = self.graph.add_between(
                before.index, submap.index, alignment.S_old_new, covariance, is_robust=False
            )
            self._joins[submap.index] = Join(
                factor, before.index, alignment.S_old_new, alignment.covariance
            )
        else:
            self._put(submap, _continued(submap, before))
        if is_first:
            _say_joined(submap, inliers, self._config.submap.min_inliers)

    def measure(
        self, submap: Submap, scale: ScaleEstimate | None, up: UpDirection | None
    ) -> bool:
        """Take over what is measured of a submap; return whether something became known first."""
        is_news = False
        if scale is not None:
            self.graph.set_scale(submap.index, scale.meters_per_unit, scale.sigma)
            is_news = self.scale_estimate is None
            self.scale_estimate = scale
        if up is not None:
            self.graph.set_up(submap.index, up.up_submap, up.sigma_rad)
            is_news |= self.up is None
            self.up = up
        return is_news

    def add_loops(
        self, loops: Sequence[VerifiedLoop], submaps: Sequence[Submap]
    ) -> list[VerifiedLoop]:
        """Let loops move the submaps; return those that do not contradict all else."""
        added = {
            self.graph.add_between(
                loop.match, loop.query, loop.measurement.S_match_query,
                loop.measurement.covariance, is_robust=True,
            ): loop
            for loop in loops
        }
        rejected = set(self.graph.optimize().rejected) & set(added)
        for factor in rejected:
            self.graph.remove(factor)
            loop = added[factor]
            logger.info("no loop of submaps %d and %d: all else is against it",
                        loop.match, loop.query)
        if rejected:
            self.graph.optimize()
        self.loop_factors |= set(added) - rejected
        believed = [loop for factor, loop in added.items() if factor not in rejected]
        for loop in believed:
            logger.info("loop: submap %d shows what submap %d showed", loop.query, loop.match)
        self.loops += len(believed)
        if believed:
            newest = (stamp for submap in submaps[-2:] for stamp in submap.stamps)
            self.last_loop_ns = max(stamp.stamp_ns for stamp in newest)
        self._take_over(submaps)
        return believed

    def add_overlaps(self, overlaps: Sequence[Overlap], submaps: Sequence[Submap]) -> None:
        """Let submaps that show the same surfaces hold each other, but for what all else denies."""
        added = [
            self.graph.add_between(
                overlap.first, overlap.second, overlap.registration.S_first_second,
                overlap.registration.covariance, is_robust=True,
            )
            for overlap in overlaps
        ]
        rejected = set(self.graph.optimize().rejected) & set(added)
        for factor in rejected:
            self.graph.remove(factor)
        if rejected:
            self.graph.optimize()
        logger.debug("overlaps: %d of %d believed", len(added) - len(rejected), len(added))
        self._take_over(submaps)

    def graph_of(self, submaps: Sequence[Submap]) -> PoseGraph:
        """Return the part of the graph that is about some submaps, with each where it lies now."""
        part = self.graph.part([submap.index for submap in submaps])
        for submap in submaps:  # as they are bent, their middles lie a little elsewhere
            part.move(submap.index, submap.S_map_submap)
        return part

    def settle(self, submaps: Sequence[Submap], is_due: bool) -> None:
        """Make the graph consistent if it ``is_due``: with more submaps it takes longer."""
        if is_due:
            self.graph.optimize()
            self._take_over(submaps)

    def _put(self, submap: Submap, S_map_submap: Sim3) -> None:
        submap.S_map_submap, submap.bend = S_map_submap, Bend.none()
        if submap.index in self.graph.nodes:
            self.graph.move(submap.index, S_map_submap)
        else:
            self.graph.add(S_map_submap, submap.index)

    def _take_over(self, submaps: Sequence[Submap]) -> None:
        factors = self.graph.factors
        self._joins = {n: join for n, join in self._joins.items() if join.factor in factors}
        placed = bend_submaps(self.graph, submaps, self._joins, self._config.loop)
        for submap in submaps:
            if submap.index in placed:  # one that is still empty has no node yet
                place = placed[submap.index]
                submap.S_map_submap, submap.bend = place.S_map_submap, place.bend


def _say_joined(submap: Submap, inliers: float, least: float) -> None:
    if submap.is_joined:
        logger.info(
            "submap %d joined: %.0f %% of shared pixels agree, %.4g m per unit",
            submap.index, 100 * inliers, submap.S_map_submap.scale,
        )
    else:
        logger.warning(
            "submap %d not joined: %.0f %% of the pixels of %d shared keyframes agree, "
            "%.0f %% needed; poses continue from the last one, the map is torn here",
            submap.index, 100 * inliers, submap.shared, 100 * least,
        )


def _levelled(up_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """R_map_camera (3, 3): z up and x along the view (REP-103), or its top, where that is steep."""
    ahead = np.array([0.0, 0.0, 1.0])
    if abs(up_camera @ ahead) > STEEP:
        ahead = np.array([0.0, -1.0, 0.0]) * np.sign(-up_camera @ ahead)
    x = ahead - (ahead @ up_camera) * up_camera
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(up_camera, x), up_camera])


def _continued(submap: Submap, before: Submap) -> Sim3:
    """Where a submap lies if it goes on at the last known pose, in the same scale."""
    T_submap_camera = submap.T_submap_camera[max(0, submap.shared - 1)]
    T_camera_submap = Sim3.from_pose(se3.inverse(T_submap_camera), 1.0)
    return Sim3.from_pose(before.T_map_camera[-1], before.S_map_submap.scale) @ T_camera_submap
