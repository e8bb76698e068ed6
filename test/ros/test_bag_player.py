import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from recorded_bag import camera_info, compressed_image, pose_stamped, write_bag
from sensor_msgs.msg import CameraInfo, CompressedImage

from flashvggt_ros.worlds import make_world, walk

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = int(os.environ["ROS_DOMAIN_ID"])
FRAMES = make_world(walk(12), period_ns=50_000_000).frames
IMAGES, INFO = "/camera/image_raw/compressed", "/camera/camera_info"


@pytest.fixture
def listener():
    """A node in the players' domain that collects images and camera_info."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("listener", context=context, use_global_arguments=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.received = []
    node.infos = []
    node.create_subscription(
        CompressedImage, IMAGES, lambda m: node.received.append((time.monotonic(), m)),
        qos_profile_sensor_data,
    )
    node.create_subscription(CameraInfo, INFO, node.infos.append, qos_profile_sensor_data)
    node.spin_once = lambda: executor.spin_once(timeout_sec=0.05)
    yield node
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def play(*arguments):
    return subprocess.Popen([sys.executable, "-m", "flashvggt_ros.ros.bag_player", *arguments],
                            cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module", params=["mcap", "sqlite3"])
def bag(request, tmp_path_factory):
    messages = []
    for frame in FRAMES:
        messages.append((INFO, frame.stamp_ns, camera_info(frame)))
        messages.append((IMAGES, frame.stamp_ns, compressed_image(frame)))
        messages.append(("/truth", frame.stamp_ns, pose_stamped(np.eye(4), frame.stamp_ns)))
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", messages, request.param)


def test_every_message_arrives_in_real_time_with_its_stamp_and_bytes(bag, listener):
    player = play(str(bag), "--wait-for-subscribers", "20")
    while player.poll() is None:
        listener.spin_once()
    assert player.returncode == 0, player.stderr.read()
    times, images = zip(*listener.received, strict=True)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images]
    assert stamps == [frame.stamp_ns for frame in FRAMES]
    sent = compressed_image(FRAMES[3])
    assert bytes(images[3].data) == sent.data.tobytes()
    assert images[3].header.frame_id == "camera"
    assert len(listener.infos) == 12
    assert listener.infos[0].k[0] == 100.0
    assert 0.4 < times[-1] - times[0] < 2.0  # 0.55 s in the recording


def test_without_a_subscriber_the_player_says_what_it_waited_for(bag):
    player = play(str(bag), "--wait-for-subscribers", "0.3")
    said = player.communicate(timeout=30)[1]
    assert player.returncode == 2
    assert f"nobody subscribed to {IMAGES} within 0.3 s" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere"], "there is no bag at nowhere"), (["{bag}", "--topics", "/none"], "has no /none"),
     (["{bag}", "--rate", "fast"], "argument --rate: fast is no number of 0 or more")],
)
def test_what_cannot_be_played_is_named(bag, arguments, words):
    player = play(*(argument.format(bag=bag) for argument in arguments))
    said = player.communicate(timeout=30)[1]
    assert player.returncode == 2
    assert words in said
    assert "Traceback" not in said
