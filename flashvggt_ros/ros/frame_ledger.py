"""What became of every image, counted once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Images since the start: received = used + gated + dropped + rejected + waiting."""

    received: int = 0
    used: int = 0
    gated: int = 0
    dropped: int = 0
    rejected: int = 0

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
        self,
        *,
        received: int = 0,
        used: int = 0,
        gated: int = 0,
        dropped: int = 0,
        rejected: int = 0,
    ) -> None:
        """Count images; raises ValueError when more are settled than were received."""
        with self._lock:
            counts = self._counts
            new = replace(
                counts,
                received=counts.received + received,
                used=counts.used + used,
                gated=counts.gated + gated,
                dropped=counts.dropped + dropped,
                rejected=counts.rejected + rejected,
            )
            if new.waiting < 0:
                raise ValueError(f"more images settled than received: {new}")
            self._counts = new
