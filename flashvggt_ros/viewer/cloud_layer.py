"""The map's points on the page."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.viewer.point_blocks import Block, Extent, block_edge, spacing, split, thin

ROOT = "/map_cloud"
OVERLAP = 1.4  # edge of a drawn point, in spacings: surfaces close up


class CloudLayer:
    """Shows a cloud of at most about ``most`` points; sends only the blocks that changed.

    ``show`` is called by one thread, the setters by those of the page's controls.
    """

    def __init__(self, scene: Any, most: int) -> None:
        self.extent: Extent | None = None
        self.shown_points = self.sent_points = 0
        self._scene = scene
        self._most = most
        self._lock = threading.Lock()
        self._points, self._colors = np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8)
        self._handles: dict[tuple[int, ...], Any] = {}
        self._digests: dict[tuple[int, ...], int] = {}
        self._edge = 0.0
        self._spacing, self._magnification = 0.0, 1.0
        self._height = 1.0
        self.root = scene.add_frame(ROOT, show_axes=False)

    def show(self, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
        """Show these points (M, 3) and colors (M, 3) RGB in place of the others."""
        with self._lock:
            self._points, self._colors = points, colors
            self._draw()

    def set_magnification(self, magnification: float) -> None:
        """Draw points so many times as large as their spacing asks for."""
        with self._lock:
            self._magnification = magnification
            for handle in self._handles.values():
                handle.point_size = self._point_size

    def set_height(self, share: float) -> None:
        """Leave out what is above this share of the cloud's height: ceilings hide rooms."""
        with self._lock:
            self._height = share
            self._draw()

    @property
    def _point_size(self) -> float:
        return OVERLAP * self._spacing * self._magnification

    def _draw(self) -> None:
        self.extent = Extent.of(self._points) if len(self._points) else None
        if self.extent is None:
            self._edge = 0.0
        else:
            self._edge = max(self._edge, block_edge(self.extent.size))
        points, colors = thin(*self._below(), self._most)
        blocks = split(points, colors, self._edge)
        self.shown_points, self.sent_points = len(points), 0
        if blocks:
            self._set_spacing(spacing(blocks))
        for place in set(self._handles) - set(blocks):
            self._handles.pop(place).remove()
            del self._digests[place]
        for place, block in blocks.items():
            if self._digests.get(place) != block.digest:
                self._send(place, block)

    def _below(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the points that are not too high."""
        if self.extent is None or self._height >= 1.0:
            return self._points, self._colors
        low, high = self.extent.low[2], self.extent.high[2]
        kept = self._points[:, 2] <= low + self._height * (high - low)
        return self._points[kept], self._colors[kept]

    def _set_spacing(self, distance: float) -> None:
        """Take over a spacing that differs by more than its measurement does."""
        if not 0.8 * distance < self._spacing < 1.25 * distance:
            self._spacing = distance
            for handle in self._handles.values():
                handle.point_size = self._point_size

    def _send(self, place: tuple[int, ...], block: Block) -> None:
        name = "_".join(str(number) for number in place)
        self._handles[place] = self._scene.add_point_cloud(
            f"{ROOT}/{name}", block.points, block.colors, point_size=self._point_size,
            point_shape="circle", point_shading="flat", precision="float16",
            position=block.center,
        )
        self._digests[place] = block.digest
        self.sent_points += len(block.points)
