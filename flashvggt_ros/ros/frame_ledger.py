"""What became of every image, counted once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

DROPS = frozenset(
    {
        "queue_full",  # the model is behind the images
        "paused",
        "inactive",  # they still waited when the node was deactivated
        "failed",  # the model, or the keyframe gate, failed on it
        "reset",  # it still waited when the map began anew
        "stopped",  # mapping had ended by itself
    }
)


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Images since the start: received = used + gated + dropped + rejected + waiting.

    ``drops``: those that were good but are not mapped, by cause, one of DROPS.
    """

    received: int = 0
    used: int = 0
    gated: int = 0
    rejected: int = 0
    drops: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def dropped(self) -> int:
        """Images that were good but are not mapped."""
        return sum(self.drops.values())

    @property
    def waiting(self) -> int:
        """Images received whose fate is open: queued, or kept for a chunk that is not full."""
        return self.received - self.used - self.gated - self.dropped - self.rejected


class FrameLedger:
    """Counts images from any thread; a snapshot is consistent in itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = FrameCounts()

    @property
    def counts(self) -> FrameCounts:
        """A snapshot."""
        return self._counts

    def add(
        self, *, received: int = 0, used: int = 0, gated: int = 0, rejected: int = 0
    ) -> None:
        """Count images; raises ValueError when more are settled than were received."""
        with self._lock:
            counts = self._counts
            self._settle(
                replace(
                    counts,
                    received=counts.received + received,
                    used=counts.used + used,
                    gated=counts.gated + gated,
                    rejected=counts.rejected + rejected,
                )
            )

    def drop(self, cause: str, count: int = 1) -> None:
        """Count images as dropped; raises as add() does, and KeyError for an unknown cause."""
        if cause not in DROPS:
            raise KeyError(cause)
        if not count:
            return
        with self._lock:
            drops = dict(self._counts.drops)
            drops[cause] = drops.get(cause, 0) + count
            self._settle(replace(self._counts, drops=MappingProxyType(drops)))

    def _settle(self, counts: FrameCounts) -> None:
        if counts.waiting < 0:
            raise ValueError(f"more images settled than received: {counts}")
        self._counts = counts
