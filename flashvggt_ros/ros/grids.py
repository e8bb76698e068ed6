"""The occupancy grid as nav_msgs/OccupancyGrid."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from nav_msgs.msg import MapMetaData, OccupancyGrid
from std_msgs.msg import Header

from flashvggt_ros.mapping.occupancy_grid import UNKNOWN, Grid
from flashvggt_ros.ros.messages import time_message


def grid_message(grid: Grid, frame_id: str, stamp_ns: int) -> OccupancyGrid:
    """Return a grid of at least one cell; it lies at height 0 of ``frame_id``."""
    height, width = grid.cells.shape
    x, y = (float(value) for value in grid.origin_xy)
    message = OccupancyGrid(
        header=Header(stamp=time_message(stamp_ns), frame_id=frame_id),
        info=MapMetaData(
            map_load_time=time_message(stamp_ns),
            resolution=grid.resolution,
            width=width,
            height=height,
            origin=Pose(position=Point(x=x, y=y), orientation=Quaternion(w=1.0)),
        ),
    )
    message.data = array.array("b", np.ascontiguousarray(grid.cells, np.int8).tobytes())
    return message


def unknown_grid(resolution: float) -> Grid:
    """Return a single cell of which nothing is known: costmaps do not take a grid without cells."""
    return Grid(resolution, np.zeros(2), np.full((1, 1), UNKNOWN, np.int8))
