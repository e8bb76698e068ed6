"""Keyframes on the page: frustums with their pictures, the path, submaps and loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.viewer.camera_path import CameraPath
from flashvggt_ros.viewer.palette import BLUE, VERMILION, submap_colors

Pictures = Callable[[FrameStamp], "NDArray[np.uint8] | None"]

FIELD_OF_VIEW = np.radians(50.0)  # of drawn frustums, from top to bottom
NO_PICTURE = (3, 4)  # height and width of a frustum without a picture
MOST_FRUSTUMS = 40
GAMMA = 2.2  # the page takes colors of lines for linear, all others for sRGB
FRUSTUM_SIZE = 0.04  # of the map's longest side
PATH_PIXELS, SUBMAP_PIXELS, LOOP_PIXELS = 2.0, 6.0, 3.0


class CameraLayers:
    """Shows a path in four layers: ``frustums``, ``path``, ``submaps`` and ``loops``."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self.frustums = scene.add_frame("/frustums", show_axes=False)
        self.path = scene.add_frame("/path", show_axes=False)
        self.submaps = scene.add_frame("/submaps", show_axes=False)
        self.loops = scene.add_frame("/loops", show_axes=False)
        self._shown: dict[FrameStamp, tuple[Any, bool]] = {}  # and whether it has a picture
        self._size = 0.0

    def show(self, path: CameraPath, pictures: Pictures, map_size: float) -> None:
        """Show a path in place of the one before; ``map_size`` [m] tells how large to draw."""
        steps = path.steps()
        lines = path.positions[steps]
        colors = submap_colors(path.submaps[steps[:, 1]])
        self._lines("/path/line", lines, np.broadcast_to(BLUE, colors.shape), PATH_PIXELS)
        known = path.submaps[steps[:, 1]] >= 0
        self._lines("/submaps/line", lines[known], colors[known], SUBMAP_PIXELS)
        loops = path.loop_ends()
        red = np.broadcast_to(VERMILION, (len(loops), 3))
        self._lines("/loops/line", loops, red, LOOP_PIXELS)
        self._show_frustums(path, pictures, FRUSTUM_SIZE * map_size)

    def show_pose(self, T_map_body: NDArray[np.float64], map_size: float) -> None:
        """Show the newest pose (4, 4) as axes, with the frustums."""
        x, y, z, w = se3.quaternion_from_matrix(T_map_body[:3, :3]).tolist()
        size = FRUSTUM_SIZE * map_size
        self._scene.add_frame(
            "/frustums/newest", axes_length=size, axes_radius=0.05 * size, wxyz=(w, x, y, z),
            position=T_map_body[:3, 3],
        )

    def _lines(
        self, name: str, ends: NDArray[np.float64], colors: NDArray[Any], pixels: float
    ) -> None:
        """Draw lines (L, 2, 3), each of one color (L, 3); none takes the last ones away."""
        linear = np.rint(255 * (colors / 255) ** GAMMA).astype(np.uint8)
        if not len(ends):
            self._scene.remove_by_name(name)
            return
        self._scene.add_line_segments(
            name, ends.astype(np.float32), np.repeat(linear[:, None], 2, axis=1),
            thickness=pixels, thickness_units="screen",
        )

    def _show_frustums(self, path: CameraPath, pictures: Pictures, size: float) -> None:
        rows = chosen_rows(len(path.frames), MOST_FRUSTUMS)
        if not 0.5 * size < self._size < 2.0 * size:
            self._size = size
            self._remove({*self._shown})
        self._remove(set(self._shown) - {path.frames[row] for row in rows})
        colors = submap_colors(path.submaps)
        for row in rows:
            frame, T_map_camera = path.frames[row], path.T_map_camera[row]
            x, y, z, w = se3.quaternion_from_matrix(T_map_camera[:3, :3]).tolist()
            place = {"wxyz": (w, x, y, z), "position": T_map_camera[:3, 3]}
            handle, has_picture = self._shown.get(frame, (None, False))
            picture = None if has_picture else pictures(frame)
            color = tuple(colors[row].tolist())
            if handle is None or picture is not None:
                self._shown[frame] = self._frustum(frame, picture, color, place)
            else:
                handle.wxyz, handle.position = place["wxyz"], place["position"]
                if tuple(handle.color) != color:
                    handle.color = color

    def _frustum(
        self, frame: FrameStamp, picture: NDArray[np.uint8] | None, color: tuple[int, ...],
        place: dict[str, Any],
    ) -> tuple[Any, bool]:
        height, width = NO_PICTURE if picture is None else picture.shape[:2]
        camera = "".join(letter if letter.isalnum() else "_" for letter in frame.camera)
        handle = self._scene.add_camera_frustum(
            f"/frustums/{frame.stamp_ns}_{camera}", FIELD_OF_VIEW, width / height,
            scale=self._size, thickness=1.5, thickness_units="screen", color=color,
            image=picture, format="jpeg", **place,
        )
        return handle, picture is not None

    def _remove(self, frames: set[FrameStamp]) -> None:
        for frame in frames:
            self._shown.pop(frame)[0].remove()


def chosen_rows(count: int, most: int) -> list[int]:
    """Return at most ``most`` of ``count`` rows, evenly, the newest always among them.

    They change seldom while the count grows: each second one goes when they become too many.
    """
    step = 1
    while count > step * (most - 1):
        step *= 2
    return sorted({*range(0, count, step), *range(max(count - 1, 0), count)})
