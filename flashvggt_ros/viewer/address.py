"""Where the page is served."""

from __future__ import annotations

import errno
import socket

MOST_TRIED = 100  # ports


def free_port(host: str, port: int) -> int:
    """Return ``port``, or the next one that nobody listens on at ``host``.

    Raises ValueError where the page cannot be served there at all, with the remedy.
    """
    for number in range(port, min(port + MOST_TRIED, 2**16)):
        try:
            family, kind, *_, address = socket.getaddrinfo(
                host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise ValueError(
                f"the page cannot be served at {host}:{number} ({error.strerror}): --host takes an "
                "address of this machine, 0.0.0.0 for all of them; --port 1024 to 65535"
            ) from None
        return number
    raise ValueError(f"no port from {port} on is free at {host}: name another one with --port")
