"""Which pose the odometry reports and which transform goes on TF, after REP-105."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import TfConfig
from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3

LATEST = 0  # as a stamp: the newest transform there is

Lookup = Callable[[str, str, int], NDArray[np.float64]]
Root = Callable[[str], str]


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """One transform for TF: ``T_parent_child`` (4, 4), valid at ``stamp_ns``."""

    parent: str
    child: str
    T_parent_child: NDArray[np.float64]
    stamp_ns: int

    def moved(self, T_shown_parent: NDArray[np.float64]) -> Edge:
        """Return the edge with its child moved by T_shown_parent (4, 4)."""
        return Edge(self.parent, self.child, T_shown_parent @ self.T_parent_child, self.stamp_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A frame's pose as it is published.

    ``T_map_child`` (4, 4) is the pose of ``child``: the base where the camera's place on it is
    known, else the camera. ``edges`` is empty where nothing may go on TF; ``missing`` then says
    why, and is empty where all is well.
    """

    child: str
    T_map_child: NDArray[np.float64]
    edges: tuple[Edge, ...]
    missing: str


class PosePlacer:
    """Turns camera poses into the one transform that the configured frames ask for.

    With ``odom_frame`` on TF: map->odom = T_map_base inv(T_odom_base), so that
    T_map_camera = T_map_odom T_odom_base T_base_camera. Without: map->base. Without a base: the
    first camera, map->camera, or where something else carries that camera on TF, the topmost frame
    that does. Every frame keeps exactly one parent: once odom->base has been seen, map->base is
    never published again; while the place of the camera on the base is unknown, nothing is, because
    a map->camera would become a second parent later.

    ``lookup(target, source, stamp_ns)`` returns T_target_source (4, 4) or raises LookupError;
    ``root(frame)`` is the topmost frame below the map that a frame hangs on, or itself.
    ``first_camera`` is the frame of image_topics[0], None until its first image came.
    """

    def __init__(self, config: TfConfig, lookup: Lookup, root: Root) -> None:
        self.first_camera: str | None = None
        self._config = config
        self._lookup = lookup
        self._root = root
        self._has_odometry = False

    def place(self, frame: FrameStamp, T_map_camera: NDArray[np.float64]) -> Placement:
        """Decide for one frame's pose (4, 4)."""
        if frame.camera == self._config.map_frame:  # TF would lead from the map to itself
            missing = (
                f"images have the frame_id '{frame.camera}', which is tf.map_frame: let the driver "
                "name the camera's optical frame, or set tf.map_frame to another one"
            )
            return Placement(frame.camera, T_map_camera, (), missing)
        if not self._config.base_frame:
            return self._place_camera(frame, T_map_camera)
        try:
            T_base_camera = self._lookup(self._config.base_frame, frame.camera, frame.stamp_ns)
        except LookupError as error:
            missing = f"the camera's place on {self._config.base_frame} is not on TF: {error}"
            return Placement(frame.camera, T_map_camera, (), missing)
        T_map_base = T_map_camera @ se3.inverse(T_base_camera)
        edges, missing = self._edges(frame.stamp_ns, T_map_base)
        return Placement(self._config.base_frame, T_map_base, edges, missing)

    def _place_camera(self, frame: FrameStamp, T_map_camera: NDArray[np.float64]) -> Placement:
        if frame.camera != self.first_camera:
            return Placement(frame.camera, T_map_camera, (), "")
        carrier = self._root(frame.camera)
        T_map_carrier = T_map_camera
        if carrier != frame.camera:
            try:
                T_carrier_camera = self._lookup(carrier, frame.camera, frame.stamp_ns)
            except LookupError as error:
                missing = f"the camera's place on {carrier} is not on TF: {error}"
                return Placement(frame.camera, T_map_camera, (), missing)
            T_map_carrier = T_map_camera @ se3.inverse(T_carrier_camera)
        edge = Edge(self._config.map_frame, carrier, T_map_carrier, frame.stamp_ns)
        return Placement(frame.camera, T_map_camera, (edge,), "")

    def _edges(
        self, stamp_ns: int, T_map_base: NDArray[np.float64]
    ) -> tuple[tuple[Edge, ...], str]:
        config = self._config
        if config.odom_frame:
            try:
                T_odom_base = self._lookup(config.odom_frame, config.base_frame, stamp_ns)
            except LookupError as error:
                self._has_odometry = self._has_odometry or self._is_on_tf()
                missing = f"{config.odom_frame}->{config.base_frame} is not on TF: {error}"
                if self._has_odometry:
                    return (), missing
                return self._map_to_base(stamp_ns, T_map_base), missing
            self._has_odometry = True
            T_map_odom = T_map_base @ se3.inverse(T_odom_base)
            return (Edge(config.map_frame, config.odom_frame, T_map_odom, stamp_ns),), ""
        return self._map_to_base(stamp_ns, T_map_base), ""

    def _map_to_base(self, stamp_ns: int, T_map_base: NDArray[np.float64]) -> tuple[Edge, ...]:
        return (Edge(self._config.map_frame, self._config.base_frame, T_map_base, stamp_ns),)

    def _is_on_tf(self) -> bool:
        try:
            self._lookup(self._config.odom_frame, self._config.base_frame, LATEST)
        except LookupError:
            return False
        return True


class EdgeRepeater:
    """What is sent between two chunks so that listeners always find a transform.

    map->odom is carried to the stamp of the newest image received: odometry may be newer than the
    map, and the correction holds until there is a better one. Poses (map->base, map->camera) are
    repeated with the stamp they were measured at, or that of the newest image that shows the same
    as their keyframe: to date them on further would invent a standstill.
    """

    def __init__(self, odom_frame: str) -> None:
        self._odom_frame = odom_frame
        self._newest: Edge | None = None

    @property
    def stamp_ns(self) -> int:
        """Stamp of the transform that is repeated, 0 before the first."""
        return self._newest.stamp_ns if self._newest else 0

    def update(self, edge: Edge | None) -> None:
        """Take the newest transform; None after a reset."""
        self._newest = edge

    def move(self, T_parent_parent: NDArray[np.float64]) -> None:
        """Let what is repeated lie elsewhere in its parent, moved by (4, 4)."""
        if self._newest is not None:
            self._newest = self._newest.moved(T_parent_parent)

    def edge(self, newest_image_ns: int, stands_until_ns: int = 0) -> Edge | None:
        """Return what to send now; None before the first pose."""
        newest = self._newest
        if newest is None:
            return None
        is_pose = newest.child != self._odom_frame
        stamp_ns = max(newest.stamp_ns, stands_until_ns if is_pose else newest_image_ns)
        return Edge(newest.parent, newest.child, newest.T_parent_child, stamp_ns)
