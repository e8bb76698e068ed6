"""All that a map is, at rest: what is written to disk, and what a loaded map begins with."""

from __future__ import annotations

from dataclasses import dataclass

from flashvggt_ros.mapping.gravity import UpDirection
from flashvggt_ros.mapping.ground_heights import GroundHeights
from flashvggt_ros.mapping.metric_scale import ScaleEstimate
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.trails import Trail


@dataclass(frozen=True, slots=True, eq=False)
class MapSnapshot:
    """Closed submaps, and the graph whose nodes they are, by number.

    ``trails``: paths of those that were merged into them, whose numbers fill the gaps. ``grounds``:
    what is known of the ground below each. ``scale`` and ``up``: what was measured of them last;
    None: nothing. ``loops``: how many were closed.
    """

    submaps: tuple[Submap, ...]
    trails: tuple[Trail, ...]
    graph: PoseGraph
    grounds: GroundHeights
    scale: ScaleEstimate | None
    up: UpDirection | None
    loops: int

    @classmethod
    def empty(cls) -> MapSnapshot:
        """Return what a new map begins with."""
        return cls((), (), PoseGraph(), GroundHeights(), None, None, 0)

    @property
    def end(self) -> int:
        """The number that the next submap gets."""
        return len(self.submaps) + len(self.trails)
