import os
import subprocess
import sys
from pathlib import Path

import pytest

from flashvggt_ros.ros.environment import add_wheels_to_prefix_path

ROOT = Path(__file__).parents[2]


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Python prefix into which pip installed rclpy."""
    marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "rclpy"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return str(tmp_path)


def test_wheels_are_found_when_nothing_is_sourced(
    wheels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    add_wheels_to_prefix_path()
    assert os.environ["AMENT_PREFIX_PATH"] == wheels


def test_a_workspace_keeps_its_precedence_over_the_wheels(
    wheels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/workspace/install")
    add_wheels_to_prefix_path()
    add_wheels_to_prefix_path()
    assert os.environ["AMENT_PREFIX_PATH"] == f"/workspace/install{os.pathsep}{wheels}"


def test_a_sourced_ros_installation_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    add_wheels_to_prefix_path()
    assert os.environ["AMENT_PREFIX_PATH"] == "/opt/ros/jazzy"


def test_the_messages_can_be_published_by_a_process_that_sources_nothing() -> None:
    if not (Path(sys.prefix) / "share/ament_index/resource_index/packages/rclpy").is_file():
        pytest.skip("this rclpy was not installed by pip")
    environment = {key: value for key, value in os.environ.items() if key != "AMENT_PREFIX_PATH"}
    program = """
import flashvggt_ros.ros
import rclpy
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap
from tf2_msgs.msg import TFMessage

rclpy.init()
node = rclpy.create_node("publisher")
node.create_publisher(MapStatus, "status", 1).publish(MapStatus(frames_received=2))
node.create_publisher(TFMessage, "tf", 1).publish(TFMessage())
node.create_service(SaveMap, "save_map", lambda request, response: response)
node.destroy_node()
rclpy.try_shutdown()
"""
    subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, check=True, timeout=60
    )
