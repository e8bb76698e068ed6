import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.tools.conversion.euroc import TRUTH
from flashvggt_ros.tools.convert import main

START = 1_403_636_579_763_555_584
STAMPS = [START + number * 50_000_000 for number in range(8)]
T_BODY_CAMERA = se3.pose(
    se3.matrix_from_quaternion(np.array([0.5, -0.5, 0.5, -0.5])), np.array([-0.02, -0.06, 0.01])
)
SENSOR = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)

# Sensor extrinsics wrt. the body-frame.
T_BS:
  cols: 4
  rows: 4
  data: [{data}]

# Camera specific definitions.
rate_hz: 20
resolution: [64, 48]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: {model}
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""


@pytest.fixture
def sequence(tmp_path, poses, write_images):
    """A folder as it is published; the truth is of the body."""
    root = tmp_path / "V1_01_easy/mav0"
    images = write_images([root / f"cam0/data/{stamp}.png" for stamp in STAMPS], is_gray=True)
    rows = "".join(f"{stamp},{stamp}.png\r\n" for stamp in STAMPS)
    (root / "cam0/data.csv").write_text("#timestamp [ns],filename\r\n" + rows)
    (root / "cam0/sensor.yaml").write_text(SENSOR.format(
        data=", ".join(map(repr, T_BODY_CAMERA.ravel().tolist())), model="radial-tangential"
    ))
    (root / "state_groundtruth_estimate0").mkdir()
    lines = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x []"]
    for stamp, T in zip(STAMPS, poses @ se3.inverse(T_BODY_CAMERA), strict=True):
        x, y, z, w = se3.quaternion_from_matrix(T[:3, :3])
        lines.append(",".join(map(str, [stamp + 2, *T[:3, 3], w, x, y, z, *[0.0] * 9])))
    (root / "state_groundtruth_estimate0/data.csv").write_text("\n".join(lines) + "\n")
    return root.parent, images


def test_the_truth_of_the_body_becomes_that_of_the_camera(sequence, convert, check, poses):
    folder, images = sequence
    messages = convert("euroc", folder)
    info = check(messages, images, STAMPS, poses, [stamp + 2 for stamp in STAMPS],
                 (458.654, 457.296, 367.215, 248.375))
    assert info.distortion_model == "plumb_bob"
    assert info.d.tolist() == [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0]


def test_a_fisheye_lens_is_called_equidistant(sequence, convert):
    sensor = sequence[0] / "mav0/cam0/sensor.yaml"
    sensor.write_text(sensor.read_text().replace("radial-tangential", "equidistant"))
    info = convert("euroc", sequence[0] / "mav0")["/camera/camera_info"][0]
    assert info.distortion_model == "equidistant"
    assert len(info.d) == 4


def test_what_is_missing_or_not_understood_is_named(sequence, tmp_path, capsys):
    folder = sequence[0]
    words = ["euroc", str(folder), "--output", str(tmp_path / "bag")]
    sensor = folder / "mav0/cam0/sensor.yaml"
    sensor.write_text("distortion_model: moustache\n")
    assert main(words) == 2
    assert "sensor.yaml is no description of a pinhole camera" in capsys.readouterr().err
    (folder / "mav0/cam0/data.csv").unlink()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "has no cam0/data.csv" in said and "https://doi.org/" in said


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        (TRUTH, f"{STAMPS[0]},0,0,0,0,0,0,0", "has a row that is no pose"),
        (TRUTH, f"{STAMPS[0]},lost,0,0,1,0,0,0", "has a row that is no pose"),
        (TRUTH, f"{STAMPS[0]},1e300,0,0,1,0,0,0", "pose 8 is no rotation and place"),
        ("cam0", "9" * 30 + ",9.png", "beyond those of ROS"),
        ("cam0", "9" * 5000 + ",9.png", "has a stamp that is no number of nanoseconds"),
        ("cam0", f"{STAMPS[-1] + 1}," + "y" * 200_000, "is no table"),
    ],
    ids=["no rotation", "no number", "far away", "late", "a long stamp", "a long name"],
)
def test_a_row_with_impossible_numbers_is_an_error(sequence, tmp_path, capsys, file, row, words):
    with (sequence[0] / f"mav0/{file}/data.csv").open("a") as table:
        table.write(f"{row}\n")
    assert main(["euroc", str(sequence[0]), "--output", str(tmp_path / "bag")]) == 2
    assert words in capsys.readouterr().err


def test_true_poses_that_are_not_finite_are_left_out_and_counted(
    sequence, convert, check, poses, caplog
):
    folder, images = sequence
    table = folder / f"mav0/{TRUTH}/data.csv"
    table.write_text(table.read_text() + f"{STAMPS[0] + 1},nan,nan,nan,nan,nan,nan,nan,0\n")
    check(convert("euroc", folder), images, STAMPS, poses, [stamp + 2 for stamp in STAMPS],
          (458.654, 457.296, 367.215, 248.375))
    assert "data.csv: 1 true poses are not finite and were left out" in caplog.text
