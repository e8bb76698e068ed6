"""A Hugging Face hub of one file on the loopback interface, as far as a download needs it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = "/ZipW/FlashVGGT/resolve/main/flashvggt_stream.pt"
COMMIT = "a" * 40


class Hub:
    """What the hub offers: ``content``, the ``etag`` it declares, and how it fails.

    ``cut_after``: bytes of each answer after which the connection breaks, once for each entry of
    the list. ``requests`` counts what was asked for.
    """

    def __init__(self, content: bytes, etag: str, cut_after: list[int] | None = None) -> None:
        self.content, self.etag = content, etag
        self.cut_after = cut_after or []
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        """Serve while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(is_whole=False)

        def do_GET(self) -> None:
            self._answer(is_whole=True)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, *, is_whole: bool) -> None:
            wanted = self.headers.get("Range", "")
            hub.requests.append((self.command, wanted))
            if self.path != FILE:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                return
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            start = int(match[1]) if match else 0
            body = hub.content[start:]
            self.send_response(206 if match else 200)
            self.send_header("ETag", f'"{hub.etag}"')
            self.send_header("X-Linked-ETag", f'"{hub.etag}"')
            self.send_header("X-Linked-Size", str(len(hub.content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(body)))
            if match:
                whole = len(hub.content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.end_headers()
            if is_whole:
                self.wfile.write(body[: hub.cut_after.pop(0)] if hub.cut_after else body)
            self.close_connection = True

    return Handler
