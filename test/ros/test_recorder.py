import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from flashvggt_ros.msg import MapStatus
from geometry_msgs.msg import PoseWithCovariance, Quaternion
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.ros.clouds import cloud_message
from flashvggt_ros.ros.messages import (
    odometry_message,
    path_message,
    pose_stamped,
    transform_stamped,
)
from flashvggt_ros.ros.recorder import main
from flashvggt_ros.ros.recording_folder import RecordingFolder
from flashvggt_ros.worlds import walk

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = int(os.environ["ROS_DOMAIN_ID"])
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STAMPS = [1_700_000_000_123_456_789 + i * 100_000_001 for i in range(5)]
T_MAP_CAMERA = walk(5)
SHIFT = np.eye(4)
SHIFT[:3, 3] = (0.1, 0.2, 0.3)  # what a correction of the map did


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("mapping", context=context, namespace="/robot",
                             use_global_arguments=False)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def contents(folder):
    """The text of each file in a folder, by name."""
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def wait_for(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_duration_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--output", str(tmp_path), "--duration", "-3"])
    assert ended.value.code == 2
    assert "-3 is no number of 0 or more" in capsys.readouterr().err


def test_a_node_of_an_impossible_name_is_refused(tmp_path, capsys):
    assert main(["--output", str(tmp_path), "--node", "/a b"]) == 2
    assert "flashvggt_record: --node /a b: Invalid topic name" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["notes.txt", "keyframes.tum", ".hidden", "map", "map.ply"])
def test_a_folder_with_other_files_is_refused_and_keeps_them(tmp_path, capsys, name):
    (tmp_path / "trajectory.tum").write_text("of somebody")
    (tmp_path / name).mkdir()
    assert main(["--output", str(tmp_path), "--duration", "0.1"]) == 2
    assert f"{tmp_path} holds other files ({name}): name a new folder" in capsys.readouterr().err
    assert contents(tmp_path) == {"trajectory.tum": "of somebody"}


def test_an_earlier_recording_and_its_scores_are_replaced(tmp_path, node):
    publisher = node.create_publisher(PointCloud2, "~/map_cloud", LATCHED)
    publisher.publish(cloud_message(np.zeros((7, 3), np.float32), np.zeros((7, 3), np.uint8), "map",
                                    STAMPS[0]))
    words = ["--output", str(tmp_path), "--duration", "4", "--node", "/robot/mapping"]
    assert main(words) == 0
    written = {entry.name for entry in tmp_path.iterdir()}
    (tmp_path / "map.ply").write_text("of before")
    for name in ("metrics.json", "errors.json", "evaluation.png", "report.md", "report.html",
                 ".status.jsonl.partial", ".metrics.json.partial"):
        (tmp_path / name).write_text("of before")
    (tmp_path / "recorder.log").touch()
    assert main(words) == 0
    assert {entry.name for entry in tmp_path.iterdir()} == written | {"recorder.log"}
    assert len(read_ply(tmp_path / "map.ply")[0]) == 7


def test_an_earlier_recording_stays_where_nothing_comes_and_the_node_meant_is_named(
    tmp_path, node, capsys, monkeypatch
):
    monkeypatch.setattr("flashvggt_ros.ros.recorder.NOTICE_S", 3.0)
    node.create_publisher(MapStatus, "~/status", 1)
    tf = node.create_publisher(TFMessage, "/tf", LATCHED)
    tf.publish(TFMessage(transforms=[transform_stamped("map", "camera", np.eye(4), STAMPS[0])]))
    before = {"trajectory.tum": "of before", "status.jsonl": "{}", "metrics.json": "{}"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    assert main(["--output", str(tmp_path), "--duration", "4", "--node", "/maping"]) == 1
    said = ("flashvggt_record: nothing came from /maping; mapping nodes that are seen: "
            "/robot/mapping (--node NAME names one); ")
    written = f"nothing was written to {tmp_path}"
    assert capsys.readouterr().err == f"{said}waiting\n{said}{written}\n"
    assert contents(tmp_path) == before
    assert main(["--output", str(tmp_path), "--node", "/a b"]) == 2
    assert contents(tmp_path) == before


def test_two_recordings_into_one_folder_are_refused(tmp_path, capsys):
    with RecordingFolder(tmp_path) as first:
        for step in (lambda: None, first.begin, first.begin):
            step()
            first.add_status("{}")
            before = contents(tmp_path)
            assert main(["--output", str(tmp_path), "--duration", "0.1"]) == 2
            assert f"{tmp_path} is in use: another recording" in capsys.readouterr().err
            assert contents(tmp_path) == before
    assert contents(tmp_path) == {"status.jsonl": "{}\n{}\n{}\n"}


def test_what_a_node_publishes_is_written_down(tmp_path, node):
    publishers = {
        "odometry": node.create_publisher(Odometry, "~/odometry", 100),
        "path": node.create_publisher(PathMessage, "~/path", LATCHED),
        "map_cloud": node.create_publisher(PointCloud2, "~/map_cloud", LATCHED),
        "status": node.create_publisher(MapStatus, "~/status", LATCHED),
        "tf": node.create_publisher(TFMessage, "/tf", 100),
    }
    recorder = subprocess.Popen(
        [sys.executable, "-m", "flashvggt_ros.ros.recorder", "--output", str(tmp_path / "out"),
         "--node", "/robot/mapping"], cwd=ROOT,
    )
    wait_for(lambda: all(p.get_subscription_count() for p in publishers.values()), "no recorder")
    for stamp, T in zip(STAMPS, T_MAP_CAMERA, strict=True):
        publishers["odometry"].publish(odometry_message(np.eye(4), stamp, "map", "camera"))
        publishers["odometry"].publish(odometry_message(T, stamp, "map", "camera"))
    corrected = [
        pose_stamped(SHIFT @ T, s, "map") for s, T in zip(STAMPS, T_MAP_CAMERA, strict=True)
    ]
    publishers["path"].publish(path_message(corrected[:3], "map"))
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    colors = np.arange(30, dtype=np.uint8).reshape(10, 3)
    publishers["map_cloud"].publish(cloud_message(points, colors, "map", STAMPS[-1]))
    transform = transform_stamped("map", "camera", T_MAP_CAMERA[0], STAMPS[0])
    publishers["tf"].publish(TFMessage(transforms=[transform]))
    publishers["status"].publish(MapStatus(frames_received=7, rejected_causes=["truncated"],
                                           rejected_counts=[2]))
    status_file = tmp_path / "out/status.jsonl"
    wait_for(lambda: status_file.exists() and status_file.read_text(), "no status was recorded")
    time.sleep(0.5)
    recorder.send_signal(signal.SIGINT)
    recorder.send_signal(signal.SIGINT)  # as ros2 launch may do
    assert recorder.wait(20) == 0

    stamps, poses = read_tum(tmp_path / "out/odometry.tum")
    assert stamps == STAMPS
    assert poses == pytest.approx(T_MAP_CAMERA, abs=1e-9)
    stamps, poses = read_tum(tmp_path / "out/trajectory.tum")
    assert stamps == STAMPS[:3]
    assert poses == pytest.approx(SHIFT @ T_MAP_CAMERA[:3], abs=1e-9)
    recorded_points, recorded_colors = read_ply(tmp_path / "out/map.ply")
    assert (recorded_points == points).all()
    assert (recorded_colors == colors).all()
    status = json.loads(status_file.read_text().splitlines()[-1])
    assert status["frames_received"] == 7
    assert dict(zip(status["rejected_causes"], status["rejected_counts"], strict=True)) == {
        "truncated": 2
    }
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["messages"]["/robot/mapping/odometry"] == 10
    assert report["messages"]["/robot/mapping/cloud"] == 0
    assert report["transforms"] == ["map->camera"]


def test_poses_that_are_none_are_left_out_and_counted(tmp_path, node):
    publishers = {
        "odometry": node.create_publisher(Odometry, "~/odometry", 100),
        "path": node.create_publisher(PathMessage, "~/path", LATCHED),
    }
    recorder = subprocess.Popen(
        [sys.executable, "-m", "flashvggt_ros.ros.recorder", "--output", str(tmp_path / "out"),
         "--node", "/robot/mapping"], cwd=ROOT,
    )
    wait_for(lambda: all(p.get_subscription_count() for p in publishers.values()), "no recorder")
    poses = [pose_stamped(T, s, "map") for s, T in zip(STAMPS, T_MAP_CAMERA, strict=True)]
    poses[1].pose.orientation = Quaternion(w=0.0)
    poses[2].pose.orientation.x = float("nan")
    poses[3].pose.position.x = float("inf")
    for entry in poses:
        publishers["odometry"].publish(Odometry(header=entry.header, pose=PoseWithCovariance(
            pose=entry.pose)))
    publishers["path"].publish(path_message(poses, "map"))
    wait_for((tmp_path / "out/status.jsonl").exists, "no message came")
    time.sleep(1.0)
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(20) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["poses_rejected"] == report["odometry_rejected"] == 3
    for name in ("odometry.tum", "trajectory.tum"):
        stamps, T = read_tum(tmp_path / "out" / name)
        assert stamps == [STAMPS[0], STAMPS[4]]
        assert pytest.approx(T_MAP_CAMERA[[0, 4]], abs=1e-9) == T
