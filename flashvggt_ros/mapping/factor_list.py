"""The factors of a pose graph by their ids, in the order in which they were added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from flashvggt_ros.mapping.graph_measurements import (
    Between,
    Factor,
    ScaleFactor,
    UpFactor,
    nodes_of,
)
from flashvggt_ros.mapping.graph_merging import averaged, averaged_scale, averaged_up


class FactorList:
    """Factors get ids from 0; an id is never used again."""

    def __init__(self) -> None:
        self._factors: dict[int, Factor] = {}
        self._next_id = 0

    @property
    def by_id(self) -> Mapping[int, Factor]:
        """Every factor by its id; it changes with the list."""
        return MappingProxyType(self._factors)

    def append(self, factor: Factor) -> int:
        """Add a factor; return its id."""
        self._factors[self._next_id] = factor
        self._next_id += 1
        return self._next_id - 1

    def remove(self, factor: int) -> None:
        """Forget a factor; KeyError if there is none of that id."""
        del self._factors[factor]

    def replace(self, factor: ScaleFactor | UpFactor) -> int:
        """Put a factor of one node in the place of that of its kind, if there is one."""
        for known, other in self._factors.items():
            if type(other) is type(factor) and nodes_of(other) == nodes_of(factor):
                self._factors[known] = factor
                return known
        return self.append(factor)

    def average(self, factor: Factor) -> None:
        """Add a factor, or average it with one that is believed of the same nodes already."""
        for known, other in self._factors.items():
            if type(other) is not type(factor) or {*nodes_of(other)} != {*nodes_of(factor)}:
                continue
            mean = _mean(other, factor)
            if mean is not None:
                self._factors[known] = mean
                return
        self.append(factor)

    def of_node(self, node: int) -> list[int]:
        """Return the ids of all factors that are about a node."""
        return [i for i, factor in self._factors.items() if node in nodes_of(factor)]

    def without(self, left_out: Collection[int]) -> dict[int, Factor]:
        """Return all factors by id, but for some."""
        return {i: factor for i, factor in self._factors.items() if i not in left_out}


def _mean(known: Factor, factor: Factor) -> Factor | None:
    """Average factors of one kind and of the same nodes; None where the known one may be wrong."""
    if isinstance(known, Between) and isinstance(factor, Between):
        return None if known.is_robust else averaged(known, factor)
    if isinstance(known, ScaleFactor) and isinstance(factor, ScaleFactor):
        return averaged_scale(known, factor)
    if isinstance(known, UpFactor) and isinstance(factor, UpFactor):
        return averaged_up(known, factor)
    return None
