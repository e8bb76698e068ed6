import numpy as np

from flashvggt_ros.viewer.palette import GRAY, SUBMAPS, VERMILION, submap_colors


def test_submaps_take_turns_and_merged_ones_are_gray():
    colors = submap_colors(np.array([0, 1, len(SUBMAPS), -1])).tolist()
    assert colors == [list(SUBMAPS[0]), list(SUBMAPS[1]), list(SUBMAPS[0]), list(GRAY)]
    assert VERMILION not in SUBMAPS, "the color of loops"
