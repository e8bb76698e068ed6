"""The node's services: reset, pause, save_map, load_map."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map_archive import save_map
from flashvggt_ros.mapping.map_io import safe_map_folder
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.slam import Slam
from flashvggt_ros.srv import LoadMap, SaveMap

logger = logging.getLogger(__name__)

POLL_S = 0.005


class Completion:
    """Awaits a future of the worker's thread inside a service callback.

    Executors resume a waiting coroutine again and again without a pause; waiting a few
    milliseconds here keeps that from taking the processor from the model, and images are taken in
    between.
    """

    def __init__(self, future: Future) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, Any]:
        while not concurrent.futures.wait([self._future], timeout=POLL_S).done:
            yield
        return self._future.result()


class MapServices:
    """Serves ~/reset, ~/pause, ~/save_map and ~/load_map.

    Jobs wait behind the images that came before them; images are taken in meanwhile. reset drops
    the images that wait. ``on_reset`` is called in the executor's thread before.
    """

    def __init__(
        self,
        node: Node,
        config: Callable[[], Config],
        worker: Worker,
        model: MapModel,
        on_reset: Callable[[], None],
    ) -> None:
        self.is_paused = False
        self._config = config
        self._worker = worker
        self._model = model
        self._on_reset = on_reset
        # A service that awaits keeps its group busy: in the node's own one, images would wait too.
        group = ReentrantCallbackGroup()
        node.create_service(Trigger, "~/reset", self._reset, callback_group=group)
        node.create_service(SetBool, "~/pause", self._pause, callback_group=group)
        node.create_service(SaveMap, "~/save_map", self._save_map, callback_group=group)
        node.create_service(LoadMap, "~/load_map", self._load_map, callback_group=group)

    async def _reset(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self._on_reset()
        response.success, response.message = await self._answer(
            self._worker.reset(self._config()), lambda _: "the map is empty"
        )
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.is_paused = request.data
        response.success = True
        response.message = "paused: images are dropped" if request.data else "mapping"
        logger.info("%s", response.message)
        return response

    async def _save_map(
        self, request: SaveMap.Request, response: SaveMap.Response
    ) -> SaveMap.Response:
        try:
            folder = safe_map_folder(self._config().map_directory, request.name)
        except ValueError as error:
            response.message = str(error)
            return response
        saved = self._worker.submit(lambda slam: self._save(slam, folder, request.overwrite))
        response.success, response.message = await self._answer(saved, lambda text: text)
        if response.success:
            response.folder = str(folder)
        return response

    async def _load_map(
        self, request: LoadMap.Request, response: LoadMap.Response
    ) -> LoadMap.Response:
        try:
            folder = safe_map_folder(self._config().map_directory, request.name)
        except ValueError as error:
            response.message = str(error)
            return response
        loaded = self._worker.load_map(folder, self._model)
        response.success, response.message = await self._answer(
            loaded, lambda _: f"{request.name} is loaded; where the robot is in it is looked for"
        )
        return response

    async def _answer(self, future: Future, say: Callable[[Any], str]) -> tuple[bool, str]:
        """Wait for a job; return success and message."""
        try:
            return True, say(await Completion(future))
        except concurrent.futures.CancelledError:
            return False, "the node is shutting down"
        except (OSError, ValueError, RuntimeError) as error:
            return False, str(error)

    def _save(self, slam: Slam, folder: Path, overwrite: bool) -> str:
        """Write the map; runs in the worker's thread."""
        saved = save_map(folder, slam.map, slam.config, self._model, overwrite=overwrite)
        counts = saved.counts
        text = f"{counts.poses} poses and {counts.points} points written"
        logger.info("%s to %s", text, folder)
        return text
