"""Which pages a browser may reach the live view from: its own alone."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

LOOPBACK = "localhost"


def is_own_page(origin: str | None, asked: str, host: str) -> bool:
    """Say whether a request comes from the page that is served at ``host``.

    ``origin`` and ``asked`` are what it has as ``Origin`` and ``Host``. Browsers always name the
    page that opens a WebSocket as its origin, and no page can change that; programs that are no
    browsers name none (None), and may do as they like. A page served at loopback also has a name
    of loopback: else a web site could have its own name lead there (DNS rebinding).
    """
    if origin is None:
        return True
    try:
        page = urlsplit(origin)
        name = page.hostname or ""
    except ValueError:
        return False
    if not name or page.netloc.lower() != asked.lower():
        return False
    return not _is_loopback(host) or _is_loopback(name) or name == host.lower()


def _is_loopback(name: str) -> bool:
    if name.lower() == LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
