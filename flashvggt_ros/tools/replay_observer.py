"""Who looks at a replay while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flashvggt_ros.tools.replay import Replay


class ReplayObserver(Protocol):
    """Looks at a replay while it runs; ``is_paused`` makes it wait between two images."""

    is_paused: bool

    def show(self, replay: Replay) -> None:
        """Look at the replay after an image."""

    def finish(self, replay: Replay) -> None:
        """Look at the replay at its end."""


class Unobserved:
    """Looks at nothing."""

    is_paused = False

    def show(self, replay: Replay) -> None:
        """Do nothing."""

    def finish(self, replay: Replay) -> None:
        """Do nothing."""


UNOBSERVED = Unobserved()
