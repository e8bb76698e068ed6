"""A grid as map_server reads it."""

from pathlib import Path

import cv2
import numpy as np
import yaml

from flashvggt_ros.mapping.grid_file import write_grid
from flashvggt_ros.mapping.occupancy_grid import Grid

CELLS = np.array([[-1, 0, 100], [10, 50, 90]], np.int8)


def as_map_server_reads_it(folder: Path) -> tuple[dict, np.ndarray]:
    """Cells of map.yaml and map.pgm in trinary mode (nav2_map_server, map_io.cpp)."""
    header = yaml.safe_load((folder / "map.yaml").read_text())
    picture = cv2.imread(str(folder / header["image"]), cv2.IMREAD_GRAYSCALE)
    assert header["negate"] == 0
    occupied = (255 - picture[::-1].astype(float)) / 255
    cells = np.full(picture.shape, -1)
    cells[occupied > header["occupied_thresh"]] = 100
    cells[occupied < header["free_thresh"]] = 0
    return header, cells


def test_map_server_reads_free_occupied_and_unknown_where_they_are(tmp_path: Path) -> None:
    write_grid(tmp_path, Grid(0.05, np.array([-1.25, 2.0]), CELLS))
    header, cells = as_map_server_reads_it(tmp_path)
    assert header["resolution"] == 0.05
    assert header["origin"] == [-1.25, 2.0, 0.0]
    assert header["mode"] == "trinary"
    np.testing.assert_array_equal(cells, [[-1, 0, 100], [0, -1, 100]])
