"""A keyframe's depth, thinned: enough to cast rays through a map, too little to draw it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.consensus import quantile

WIDTH = 56  # about, of a sketch [px]


@dataclass(frozen=True, eq=False)  # no slots: it keeps what it has worked out
class DepthSketch:
    """Depth along z (h, w) float16 [submap units], 0 where unknown; the camera of that size."""

    depth: NDArray[np.float16]
    camera: Pinhole

    @property
    def nbytes(self) -> int:
        """Memory it takes [bytes]."""
        return self.depth.nbytes

    @cached_property
    def median(self) -> float:
        """Median of the known depth [submap units]; 0 where nothing is known."""
        known = self.depth[self.depth > 0]
        return float(np.median(known)) if len(known) else 0.0


def sketch_depth(
    depth: NDArray[np.float32], confidence: NDArray[np.float32], camera: Pinhole,
    min_confidence: float,
) -> DepthSketch:
    """Thin a depth image (H, W) to about WIDTH columns: one measured pixel of each block.

    Pixels are picked, never averaged, so that no depth arises between a near and a far surface.
    Left unknown are pixels without depth and the least confident share ``min_confidence``.
    """
    step = max(1, round(camera.width / WIDTH))
    first = step // 2
    is_known = depth > 0
    if is_known.any():
        is_known &= confidence >= quantile(confidence[is_known], min_confidence)
    picked = np.where(is_known, depth, 0)[first::step, first::step]
    height, width = picked.shape
    small = Pinhole(
        camera.fx / step, camera.fy / step, (camera.cx - first) / step, (camera.cy - first) / step,
        width, height,
    )
    return DepthSketch(np.minimum(picked, 60000).astype(np.float16), small)
