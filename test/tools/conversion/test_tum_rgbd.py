import cv2
import numpy as np
import pytest

from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.sensors.depth_images import check_compressed_depth, decode_compressed_depth
from flashvggt_ros.tools.convert import main

START = 1_305_031_102_175_304_000
STAMPS = [START + number * 33_000_000 for number in range(8)]
TRUTH_STAMPS = [stamp + 4_000_000 for stamp in STAMPS]


def seconds(stamp_ns):
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9 // 1000:06d}"


@pytest.fixture
def sequence(tmp_path, poses, write_images):
    """A folder as it is published, with its images' bytes; depth is 1.5 m, and 0 in a corner."""
    folder = tmp_path / "rgbd_dataset_freiburg1_desk"
    names = [f"rgb/{seconds(stamp)}.png" for stamp in STAMPS]
    images = write_images([folder / name for name in names])
    lines = [f"{seconds(stamp)} {name}" for stamp, name in zip(STAMPS, names, strict=True)]
    (folder / "rgb.txt").write_text("# color images\n# file: 'x.bag'\n" + "\n".join(lines) + "\n")
    (folder / "depth").mkdir()
    depth = np.full((48, 64), 7500, np.uint16)
    depth[:10, :10] = 0
    depth[-1, -1] = 65535
    assert cv2.imwrite(str(folder / "depth/0.png"), depth)
    (folder / "depth.txt").write_text(
        f"# depth maps\n{seconds(STAMPS[2] + 9_000_000)} depth/0.png\n"
        f"{seconds(STAMPS[-1] + 90_000_000)} depth/gone.png\n"
    )
    write_tum(folder / "groundtruth.txt", TRUTH_STAMPS, poses)
    return folder, images


def test_stamps_poses_images_and_the_camera_of_the_name_come_through(
    sequence, convert, check, poses
):
    folder, images = sequence
    messages = convert("tum_rgbd", folder)
    info = check(messages, images, STAMPS, poses, TRUTH_STAMPS, (517.3, 516.5, 318.6, 255.3))
    assert info.d.tolist() == [0.2624, -0.9531, -0.0054, 0.0026, 1.1633]
    assert info.distortion_model == "plumb_bob"
    assert messages["/camera/image_raw/compressed"][0].format == "png"


def test_depth_beside_an_image_comes_in_millimeters(sequence, convert):
    (message,) = convert("tum_rgbd", sequence[0])["/camera/depth/image_raw/compressedDepth"]
    assert message.header.frame_id == "camera_optical"
    depth = decode_compressed_depth(*check_compressed_depth(message, 34.0))
    assert depth.shape == (48, 64)
    assert (depth[:10, :10] == 0).all()
    assert depth[20, 20] == pytest.approx(1.5)
    assert depth[-1, -1] == pytest.approx(13.107)


def test_a_folder_without_the_camera_or_the_index_says_what_to_do(tmp_path, capsys, sequence):
    other = sequence[0].rename(tmp_path / "desk")
    assert main(["tum_rgbd", str(other), "--output", str(tmp_path / "bag")]) == 2
    assert "contain freiburg1, freiburg2 or freiburg3" in capsys.readouterr().err
    folder = other.rename(tmp_path / "fr2_desk")
    (folder / "rgb.txt").unlink()
    assert main(["tum_rgbd", str(folder), "--output", str(tmp_path / "bag")]) == 2
    said = capsys.readouterr().err
    assert f"{folder} has no rgb.txt" in said and "https://cvg.cit.tum.de" in said


@pytest.mark.parametrize("stamp", ["inf", "nan", "1e30", "1e999999999", "3000000000", "-1"])
def test_a_stamp_that_ros_has_not_is_named_with_its_line(sequence, tmp_path, capsys, stamp):
    index = sequence[0] / "rgb.txt"
    index.write_text(f"# color images\n{stamp} rgb/0.png\n")
    assert main(["tum_rgbd", str(sequence[0]), "--output", str(tmp_path / "bag")]) == 2
    assert f"rgb.txt, line 2: not a time from 0 to 2147483647 seconds: {stamp}" in (
        capsys.readouterr().err
    )


def test_truth_before_time_begins_is_left_out(sequence, convert, poses):
    folder = sequence[0]
    (folder / "rgb.txt").write_text(f"0.5 rgb/{seconds(STAMPS[0])}.png\n")
    write_tum(folder / "groundtruth.txt", [-10**8, 6 * 10**8], poses[:2])
    assert len(convert("tum_rgbd", folder)["/ground_truth/pose"]) == 1


def test_a_depth_image_that_is_missing_and_an_index_that_is_no_text_are_named(
    sequence, tmp_path, capsys
):
    folder = sequence[0]
    words = ["tum_rgbd", str(folder), "--output", str(tmp_path / "bag")]
    (folder / "depth/0.png").unlink()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{folder / 'depth/0.png'} is missing: is the sequence unpacked whole?" in said
    (folder / "rgb.txt").write_bytes(b"\xff\xfe\x00")
    assert main(words) == 2
    assert f"{folder / 'rgb.txt'} is no text file" in capsys.readouterr().err


def test_true_poses_that_are_not_finite_are_left_out_and_counted(
    sequence, convert, check, poses, caplog
):
    folder, images = sequence
    truth = folder / "groundtruth.txt"
    lost = f"{seconds(STAMPS[1])} NaN NaN NaN NaN NaN NaN NaN\n"
    truth.write_text(lost + truth.read_text() + lost)
    check(convert("tum_rgbd", folder), images, STAMPS, poses, TRUTH_STAMPS,
          (517.3, 516.5, 318.6, 255.3))
    assert "groundtruth.txt: 2 true poses are not finite and were left out" in caplog.text


def test_of_images_with_one_stamp_the_first_is_kept_and_the_others_are_counted(
    sequence, convert, check, poses, caplog
):
    folder, images = sequence
    for name in ("rgb.txt", "depth.txt"):
        index = folder / name
        head, first, *rest = index.read_text().splitlines(keepends=True)
        if name == "rgb.txt":
            head, first = head + first, rest.pop(0)
        index.write_text(head + first + first + first.split()[0] + " other.png\n" + "".join(rest))
    messages = convert("tum_rgbd", folder)
    check(messages, images, STAMPS, poses, TRUTH_STAMPS, (517.3, 516.5, 318.6, 255.3))
    assert len(messages["/camera/depth/image_raw/compressedDepth"]) == 1
    assert caplog.text.count("2 images have the stamp of an earlier one and were left out") == 2


def test_names_of_images_may_have_blanks(sequence, convert, check, poses):
    folder, images = sequence
    (folder / "rgb").rename(folder / "left camera")
    index = folder / "rgb.txt"
    index.write_text(index.read_text().replace(" rgb/", "  left camera/").replace("\n", " \n"))
    check(convert("tum_rgbd", folder), images, STAMPS, poses, TRUTH_STAMPS,
          (517.3, 516.5, 318.6, 255.3))
