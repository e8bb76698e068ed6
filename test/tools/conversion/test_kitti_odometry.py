from pathlib import Path

import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.tools.conversion.kitti_odometry import read_kitti_odometry
from flashvggt_ros.tools.conversion.recording import START_NS
from flashvggt_ros.tools.convert import main

STAMPS = [START_NS + number * 103_736_200 for number in range(8)]
K = np.array([[718.856, 0, 607.1928], [0, 718.856, 185.2157], [0, 0, 1]])
OFFSET = np.array([0.06, -0.001, 0.003])  # of the gray camera, seen from the color camera


def row(matrix):
    return " ".join(f"{value:.12e}" for value in np.ravel(matrix))


@pytest.fixture
def sequence(tmp_path, poses, write_images):
    """A folder as it is published; the truth is of the gray camera."""
    folder = tmp_path / "dataset/sequences/07"
    images = write_images([folder / f"image_2/{number:06d}.png" for number in range(8)])
    times = [f"{number * 0.1037362:.6e}" for number in range(8)]
    (folder / "times.txt").write_text("\n".join(times) + "\n")
    gray = np.hstack([K, np.zeros((3, 1))])
    color = K @ np.hstack([np.eye(3), OFFSET[:, None]])
    (folder / "calib.txt").write_text(f"P0: {row(gray)}\nP2: {row(color)}\nTr: {row(gray)}\n")
    (tmp_path / "dataset/poses").mkdir()
    T_color_gray = se3.pose(np.eye(3), OFFSET)
    rows = [row(T[:3]) for T in poses @ T_color_gray]
    (tmp_path / "dataset/poses/07.txt").write_text("\n".join(rows) + "\n")
    return folder, images


def test_the_truth_of_the_gray_camera_becomes_that_of_the_color_camera(
    sequence, convert, check, poses
):
    folder, images = sequence
    messages = convert("kitti_odometry", folder)
    stamps = [START_NS + round(float(f"{number * 0.1037362:.6e}") * 1e9) for number in range(8)]
    check(messages, images, stamps, poses, stamps, (718.856, 718.856, 607.1928, 185.2157))


def test_a_sequence_right_below_the_root_is_read_too(sequence, monkeypatch):
    monkeypatch.setattr(Path, "resolve", lambda path: Path("/07"))  # as in a container
    assert len(read_kitti_odometry(sequence[0]).images) == 8


def test_a_sequence_without_poses_becomes_a_bag_without_truth(sequence, convert, capsys):
    folder = sequence[0].rename(sequence[0].with_name("11"))
    messages = convert("kitti_odometry", folder)
    assert "no true poses" in capsys.readouterr().err
    assert len(messages["/camera/image_raw/compressed"]) == 8
    assert "/ground_truth/pose" not in messages


def test_what_is_missing_is_named(sequence, tmp_path, capsys):
    folder = sequence[0]
    words = ["kitti_odometry", str(folder), "--output", str(tmp_path / "bag")]
    poses = tmp_path / "dataset/poses/07.txt"
    poses.write_text("\n".join(poses.read_text().splitlines()[:5]))
    assert main(words) == 2
    assert "has 5 poses for 8 images" in capsys.readouterr().err
    (folder / "calib.txt").write_text("P0: 1 2 3\n")
    assert main(words) == 2
    assert "has no P2 of 12 numbers" in capsys.readouterr().err
    (folder / "calib.txt").unlink()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "has no calib.txt" in said and "cvlibs.net" in said


@pytest.mark.parametrize("time", ["nan", "inf", "1e999999999", "1e12"])
def test_a_time_that_ros_has_not_is_named(sequence, tmp_path, capsys, time):
    (sequence[0] / "times.txt").write_text(f"0.0\n{time}\n")
    assert main(["kitti_odometry", str(sequence[0]), "--output", str(tmp_path / "bag")]) == 2
    said = capsys.readouterr().err
    assert f"times.txt: not a time from 0 to 2147483647 seconds: {time}" in said


def test_a_pose_and_a_projection_that_are_none_are_named(sequence, tmp_path, capsys):
    folder = sequence[0]
    words = ["kitti_odometry", str(folder), "--output", str(tmp_path / "bag")]
    poses = tmp_path / "dataset/poses/07.txt"
    lines = poses.read_text().splitlines()
    poses.write_text("\n".join([*lines[:3], " ".join(["nan"] * 12), *lines[4:]]))
    assert main(words) == 2
    assert "poses/07.txt: pose 3 is no rotation and place" in capsys.readouterr().err
    (folder / "calib.txt").write_text(f"P2: {' '.join(['0'] * 12)}\n")
    assert main(words) == 2
    assert "calib.txt: P2 is no projection of a camera" in capsys.readouterr().err
