"""What the worker asks of those that publish."""

from __future__ import annotations

from typing import Protocol

from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.mapping.map import Map


class MapOutput(Protocol):
    """Where the worker sends what it maps; called from the worker's thread only."""

    def publish_update(self, update: MapUpdate, current_map: Map) -> None:
        """Publish what a chunk changed."""
        ...

    def publish_moved(self, current_map: Map) -> None:
        """Publish where the newest keyframe is now: the map has moved without a new one."""
        ...

    def publish_due(self, current_map: Map, *, is_busy: bool) -> float | None:
        """Publish what is rate-limited and due; return the seconds until more is due, if any.

        ``is_busy``: there are images to map; what takes long can wait.
        """
        ...

    def lose_pose(self) -> None:
        """Say no longer where the robot is, until the next update: a chunk was lost."""
        ...

    def clear(self) -> None:
        """Forget what was published: the map was reset."""
        ...
