"""Where a robot is in a map that was loaded: by what it sees, or by what someone says of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.loop_measurement import KeyframeGroup
from flashvggt_ros.mapping.submap import Submap

logger = logging.getLogger(__name__)

KEPT = 3  # closed submaps that a robot keeps which only wants to know where it is
UNKNOWN_SCALE = 1.0  # standard deviation of the logarithm of a scale that is a guess


@dataclass(frozen=True, slots=True, eq=False)
class InitialPose:
    """Where the robot is said to be when its next image is taken.

    ``T_map_base`` (4, 4): its base, or its camera (optical axes) where it is not known how that
    sits on the base. ``sigmas`` (6,): standard deviations of the rotation about [rad] and of the
    place along [m] the map's axes.
    """

    T_map_base: NDArray[np.float64]
    sigmas: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.T_map_base.shape != (4, 4) or not np.isfinite(self.T_map_base).all():
            raise ValueError(f"an initial pose must be a finite (4, 4), not {self.T_map_base}")
        if self.sigmas.shape != (6,) or not (self.sigmas > 0).all():
            raise ValueError(f"an initial pose needs six positive sigmas, not {self.sigmas}")

    def S_map_submap(
        self, T_base_camera: NDArray[np.float64] | None, scale: float
    ) -> Sim3:
        """Return where a submap begins whose first camera is its origin; ``scale``: a guess."""
        T_map_camera = self.T_map_base
        if T_base_camera is not None:
            T_map_camera = T_map_camera @ T_base_camera
        return Sim3.from_pose(T_map_camera, scale)

    def covariance(self, S_map_anchor: Sim3) -> NDArray[np.float64]:
        """Return that of S_anchor_submap (7, 7), in Between's order and the anchor's units."""
        turn = S_map_anchor.rotation.T
        covariance = np.zeros((7, 7))
        covariance[:3, :3] = turn @ np.diag(self.sigmas[:3] ** 2) @ turn.T
        place = turn @ np.diag(self.sigmas[3:] ** 2) @ turn.T
        covariance[3:6, 3:6] = place / S_map_anchor.scale**2
        covariance[6, 6] = UNKNOWN_SCALE**2
        return covariance


def newest_group(submap: Submap, count: int) -> KeyframeGroup:
    """Return the last ``count`` keyframes of a submap, or all that are its own."""
    count = min(count, len(submap.keyframes))
    first = submap.frames - count
    return KeyframeGroup(
        submap.keyframes[len(submap.keyframes) - count :], submap.T_submap_camera[first:]
    )


def warn_of_other_sizes(group: KeyframeGroup, loaded: Sequence[Submap]) -> None:
    """Say it where no keyframe of a loaded map has the size of these: none can be recognized."""
    known = {_size(keyframe) for submap in loaded for keyframe in submap.keyframes}
    seen = {_size(keyframe) for keyframe in group.keyframes}
    if seen and not seen & known:
        logger.warning(
            "images reach the model as %s, those of the loaded map as %s: nothing can be "
            "recognized; set predictor.width as it was, or map anew",
            ", ".join(sorted(seen)), ", ".join(sorted(known)),
        )


def _size(keyframe: Keyframe) -> str:
    return f"{keyframe.camera.width}x{keyframe.camera.height}"


def corrected(update: MapUpdate, live: Submap, S_new_old: Sim3) -> MapUpdate:
    """Return an update of a submap's newest keyframes as it is now that it moved, by S_new_old."""
    return replace(
        update,
        T_map_camera=live.T_map_camera[live.frames - len(update.new) :],
        points_map=S_new_old.transform_points(update.points_map),
        is_joined=live.is_joined,
    )
