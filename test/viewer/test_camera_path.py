import numpy as np

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.viewer.camera_layers import chosen_rows
from flashvggt_ros.viewer.camera_path import CameraPath


def path_of(cameras, submaps, loops=()):
    T_map_camera = np.tile(np.eye(4), (len(cameras), 1, 1))
    T_map_camera[:, 0, 3] = np.arange(len(cameras))
    frames = tuple(FrameStamp(number, camera) for number, camera in enumerate(cameras))
    return CameraPath(frames, T_map_camera, np.array(submaps, np.int64),
                      np.array(loops, np.int64).reshape(-1, 2))


def test_the_path_of_each_camera_is_a_line_of_its_own():
    path = path_of(["left", "right", "left", "right", "left"], [0] * 5)
    assert path.steps().tolist() == [[0, 2], [2, 4], [1, 3]]
    assert path_of(["left"], [0]).steps().shape == path_of([], []).steps().shape == (0, 2)


def test_loops_join_the_middle_keyframes_of_submaps_that_are_there():
    path = path_of(["left"] * 6, [0, 0, 0, 4, 4, 4], [(0, 4), (0, 9)])
    (ends,) = path.loop_ends()
    assert ends[:, 0].tolist() == [1.0, 4.0]


def test_frustums_are_bounded_even_and_show_the_newest_and_seldom_change():
    for count in (0, 1, 2, 39, 40, 41, 1000):
        rows = chosen_rows(count, 40)
        assert len(rows) <= 40
        assert rows[-1:] == [count - 1][: len(rows)]
    assert chosen_rows(10, 40) == list(range(10))
    assert set(chosen_rows(100, 40)) - {99} <= set(chosen_rows(101, 40))
