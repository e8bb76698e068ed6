"""Which submaps keyframes belong to, and which submaps show the same place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.graph_measurements import Between
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap

MERGED = -1  # in place of the number of a submap that was merged into others


def submap_numbers(stamps_ns: Iterable[int], submaps: Sequence[Submap]) -> NDArray[np.int64]:
    """Return the number of the submap of each keyframe, by its stamp; MERGED where it is gone."""
    owners = {stamp.stamp_ns: submap.index for submap in submaps
              for stamp in submap.stamps[submap.shared :]}
    return np.array([owners.get(stamp_ns, MERGED) for stamp_ns in stamps_ns], np.int64)


def loop_pairs(graph: PoseGraph) -> NDArray[np.int64]:
    """Return pairs (L, 2) of submaps that are joined, though neither follows the other."""
    follows = dict(zip(graph.nodes, graph.nodes[1:], strict=False))
    pairs = {
        (min(factor.first, factor.second), max(factor.first, factor.second))
        for factor in graph.factors.values() if isinstance(factor, Between)
    }
    loops = sorted((first, second) for first, second in pairs if follows.get(first) != second)
    return np.array(loops, np.int64).reshape(-1, 2)
