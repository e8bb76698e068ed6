"""viser's server, kept to this machine's network."""

from __future__ import annotations

import viser


class Server(viser.ViserServer):
    """Serves the page. A browser cannot ask it to publish the page through a tunnel."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Return None: the page is not shared."""
        return None
