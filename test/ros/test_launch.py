"""The launch file with the real ``ros2 launch``; needs the package to be installed."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed")
ROS2 = shutil.which("ros2")
if ROS2 is None:
    pytest.skip("ros2 is not installed", allow_module_level=True)

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "mapping.launch.py"
START_S = 60.0


@contextmanager
def launched(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(ROS2), "launch", str(LAUNCH_FILE), *arguments], start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def parameter(node: str, name: str) -> str:
    """What ``ros2 param get`` prints, as soon as the node answers."""
    deadline = time.monotonic() + START_S
    command = [str(ROS2), "param", "get", node, name, "--hide-type"]
    while True:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
        text = answer.stdout.strip()
        if answer.returncode == 0 and text and "not set" not in text and "not found" not in text:
            return text
        assert time.monotonic() < deadline, answer.stdout + answer.stderr


def test_given_arguments_reach_the_node_and_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    image_topics: [/unused]\n    chunk: {size: 5}\n"
        "    checkpoint: untrained\n"
    )
    with launched(
        "image_topics:=[/left/image, /right/image]", f"params_file:={file}", "device:=cpu",
        "namespace:=robot1", "use_sim_time:=true", "log_level:=warn",
        "tf.base_frame:=base_link", "robot.odometry_topic:=odom",
        "robot.depth_topics:=/depth/image",
    ) as process:
        node = "/robot1/mapping"
        assert parameter(node, "image_topics") == "['/left/image', '/right/image']"
        assert parameter(node, "chunk.size") == "5"
        assert parameter(node, "device") == "cpu"
        assert parameter(node, "use_sim_time") == "True"
        assert parameter(node, "tf.base_frame") == "base_link"
        assert parameter(node, "robot.odometry_topic") == "odom"
        assert parameter(node, "robot.depth_topics") == "['/depth/image']"
        # Ctrl-C in a terminal reaches ros2 launch and the node, and launch passes it on as well.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=10.0) == 0


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("params_file:=~/nowhere.yaml", "params_file is '~/nowhere.yaml', which is no file"),
        ("image_topics:=[1, 2]", "'1'"),
        ("respawn:=perhaps", "perhaps"),
    ],
)
def test_an_argument_that_makes_no_sense_is_said_and_nothing_goes_on(
    argument: str, said: str
) -> None:
    command = [str(ROS2), "launch", str(LAUNCH_FILE), "checkpoint:=untrained", argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_without_arguments_the_node_has_its_own_defaults_and_one_topic_may_be_plain() -> None:
    with launched("image_topics:=/camera/image_raw", "checkpoint:=untrained") as process:
        assert parameter("/mapping", "image_topics") == "['/camera/image_raw']"
        assert parameter("/mapping", "chunk.size") == "8"
        assert parameter("/mapping", "use_sim_time") == "False"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10.0) == 0
