"""Occupancy grids as the files that Nav2's map_server reads: map.yaml and map.pgm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flashvggt_ros.mapping.occupancy_grid import UNKNOWN, Grid

YAML, PGM = "map.yaml", "map.pgm"
OCCUPIED_FROM, FREE_BELOW = 0.65, 0.196  # map_server's own thresholds
BLACK, UNKNOWN_GRAY, WHITE = 0, 205, 254  # as map_saver draws them


def write_grid(folder: Path, grid: Grid) -> None:
    """Write a grid that has cells in map_server's trinary mode: free, occupied or unknown.

    Cells between both thresholds are unknown. The first row of the picture is the one with the
    largest y. Cells of a grid read by map_server are 0, 100 and -1.
    """
    share = grid.cells / 100.0
    picture = np.full(grid.cells.shape, UNKNOWN_GRAY, np.uint8)
    picture[share > OCCUPIED_FROM] = BLACK
    picture[(share < FREE_BELOW) & (grid.cells != UNKNOWN)] = WHITE
    header = "P5\n{1} {0}\n255\n".format(*picture.shape).encode("ascii")
    (folder / PGM).write_bytes(header + np.ascontiguousarray(picture[::-1]).tobytes())
    x, y = (float(value) for value in grid.origin_xy)
    lines = (
        f"image: {PGM}",
        "mode: trinary",
        f"resolution: {grid.resolution!r}",
        f"origin: [{x!r}, {y!r}, 0.0]",
        "negate: 0",
        f"occupied_thresh: {OCCUPIED_FROM}",
        f"free_thresh: {FREE_BELOW}",
    )
    (folder / YAML).write_text("\n".join(lines) + "\n", "ascii")
