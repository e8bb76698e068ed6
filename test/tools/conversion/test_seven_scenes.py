import numpy as np
import pytest

from flashvggt_ros.tools.conversion.recording import START_NS
from flashvggt_ros.tools.convert import main

STAMPS = [START_NS + round(number * 1e9 / 30) for number in range(8)]


@pytest.fixture
def sequence(tmp_path, poses, write_images):
    folder = tmp_path / "chess/seq-01"
    images = write_images([folder / f"frame-{number:06d}.color.png" for number in range(8)])
    for number, T in enumerate(poses):
        text = "\n".join("\t ".join(f"{value: .9e}" for value in row) for row in T)
        (folder / f"frame-{number:06d}.pose.txt").write_text(text + "\n")
    return folder, images


def test_images_at_30_hz_with_their_poses_come_through(sequence, convert, check, poses):
    folder, images = sequence
    messages = convert("seven_scenes", folder)
    info = check(messages, images, STAMPS, poses, STAMPS, (525, 525, 320, 240))
    assert not info.d.any()


def test_every_third_image_keeps_its_time_and_its_pose(sequence, convert):
    messages = convert("seven_scenes", sequence[0], "--every", "3", "--max-frames", "2")
    images = messages["/camera/image_raw/compressed"]
    assert [image.header.stamp.nanosec for image in images] == [0, 100_000_000]
    assert images[1].data.tobytes() == sequence[1][3]


def test_a_lost_pose_is_left_out_and_a_missing_one_named(sequence, convert, tmp_path, capsys):
    folder = sequence[0]
    (folder / "frame-000002.pose.txt").write_text("\t".join(["-1.#IND000e+000", "1.#QNAN"] * 8))
    messages = convert("seven_scenes", folder)
    assert len(messages["/ground_truth/pose"]) == 7
    assert np.size(messages["/camera/image_raw/compressed"]) == 8
    (folder / "frame-000002.pose.txt").unlink()
    assert main(["seven_scenes", str(folder), "--output", str(tmp_path / "bag")]) == 2
    assert "has no frame-000002.pose.txt" in capsys.readouterr().err
    assert main(["seven_scenes", str(tmp_path), "--output", str(tmp_path / "bag")]) == 2
    said = capsys.readouterr().err
    assert "has no frame-000000.color.png" in said and "microsoft.com" in said


@pytest.mark.parametrize("rows", [np.zeros((4, 4)), np.diag([-1.0, 1, 1, 1]), 2 * np.eye(4),
                                  np.eye(4) + 1e300 * np.eye(4, k=3)])
def test_a_pose_that_is_no_rotation_and_place_is_named(sequence, tmp_path, capsys, rows):
    np.savetxt(sequence[0] / "frame-000003.pose.txt", rows)
    assert main(["seven_scenes", str(sequence[0]), "--output", str(tmp_path / "bag")]) == 2
    assert "frame-000003.pose.txt: pose 0 is no rotation and place" in capsys.readouterr().err


def test_a_number_beyond_the_stamps_of_ros_is_named(sequence, tmp_path, capsys):
    folder, name = sequence[0], "frame-99999999999999999999"
    for kind in ("color.png", "pose.txt"):
        (folder / f"frame-000007.{kind}").rename(folder / f"{name}.{kind}")
    assert main(["seven_scenes", str(folder), "--output", str(tmp_path / "bag")]) == 2
    said = capsys.readouterr().err
    assert f"{name}.color.png: the stamps, from" in said and "beyond those of ROS" in said
