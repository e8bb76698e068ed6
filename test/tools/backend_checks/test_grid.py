"""Grids are scored cell by cell, wherever their corners lie."""

import numpy as np
import pytest

from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.tools.backend_checks.grid import compare_grids
from flashvggt_ros.worlds import TrueGrid

RESOLUTION = 0.05


def room() -> np.ndarray:
    """A room of 20 x 30 cells with walls one cell thick, and nothing known around it."""
    cells = np.full((40, 50), -1, np.int8)
    cells[10:30, 10:40] = 100
    cells[11:29, 11:39] = 0
    return cells


TRUTH = TrueGrid(room(), np.array([-1.0, -0.5]), RESOLUTION)


def grid(cells: np.ndarray, shift: tuple[int, int] = (0, 0)) -> Grid:
    """Cells as a map has them, moved by columns and rows."""
    return Grid(RESOLUTION, TRUTH.origin + RESOLUTION * np.array(shift), cells)


def test_the_same_grid_has_full_marks_also_if_it_is_cut_to_what_is_known() -> None:
    for ours in (grid(room()), grid(room()[8:32, 9:41], shift=(9, 8))):
        score = compare_grids(ours, TRUTH)
        assert (score.occupied, score.free) == (1.0, 1.0)
        assert score.hidden_known == 0.0


def test_walls_that_are_off_by_a_cell_are_wrong() -> None:
    score = compare_grids(grid(room(), shift=(1, 1)), TRUTH)
    assert score.occupied < 0.1
    assert 0.8 < score.free < 0.95


def test_an_empty_grid_has_no_marks() -> None:
    score = compare_grids(grid(np.full((5, 5), -1, np.int8)), TRUTH)
    assert (score.occupied, score.free) == (0.0, 0.0)


def test_free_cells_behind_walls_are_counted_against_the_hidden_ones() -> None:
    cells = room()
    cells[:5, :10] = 0
    score = compare_grids(grid(cells), TRUTH)
    hidden = 40 * 50 - 26 * 36  # the room and three cells around it might be seen
    assert score.hidden_known == pytest.approx(50 / hidden)


def test_what_is_as_likely_free_as_occupied_counts_as_occupied() -> None:
    cells = room()
    cells[cells == 0] = 49
    cells[cells == 100] = 50
    score = compare_grids(grid(cells), TRUTH)
    assert (score.occupied, score.free) == (1.0, 1.0)
