"""Random scenes by place: rooms, desks, corridors, halls, streets and parks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flashvggt_ros.scene import indoor, outdoor
from flashvggt_ros.scene.composer import MOST_PRIMITIVES, Composer, Layout
from flashvggt_ros.scene.textures import Textures

__all__ = ["MOST_PRIMITIVES", "PLACES", "Layout", "compose"]

_MAKERS: dict[str, Callable[[Composer, np.random.Generator], Layout]] = {
    "room": indoor.room, "desk": indoor.desk, "corridor": indoor.corridor, "hall": indoor.hall,
    "street": outdoor.street, "park": outdoor.park,
}
PLACES = tuple(_MAKERS)


def compose(place: str, textures: Textures, rng: np.random.Generator,
            style: int | None = None) -> Layout:
    """Compose a random place of PLACES; ``style`` of materials, None: by STYLE_SHARES.

    Raise ValueError for an unknown place.
    """
    if place not in _MAKERS:
        raise ValueError(f"place is {place!r}: it must be one of {PLACES}")
    return _MAKERS[place](Composer(textures, rng, style), rng)
