import numpy as np

from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.viewer.grid_layer import FREE_COLOR, LARGEST, OCCUPIED_COLOR, grid_picture


def test_rows_are_turned_over_and_unknown_cells_are_transparent():
    picture = grid_picture(Grid(0.1, np.zeros(2), np.array([[0, 100], [-1, -1]], np.int8)))
    assert picture[1, :, :3].tolist() == [list(FREE_COLOR), list(OCCUPIED_COLOR)]
    assert (picture[1, :, 3] > 0).all()
    assert picture[0, :, 3].tolist() == [0, 0]


def test_a_large_grid_is_made_coarser():
    picture = grid_picture(Grid(0.05, np.zeros(2), np.zeros((2 * LARGEST, LARGEST), np.int8)))
    assert picture.shape == (LARGEST, LARGEST // 2, 4)
