"""viser's server, kept to this machine's network and to its own page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import viser
import websockets.asyncio.server as websocket_server
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from flashvggt_ros.viewer.origin import is_own_page

Answer = Callable[[ServerConnection, Request], Response | None]
# For a connection to say what it wants: browsers open some ahead of any need, and the server
# would wait for them when it is stopped.
REQUEST_S = 2.0
logger = logging.getLogger(__name__)


class Server(viser.ViserServer):
    """Serves the page, to browsers that show this page and no other.

    A browser cannot ask it to publish the page through a tunnel. Raises ValueError where the viser
    that is installed cannot be kept to its own page.
    """

    def __init__(self, host: str, port: int, label: str) -> None:
        gate = OriginGate(host)
        with gate.in_front_of_viser():
            super().__init__(host=host, port=port, label=label, verbose=False)
        if not gate.is_in_place:
            self.stop()
            raise ValueError(f"viser {viser.__version__} serves in a way that this version does "
                             "not know: pip install 'viser>=1.1,<2'")

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Return None: the page is not shared."""
        return None


class OriginGate:
    """Refuses browsers that show another page than the one served at ``host``."""

    def __init__(self, host: str) -> None:
        self.is_in_place = False
        self._host = host
        self._refused = ""  # the origin that was refused last

    @contextmanager
    def in_front_of_viser(self) -> Iterator[None]:
        """Have a server that viser starts in this block answer through the gate.

        viser passes no such option on: meanwhile, what it calls to serve is ours.
        """
        serve = websocket_server.serve

        def guarded(*arguments: Any, process_request: Answer, **options: Any) -> Any:
            self.is_in_place = True
            return serve(*arguments, process_request=self._before(process_request),
                         open_timeout=REQUEST_S, **options)

        websocket_server.serve = guarded  # type: ignore[assignment, misc]
        try:
            yield
        finally:
            websocket_server.serve = serve  # type: ignore[misc]

    def _before(self, answer: Answer) -> Answer:
        def check(connection: ServerConnection, request: Request) -> Response | None:
            origin = request.headers.get("Origin")
            if is_own_page(origin, request.headers.get("Host", ""), self._host):
                return answer(connection, request)
            if origin != self._refused:
                logger.warning("refused a browser that shows %.200r, not the live view", origin)
                self._refused = str(origin)
            return connection.respond(HTTPStatus.FORBIDDEN, "only its own page may connect\n")

        return check
