"""The node's services: reset, pause, save_map, load_map."""

from __future__ import annotations

import concurrent.futures
import errno
import logging
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool, Trigger

from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map_archive import save_map
from flashvggt_ros.mapping.map_io import safe_map_folder
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.completion import Completion
from flashvggt_ros.ros.session import MappingSession
from flashvggt_ros.slam import Slam
from flashvggt_ros.srv import LoadMap, SaveMap

logger = logging.getLogger(__name__)

NOT_CONFIGURED = (
    "there is no map while the node is unconfigured: configure it, or restart it once it was shut "
    "down"
)
QOS = QoSProfile(depth=1000)  # of ROS's own 10, requests that come at once are lost unanswered
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MapServices:
    """Serves ~/reset, ~/pause, ~/save_map and ~/load_map, in every state of the node.

    Jobs wait behind the images that came before them; images are taken in meanwhile. reset drops
    the images that wait. ``session`` is asked anew each time: None while the node is unconfigured.
    ``asked`` counts the requests that wait for an answer; after refuse() none waits any longer.
    """

    def __init__(
        self,
        node: Node,
        config: Callable[[], Config],
        session: Callable[[], MappingSession | None],
    ) -> None:
        self._config = config
        self._session = session
        self._is_over = False
        self.asked = 0
        # A service that awaits keeps its group busy: in the node's own one, images would wait too.
        group = ReentrantCallbackGroup()
        for kind, name, answer in (
            (Trigger, "~/reset", self._reset), (SetBool, "~/pause", self._pause),
            (SaveMap, "~/save_map", self._save_map), (LoadMap, "~/load_map", self._load_map),
        ):
            node.create_service(kind, name, answer, qos_profile=QOS, callback_group=group)

    def refuse(self) -> None:
        """Refuse what is not done yet: the node ends. The executor has to go on for the answers."""
        self._is_over = True

    async def _reset(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success, response.message = await self._answer(
            "reset", lambda session: session.reset(), lambda text: text
        )
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        session = self._session()
        if session is None:
            response.message = NOT_CONFIGURED
            return response
        is_change = session.is_paused != request.data
        session.is_paused = request.data
        response.success = True
        response.message = "paused: images are dropped" if request.data else "mapping"
        if is_change:
            logger.info("%s", response.message)
        return response

    async def _save_map(
        self, request: SaveMap.Request, response: SaveMap.Response
    ) -> SaveMap.Response:
        response.success, response.message = await self._answer(
            "save_map", lambda session: self._save(session, request), lambda text: text
        )
        if response.success:
            response.folder = str(self._folder(request.name))
        return response

    async def _load_map(
        self, request: LoadMap.Request, response: LoadMap.Response
    ) -> LoadMap.Response:
        response.success, response.message = await self._answer(
            "load_map",
            lambda session: session.worker.load_map(
                self._folder(request.name), session.map_model
            ),
            lambda _: f"{request.name} is loaded; where the robot is in it is looked for",
        )
        if not response.success:
            response.message = f"{request.name} is not loaded: {response.message}"
        return response

    async def _answer(
        self, name: str, begin: Callable[[MappingSession], Future], say: Callable[[Any], str]
    ) -> tuple[bool, str]:
        """Begin a job and wait for it; return success and message."""
        session = self._session()
        if session is None:
            return False, NOT_CONFIGURED
        self.asked += 1
        try:
            return True, say(await Completion(begin(session), lambda: self._is_over))
        except concurrent.futures.CancelledError:
            reason = session.worker.fatal or "the node was cleaned up or shut down meanwhile"
            logger.warning("%s is refused: %s", name, reason)
            return False, reason
        except (OSError, ValueError, RuntimeError) as error:
            return False, str(error)
        finally:
            self.asked -= 1

    def _folder(self, name: str) -> Path:
        return safe_map_folder(self._config().map_directory, name)

    def _save(self, session: MappingSession, request: SaveMap.Request) -> Future:
        folder, model, overwrite = self._folder(request.name), session.map_model, request.overwrite
        return session.worker.submit(lambda slam: _write(slam, folder, model, overwrite))


def _write(slam: Slam, folder: Path, model: MapModel, overwrite: bool) -> str:
    """Write the map; runs in the worker's thread."""
    try:
        saved = save_map(folder, slam.map, slam.config, model, overwrite=overwrite)
    except OSError as error:
        if error.errno is None:  # in our own words
            raise
        if error.errno not in FULL:
            raise OSError(
                f"nothing was saved: {error}; map_directory must be a folder, or become one, that "
                "this process may write to"
            ) from error
        raise OSError(
            f"nothing was saved, and an older map of that name is whole: {error}; make room, or "
            "let map_directory be on another disk"
        ) from error
    counts = saved.counts
    text = f"{counts.poses} poses and {counts.points} points written"
    logger.info("%s to %s", text, folder)
    return text
