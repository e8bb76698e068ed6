"""What the node does when time jumps back."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flashvggt_ros.config import Config
from flashvggt_ros.ros.clock_watch import ClockWatch
from flashvggt_ros.ros.worker import Worker
from flashvggt_ros.sensors.stamp_order import StampOrder

logger = logging.getLogger(__name__)


class FreshStart:
    """Begins anew where time jumps back by a second or more; runs in the executor's thread.

    Where /clock or the stamps of a recording start over, so does the map: what would be mapped next
    has stamps that the map has already, and need not be near what was mapped last. Where cameras go
    on, stamped by the node's clock, and had another one before, the map stays, and goes on in a
    fresh submap; so it does where /clock starts over while the node takes no images (``is_active``
    says whether it does): whoever made it inactive wants its map kept. In all cases what is known
    by stamps is forgotten, the transforms heard too, and no transform with a stamp of before is
    sent any more: listeners would then refuse all newer ones. ``forget()`` does that, lets images
    of any stamp come and holds TF until ``release()``, which the worker's thread calls.
    """

    def __init__(
        self,
        worker: Worker,
        config: Callable[[], Config],
        is_active: Callable[[], bool],
        forget: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self.jumps = 0  # how often time has jumped back
        self._worker = worker
        self._config = config
        self._is_active = is_active
        self._forget = forget
        self._release = release

    def on_clock_jump(self, back_s: float) -> None:
        """Begin anew as /clock has jumped back."""
        self._begin()
        if self._is_active():
            logger.warning("/clock jumped back by %.1f s: the map begins anew", back_s)
            self._worker.reset(self._config())
        else:
            logger.warning("/clock jumped back by %.1f s while the node is inactive: its map is "
                           "kept, and goes on in a fresh submap", back_s)
            self._go_on()

    def on_refused(self, order: StampOrder, clock: ClockWatch) -> None:
        """Begin anew if the image that was just refused proves that stamps have jumped back."""
        back_s = order.jump_back_ns * 1e-9
        if not back_s:
            return
        is_live = clock.has(order.newest_refused_ns)
        self._begin()
        if is_live:
            logger.warning("the clock was set back by %.1f s: a fresh submap goes on", back_s)
            self._go_on()
        else:
            logger.warning("the stamps of images start over, %.1f s back: so does the map", back_s)
            self._worker.reset(self._config())

    def _go_on(self) -> None:
        continued = self._worker.submit(lambda slam: slam.close_submap())
        continued.add_done_callback(lambda _: self._release())  # also where that has failed

    def _begin(self) -> None:
        self.jumps += 1
        self._forget()
