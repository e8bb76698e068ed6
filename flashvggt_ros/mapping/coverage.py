"""Which submaps show nothing that newer ones do not show: memory follows the area, never time."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flashvggt_ros.mapping.graph_measurements import place_sigma
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.submap_layout import SubmapLayout
from flashvggt_ros.mapping.trails import Trails

logger = logging.getLogger(__name__)

NEARBY = 0.25  # of the depth seen: views from so close show the same
SAME_DIRECTION = float(np.cos(np.radians(30.0)))
CERTAIN = 2.0  # standard deviations of the place of a submap that must be less than what is close
COVERED_SHARE = 0.9  # of a submap's keyframes


def merge_covered(closed: Sequence[Submap], layout: SubmapLayout, trails: Trails) -> list[Submap]:
    """Merge closed submaps where newer ones show the same; return those that are no more.

    The last one is the one that was closed last. Of a submap that cannot be merged its poses stay.
    """
    for submap in _covered_by_newest(closed, layout.graph):
        submap.condense()
        logger.debug("submap %d: newer ones show the same", submap.index)
    kept = {submap.index for submap in closed if not submap.is_condensed}
    numbered = {submap.index: submap for submap in closed}
    merged = []
    for submap in closed:
        carrier = layout.merge(submap.index, kept) if submap.is_condensed else None
        if carrier is not None:
            trails.merge(submap, numbered[carrier])
            merged.append(submap)
    return merged


def _covered_by_newest(closed: Sequence[Submap], graph: PoseGraph) -> list[Submap]:
    """Return the submaps, of those closed so far, that the newest one and others cover.

    Only those near the newest are looked at: of others nothing has changed. Submaps of which it is
    not certain where they lie to each other do not cover each other, whatever they seem to show.
    """
    if not closed:
        return []
    *older, newest = closed
    places = newest.T_map_camera[newest.shared :, :3, 3]
    low, high = places.min(axis=0), places.max(axis=0)
    covered: list[Submap] = []
    staying = [newest]
    for submap in reversed([submap for submap in older if submap.keyframes]):
        centers = submap.T_map_camera[submap.shared :, :3, 3]
        outside = np.maximum(np.maximum(low - centers, centers - high), 0)
        reach = NEARBY * _depths(submap)
        is_near = np.linalg.norm(outside, axis=1) <= submap.S_map_submap.scale * reach
        newer = [
            other for other in staying
            if is_near.any() and _is_certain(submap, other, float(np.median(reach)), graph)
        ]
        (covered if _is_covered(submap, newer, reach) else staying).append(submap)
    return covered


def _is_certain(older: Submap, newer: Submap, close: float, graph: PoseGraph) -> bool:
    """Whether it is known to within ``close`` [older submap's units] where the newer one lies."""
    relative = graph.relative(older.index, newer.index)
    if relative is None:
        return False
    middle = newer.T_submap_camera[newer.shared :, :3, 3].mean(axis=0)
    arm = relative.S_first_second.transform_points(middle) - relative.S_first_second.translation
    return CERTAIN * place_sigma(relative.covariance, arm) <= close


def _is_covered(
    older: Submap, newer: Sequence[Submap], reach: NDArray[np.float64]
) -> bool:
    """Whether nearly every keyframe of a submap has a newer one close by that looks the same way.

    Close is within ``reach`` (K,) [its units] of each, the same way is within 30 degrees.
    """
    if not newer:
        return False
    poses = np.concatenate([submap.T_map_camera[submap.shared :] for submap in newer])
    centers, views = _centers_and_views(poses)
    old_centers, old_views = _centers_and_views(older.T_map_camera[older.shared :])
    reach_map = older.S_map_submap.scale * reach
    candidates = cKDTree(centers).query_ball_point(old_centers, reach_map)
    covered = [
        bool((views[near] @ view > SAME_DIRECTION).any())
        for near, view in zip(candidates, old_views, strict=True)
    ]
    return float(np.mean(covered)) >= COVERED_SHARE


def _centers_and_views(
    T_map_camera: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return T_map_camera[:, :3, 3], T_map_camera[:, :3, 2]


def _depths(submap: Submap) -> NDArray[np.float64]:
    """Median depth of each keyframe [submap units]; 0 where nothing is known."""
    return np.array([keyframe.sketch.median for keyframe in submap.keyframes])
