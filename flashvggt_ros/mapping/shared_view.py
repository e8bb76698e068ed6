"""How much of what a submap's newest keyframes show its first ones show too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.depth_sketch import DepthSketch
from flashvggt_ros.mapping.submap import Submap

SAME_DEPTH = 0.25  # difference of depths, relative, that is still one surface


@dataclass(frozen=True, slots=True, eq=False)
class SketchView:
    """What one keyframe saw, thinned, and its pose (4, 4) in its submap."""

    sketch: DepthSketch
    T_submap_camera: NDArray[np.float64]


def shared_view(submap: Submap, count: int) -> float:
    """Share, 0 to 1, of what the last ``count`` keyframes show that the first ``count`` show.

    Shared keyframes are no part of either: they belong to the submap before. 1 while the first
    are among the last, or where nothing has depth.
    """
    if len(submap.keyframes) < 2 * count:
        return 1.0
    poses = submap.T_submap_camera[submap.shared :]
    views = [SketchView(k.sketch, T) for k, T in zip(submap.keyframes, poses, strict=True)]
    shown, seen = 0, 0
    for newest in views[-count:]:
        is_known = newest.sketch.depth > 0
        is_shared = covisible(newest, views[:count])
        shown += int(np.count_nonzero(is_known))
        seen += int(np.count_nonzero(is_shared))
    return seen / shown if shown else 1.0


def covisible(view: SketchView, others: Sequence[SketchView]) -> NDArray[np.bool_]:
    """Return which pixels (h, w) of a view show a surface that one of the others shows."""
    depth = view.sketch.depth.astype(np.float32)
    points = view.sketch.camera.backproject(depth)
    is_seen = np.zeros(depth.shape, bool)
    for other in others:
        T_other_view = se3.inverse(other.T_submap_camera) @ view.T_submap_camera
        x, y, z = np.moveaxis(se3.transform_points(T_other_view, points), -1, 0)
        camera, there = other.sketch.camera, other.sketch.depth
        is_ahead = (depth > 0) & (z > 0)
        safe = np.where(is_ahead, z, 1.0)
        u = np.rint(camera.fx * x / safe + camera.cx)
        v = np.rint(camera.fy * y / safe + camera.cy)
        is_inside = is_ahead & (u >= 0) & (v >= 0) & (u < there.shape[1]) & (v < there.shape[0])
        row, column = (np.where(is_inside, n, 0).astype(np.int64) for n in (v, u))
        found = there[row, column].astype(np.float32)
        is_seen |= is_inside & (found > 0) & (np.abs(found - z) < SAME_DEPTH * z)
    return is_seen
