"""A keyframe's sketch where it lies in the map, without what networks draw at depth edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.depth_sketch import DepthSketch
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.surface_planes import fit_planes

EDGE = 0.15  # difference of neighboring depths, relative to the nearer, that is still one surface
SKETCHES_KEPT = 256  # newest whose planes are remembered, 28 KB each: several ask for them


@dataclass(frozen=True, slots=True, eq=False)
class DepthView:
    """Depth along z (h, w) float32 [m], 0 where unknown, seen by ``camera`` from T_map_camera.

    ``planes`` (h, w, 3) float32 [1/m]: a, with a . p = 1 for points p on the plane around a pixel,
    in the camera frame; 0 where depth is unknown.
    """

    T_map_camera: NDArray[np.float64]
    depth: NDArray[np.float32]
    planes: NDArray[np.float32]
    camera: Pinhole

    @classmethod
    def of(
        cls, sketch: DepthSketch, T_map_camera: NDArray[np.float64], scale: float
    ) -> DepthView:
        """Place a sketch; ``scale`` is in meters per unit of it.

        Lone pixels become unknown, the others lie on the planes that are fitted to them.
        """
        planes = _planes(sketch) / np.float32(scale)
        rays = sketch.camera.backproject(np.ones(sketch.depth.shape, np.float32))
        inverse = np.einsum("hwi,hwi->hw", planes, rays)
        depth = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        return cls(T_map_camera, depth, planes, sketch.camera)


@lru_cache(SKETCHES_KEPT)
def _planes(sketch: DepthSketch) -> NDArray[np.float32]:
    """Planes (h, w, 3) of a sketch, in its own units."""
    return fit_planes(without_lone_pixels(sketch.depth.astype(np.float32)), sketch.camera)


def views_of(submap: Submap, most: int | None = None) -> list[DepthView]:
    """Return what the keyframes of a submap see; ``most`` of them at most, evenly chosen."""
    count = len(submap.keyframes)
    chosen = range(count) if most is None else evenly(count, most)
    poses, scales = submap.T_map_camera[submap.shared :], submap.scales[submap.shared :]
    return [DepthView.of(submap.keyframes[i].sketch, poses[i], scales[i]) for i in chosen]


def evenly(count: int, most: int) -> list[int]:
    """Return ``most`` of the numbers 0 to count - 1, or all of them if they are fewer."""
    return [number * count // most for number in range(most)] if count > most else [*range(count)]


def without_lone_pixels(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return depth (h, w), 0 where a pixel is on no surface with its neighbors.

    Beside it and above or below it there must be one within EDGE of its depth: pixels that hang in
    the air between a near and a far surface have none.
    """
    is_lone = ~(_has_like(depth) & _has_like(depth.T).T)
    return np.where(is_lone, np.float32(0), depth)


def _has_like(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the pixel to the left or right is known and about as far."""
    nearer = np.minimum(depth[:, :-1], depth[:, 1:])
    is_like = (np.abs(np.diff(depth, axis=1)) <= EDGE * nearer) & (nearer > 0)
    has_like = np.zeros(depth.shape, bool)
    has_like[:, :-1] |= is_like
    has_like[:, 1:] |= is_like
    return has_like
