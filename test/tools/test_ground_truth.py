import numpy as np
import pytest
from recorded_bag import odometry, pose_stamped, tf_message, transform_stamped, write_bag

from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.tools.ground_truth import read_ground_truth
from flashvggt_ros.worlds import walk

START = 1_700_000_000_123_456_789
STAMPS = [START + i * 100_000_001 for i in range(12)]
TRUTH = walk(12)


def message(kind, T, stamp):
    if kind == "pose":
        return pose_stamped(T, stamp)
    if kind == "odometry":
        return odometry(T, stamp)
    if kind == "transform":
        return transform_stamped(T, stamp, "camera")
    transforms = [transform_stamped(T, stamp, "camera")]
    if kind == "tf_of_two":
        transforms.append(transform_stamped(np.eye(4), stamp, "chair"))
    return tf_message(transforms)


@pytest.mark.parametrize("kind", ["pose", "odometry", "transform", "tf", "tf_of_two"])
def test_every_kind_of_pose_topic_gives_the_poses_and_exact_stamps(tmp_path, kind):
    pairs = [("/truth", stamp, message(kind, T, stamp))
             for stamp, T in zip(STAMPS, TRUTH, strict=True)]
    bag = write_bag(tmp_path / "bag", pairs)
    truth = read_ground_truth(f"{bag}:/truth" + (":world.camera" if kind == "tf_of_two" else ""))
    assert truth.stamps_ns == STAMPS
    assert truth.T_world_camera == pytest.approx(TRUTH, abs=1e-12)


def test_a_tum_file_gives_the_poses_in_order_of_time(tmp_path):
    path = tmp_path / "truth.tum"
    write_tum(path, STAMPS[::-1], TRUTH[::-1])
    truth = read_ground_truth(str(path))
    assert truth.stamps_ns == STAMPS
    assert truth.T_world_camera == pytest.approx(TRUTH, abs=1e-9)


def test_a_transform_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path):
    transforms = [transform_stamped(np.eye(4), START, child) for child in ("chair", "camera")]
    bag = write_bag(tmp_path / "bag", [("/tf", START, tf_message(transforms))])
    with pytest.raises(ValueError, match=r"world\.camera, world\.chair"):
        read_ground_truth(f"{bag}:/tf")
    with pytest.raises(ValueError, match=r"/tf \(tf2_msgs/msg/TFMessage\)"):
        read_ground_truth(f"{bag}:/odom")


@pytest.mark.parametrize("kind", ["pose", "odometry", "transform"])
def test_frames_that_a_topic_does_not_have_are_refused_with_those_that_it_has(tmp_path, kind):
    bag = write_bag(tmp_path / "bag", [("/truth", START, message(kind, np.eye(4), START))])
    has = "world" if kind == "pose" else r"world\.camera"
    assert read_ground_truth(f"{bag}:/truth:{has.replace(chr(92), '')}").stamps_ns == [START]
    with pytest.raises(ValueError, match=rf"no poses of 'map\.base': .*it has: {has}$"):
        read_ground_truth(f"{bag}:/truth:map.base")


def test_poses_in_several_frames_are_told_apart_and_never_mixed(tmp_path):
    messages = [("/pose", stamp, pose_stamped(T, stamp))
                for stamp, T in zip(STAMPS, TRUTH, strict=True)]
    for _, _, entry in messages[::2]:
        entry.header.frame_id = "odom"
    bag = write_bag(tmp_path / "bag", messages)
    assert read_ground_truth(f"{bag}:/pose:odom").stamps_ns == STAMPS[::2]
    assert read_ground_truth(f"{bag}:/pose:world").stamps_ns == STAMPS[1::2]
    with pytest.raises(ValueError, match="it has: odom, world"):
        read_ground_truth(f"{bag}:/pose")


@pytest.mark.parametrize(("line", "form"), [
    ("1 0 0 0.1 0 1 0 0.2 0 0 1 0.3", "kitti_odometry"),
    ("1403636580838555648,4.68,-1.78,0.78,0.53,-0.15,-0.82,-0.08,0,0,0,0,0,0,0,0,0", "euroc"),
    ("1403636580838555648,4.68,-1.78,0.78,0.53,-0.15,-0.82,-0.08", "euroc"),
])
def test_a_file_of_a_data_set_is_refused_with_the_remedy(tmp_path, line, form):
    path = tmp_path / "truth.txt"
    path.write_text(f"#timestamp, p_RS_R_x [m]\n{line}\n")
    with pytest.raises(ValueError, match=f"line 2: not a pose .*'flashvggt_convert {form} FOLDER"):
        read_ground_truth(str(path))
    path.write_text("x" + line)
    with pytest.raises(ValueError, match="not a pose in TUM format") as refused:
        read_ground_truth(str(path))
    assert ("flashvggt_convert" in str(refused.value)) == (form == "kitti_odometry")


def test_a_file_of_other_columns_is_refused_with_the_line(tmp_path):
    path = tmp_path / "truth.tum"
    lost = "1 nan nan nan 0 0 0 0\n"
    path.write_text(f"{lost}2 1 2 3 0.01 -0.70 0.70 0.01\n")
    assert read_ground_truth(str(path)).lost == 1
    path.write_text(f"{lost}2 0 0 0 1 1 2 3\n")  # the quaternion first
    with pytest.raises(ValueError, match=r"line 2: its quaternion has length 3\.87, not 1: the"):
        read_ground_truth(str(path))


@pytest.mark.parametrize("w", [0.0, 0.5])
def test_a_quaternion_that_is_no_rotation_is_refused(tmp_path, w):
    broken = pose_stamped(np.eye(4), START)
    broken.pose.orientation.w = w
    bag = write_bag(tmp_path / "bag", [("/truth", START, broken)])
    with pytest.raises(ValueError, match="not a rotation"):
        read_ground_truth(f"{bag}:/truth")


def test_a_position_that_is_no_place_is_refused(tmp_path):
    broken = pose_stamped(np.eye(4), START)
    broken.pose.position.x = 1e300
    bag = write_bag(tmp_path / "bag", [("/truth", START, broken)])
    with pytest.raises(ValueError, match="not a place"):
        read_ground_truth(f"{bag}:/truth")


@pytest.mark.parametrize("x", [float("nan"), float("inf")])
def test_poses_of_a_topic_that_are_not_finite_are_left_out_and_counted(tmp_path, x):
    lost = pose_stamped(np.eye(4), START + 1)
    lost.pose.position.x = lost.pose.orientation.w = x
    messages = [("/lost", START, lost), ("/truth", START, lost),
                ("/truth", STAMPS[3], pose_stamped(TRUTH[3], STAMPS[3]))]
    bag = write_bag(tmp_path / "bag", messages)
    truth = read_ground_truth(f"{bag}:/truth")
    assert (truth.stamps_ns, truth.lost) == ([STAMPS[3]], 1)
    assert truth.T_world_camera == pytest.approx(TRUTH[3:4], abs=1e-12)
    with pytest.raises(ValueError, match="has 1 poses, none of them finite"):
        read_ground_truth(f"{bag}:/lost")


def test_a_source_that_is_nothing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.tum is no ground-truth file"):
        read_ground_truth(str(tmp_path / "nothing.tum"))
