"""The page in the browser: a map that grows, what is known of it, and buttons."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.viewer.address import free_port
from flashvggt_ros.viewer.camera_layers import CameraLayers, Pictures
from flashvggt_ros.viewer.camera_path import CameraPath
from flashvggt_ros.viewer.cloud_layer import CloudLayer
from flashvggt_ros.viewer.grid_layer import GridLayer
from flashvggt_ros.viewer.point_blocks import Extent

TITLE = "flashvggt"
EYE = np.array([-0.55, -0.75, 0.75])  # from the middle of the map, in its longest sides
NEW_VIEW = 1.5  # by which the map grows before the camera steps back
FLUSH_S = 0.2  # for the last messages to leave before the server stops


class PauseControl(Protocol):
    """What the check box Pause does, in a thread of the page; it must not wait."""

    def pause(self, *, is_paused: bool) -> None:
        """Stop or go on taking images."""


class MapControls(PauseControl, Protocol):
    """What all buttons do, in threads of the page; they must not wait."""

    def reset(self) -> None:
        """Forget the map."""

    def save(self, name: str) -> None:
        """Write the map to a folder of that name."""


class Page:
    """Serves the page at ``host`` and ``port``, or the next free one; see ``address``.

    One thread shows what there is; browsers may come and go. Raises ValueError where it cannot be
    served there.
    """

    def __init__(self, host: str, port: int, most_points: int) -> None:
        from flashvggt_ros.viewer.server import Server  # viser is optional

        self._server = Server(host=host, port=free_port(host, port), label=TITLE)
        self.address = f"http://{_reachable(host)}:{self._server.get_port()}"
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        scene = self._server.scene
        scene.set_up_direction("+z")
        scene.configure_fog(near=1.0, far=2.0, enabled=False)  # colors tell lines apart
        self.cloud = CloudLayer(scene, most_points)
        self._cameras = CameraLayers(scene)
        self._grid = GridLayer(scene)
        self._viewed = 0.0  # size of the map when all of it was last brought into view
        self._status = self._server.gui.add_markdown("nothing is mapped yet")
        self._answer = self._server.gui.add_markdown("")
        self._add_layers()

    def show_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
        """Show the whole map: points (M, 3) [m] and colors (M, 3) RGB."""
        self.cloud.show(points, colors)
        extent = self.cloud.extent
        if extent is None:
            self._viewed = 0.0
        elif extent.size > NEW_VIEW * self._viewed:
            self._look_at(extent)

    def show_path(self, path: CameraPath, pictures: Pictures) -> None:
        """Show keyframes; ``pictures`` returns a small picture (H, W, 3) RGB of one, or None."""
        extent = self.cloud.extent
        self._cameras.show(path, pictures, extent.size if extent else 1.0)

    def show_pose(self, T_map_body: NDArray[np.float64]) -> None:
        """Show the newest pose (4, 4), as axes."""
        extent = self.cloud.extent
        self._cameras.show_pose(T_map_body, extent.size if extent else 1.0)

    def show_grid(self, grid: Grid) -> None:
        """Show the occupancy grid, on the floor of the cloud."""
        extent = self.cloud.extent
        self._grid.show(grid, float(extent.low[2]) if extent else 0.0)

    def show_status(self, status: Mapping[str, str], message: str = "") -> None:
        """Show what there is to know, a line for each name, and a message below."""
        drawn = f"{self.cloud.shown_points:,}"
        rows = [f"| {name} | {text} |" for name, text in {**status, "points drawn": drawn}.items()]
        content = "\n".join(["| | |", "|---|---|", *rows, "", message])
        if self._status.content != content:
            self._status.content = content

    def say(self, text: str) -> None:
        """Show what came of a button."""
        self._answer.content = text

    def add_buttons(self, controls: MapControls) -> None:
        """Add pause, reset and save."""
        gui = self._server.gui
        self.add_pause(controls)
        with gui.add_folder("Map"):
            name = gui.add_text("name", initial_value="live_view")
            save = gui.add_button("Save map")
            reset = gui.add_button("Reset: forget the map")
        save.on_click(lambda _: controls.save(name.value))
        reset.on_click(lambda _: controls.reset())

    def add_pause(self, control: PauseControl) -> None:
        """Add pause alone."""
        pause = self._server.gui.add_checkbox("Pause", initial_value=False)
        pause.on_update(lambda _: control.pause(is_paused=pause.value))

    @property
    def browsers(self) -> int:
        """How many look at the page."""
        return len(self._server.get_clients())

    def close(self) -> None:
        """Stop serving."""
        self._server.flush()
        time.sleep(FLUSH_S)
        self._server.stop()

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _add_layers(self) -> None:
        gui = self._server.gui
        layers = {
            "map cloud": self.cloud.root, "camera frustums": self._cameras.frustums,
            "trajectory": self._cameras.path, "submaps": self._cameras.submaps,
            "loops": self._cameras.loops, "occupancy grid": self._grid.root,
        }
        with gui.add_folder("Layers"):
            for name, root in layers.items():
                box = gui.add_checkbox(name, initial_value=True)
                box.on_update(partial(_set_visible, root))
            size = gui.add_slider("point size", 0.25, 4.0, 0.25, 1.0)
            size.on_update(lambda _: self.cloud.set_magnification(size.value))
            height = gui.add_slider("height shown [%]", 5, 100, 5, 100)
            height.on_update(lambda _: self.cloud.set_height(height.value / 100))
            gui.add_button("Show all").on_click(lambda _: self._show_all())

    def _show_all(self) -> None:
        if self.cloud.extent is not None:
            self._look_at(self.cloud.extent)

    def _look_at(self, extent: Extent) -> None:
        """Bring the whole map into view, also for those who come later."""
        self._viewed = extent.size
        middle = (extent.low + extent.high) / 2
        eye = middle + EYE * extent.size
        first = self._server.initial_camera
        first.position, first.look_at = eye, middle
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at = eye, middle


def _set_visible(root: Any, event: Any) -> None:
    root.visible = event.target.value


def _reachable(host: str) -> str:
    """Return a name by which a browser on this machine finds ``host``."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host
