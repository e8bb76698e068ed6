"""One measured number and the limit that it must keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``value`` of ``what`` must be at most, or at least, ``limit``; both in ``unit``."""

    what: str
    value: float
    limit: float
    unit: str
    is_at_most: bool = True

    @property
    def is_ok(self) -> bool:
        """Whether the limit is kept; a value that is not a number never keeps it."""
        return self.value <= self.limit if self.is_at_most else self.value >= self.limit
