"""Where the submaps lie in the map: what is measured of them goes into the pose graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.gravity import UpDirection
from flashvggt_ros.mapping.metric_scale import ScaleEstimate
from flashvggt_ros.mapping.pose_graph import PoseGraph, RelativePose
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.submap_alignment import align_submaps

logger = logging.getLogger(__name__)

STEEP = math.sin(math.radians(75.0))  # views up or down beyond it have no way ahead
# Standard deviations of how a submap bends from its first keyframe to its last: rotation [rad],
# translation [share of its way] and logarithm of the scale. Its join says nothing of that.
BEND_ROTATION, BEND_TRANSLATION, BEND_SCALE = 0.015, 0.02, 0.02
SMALL = 64  # submaps; graphs up to this size are made consistent with every chunk


class SubmapLayout:
    """Places submaps; the number of a submap is that of its node in the pose graph.

    The first camera begins level at the map's origin, or where the robot says it sits on the base,
    which then begins there. What is measured of gravity turns the map, what is measured of scale
    stretches it; neither moves its origin.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._graph = PoseGraph()
        self._join: int | None = None  # factor that joins the live submap to the one before
        self.scale_estimate: ScaleEstimate | None = None
        self.up: UpDirection | None = None
        self.loops = 0

    def place_first(self, submap: Submap, up: UpDirection | None) -> None:
        """Put the first submap so that its first camera begins where the map begins."""
        T_submap_camera = submap.T_submap_camera[0]
        T_map_camera = submap.states[0].T_base_camera
        if T_map_camera is None:
            up_camera = T_submap_camera[:3, :3].T @ up.up_submap if up else -np.eye(3)[1]
            T_map_camera = se3.pose(_levelled(up_camera), np.zeros(3))
        to_camera = Sim3.from_pose(se3.inverse(T_submap_camera), 1.0)
        self._put(submap, Sim3.from_pose(T_map_camera, submap.S_map_submap.scale) @ to_camera)

    def join(self, submap: Submap, before: Submap) -> float:
        """Put a submap where the keyframes shared with the one before say; return their agreement.

        ``submap.is_joined`` says whether it sufficed. If not, poses continue from the last one.
        """
        inliers = 0.0
        if self._join is not None:
            self._graph.remove(self._join)
            self._join = None
        if submap.shared:
            alignment = align_submaps(submap.before, submap.shared_views())
            inliers = alignment.inliers
        submap.is_joined = submap.shared > 0 and inliers >= self._config.submap.min_inliers
        if submap.is_joined:
            self._put(submap, before.S_map_submap @ alignment.S_old_new)
            self._join = self._graph.add_between(
                before.index, submap.index, alignment.S_old_new,
                alignment.covariance + _bend(before), is_robust=False,
            )
        else:
            self._put(submap, _continued(submap, before))
        return inliers

    def close(self) -> None:
        """Keep the live submap's join for good: the next one has its own."""
        self._join = None

    def measure(
        self, submap: Submap, scale: ScaleEstimate | None, up: UpDirection | None
    ) -> bool:
        """Take over what is measured of a submap; return whether something became known first."""
        is_news = False
        if scale is not None:
            self._graph.set_scale(submap.index, scale.meters_per_unit, scale.sigma)
            is_news = self.scale_estimate is None
            self.scale_estimate = scale
        if up is not None:
            self._graph.set_up(submap.index, up.up_submap, up.sigma_rad)
            is_news |= self.up is None
            self.up = up
        return is_news

    def add_loop(
        self, first: int, second: int, S_first_second: Sim3, covariance: NDArray[np.float64],
        submaps: Sequence[Submap],
    ) -> bool:
        """Take a loop, unless it contradicts all else; the submaps then move. Return which."""
        loop = self._graph.add_between(first, second, S_first_second, covariance, is_robust=True)
        result = self._graph.optimize()
        if loop in result.rejected:
            self._graph.remove(loop)
            self._graph.optimize()
        else:
            self.loops += 1
        self._take_over(submaps)
        return loop not in result.rejected

    def relative(self, first: int, second: int) -> RelativePose | None:
        """Return S_first_second with its covariance; None where nothing joins the two."""
        return self._graph.relative(first, second)

    def settle(self, submaps: Sequence[Submap], is_due: bool) -> None:
        """Make the graph consistent; a large one only when it ``is_due``."""
        if is_due or len(submaps) <= SMALL:
            self._graph.optimize()
            self._take_over(submaps)

    def _put(self, submap: Submap, S_map_submap: Sim3) -> None:
        submap.S_map_submap = S_map_submap
        if submap.index == len(self._graph.poses):
            self._graph.add(S_map_submap)
        else:
            self._graph.move(submap.index, S_map_submap)

    def _take_over(self, submaps: Sequence[Submap]) -> None:
        # a submap that is still empty has no node yet
        for submap, S_map_submap in zip(submaps, self._graph.poses, strict=False):
            submap.S_map_submap = S_map_submap


def _levelled(up_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """R_map_camera (3, 3): z up and x along the view (REP-103), or its top, where that is steep."""
    ahead = np.array([0.0, 0.0, 1.0])
    if abs(up_camera @ ahead) > STEEP:
        ahead = np.array([0.0, -1.0, 0.0]) * np.sign(-up_camera @ ahead)
    x = ahead - (ahead @ up_camera) * up_camera
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(up_camera, x), up_camera])


def _bend(submap: Submap) -> NDArray[np.float64]:
    """Covariance (7, 7) of where a submap's end lies from its beginning, as it may have bent."""
    centers = submap.T_submap_camera[:, :3, 3]
    way = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    sigmas = [BEND_ROTATION] * 3 + [max(BEND_TRANSLATION * way, 1e-6)] * 3 + [BEND_SCALE]
    return np.diag(np.square(sigmas))


def _continued(submap: Submap, before: Submap) -> Sim3:
    """Where a submap lies if it goes on at the last known pose, in the same scale."""
    T_submap_camera = submap.T_submap_camera[max(0, submap.shared - 1)]
    T_camera_submap = Sim3.from_pose(se3.inverse(T_submap_camera), 1.0)
    return Sim3.from_pose(before.T_map_camera[-1], before.S_map_submap.scale) @ T_camera_submap
