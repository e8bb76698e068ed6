from collections import defaultdict

import cv2
import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.convert import main
from flashvggt_ros.worlds import walk

SIZE = 64, 48


@pytest.fixture
def poses():
    """True poses of eight images."""
    return walk(8)


@pytest.fixture
def write_images():
    """Writes different images, as their names say; returns their bytes."""
    def write(paths, *, is_gray=False):
        rng = np.random.default_rng(5)
        contents = []
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (SIZE[1], SIZE[0]) if is_gray else (SIZE[1], SIZE[0], 3)
            assert cv2.imwrite(str(path), rng.integers(0, 256, shape, np.uint8))
            contents.append(path.read_bytes())
        return contents
    return write


@pytest.fixture
def convert(tmp_path):
    """Converts a folder; returns the bag's messages by topic."""
    def run(form, folder, *options):
        bag = tmp_path / "bags" / form
        assert main([form, str(folder), "--output", str(bag), *options]) == 0
        messages = defaultdict(list)
        with Bag(bag) as content:
            for message in content.messages():
                messages[message.topic].append(content.decode(message))
        return messages
    return run


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def matrix(message):
    place, turn = message.pose.position, message.pose.orientation
    R = se3.matrix_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w]))
    return se3.pose(R, np.array([place.x, place.y, place.z]))


@pytest.fixture
def check():
    """Checks images (bytes as they were) with their stamps, poses with theirs, and K."""
    def compare(messages, images, stamps_ns, T_world_camera, truth_stamps_ns, K):
        pictures = messages["/camera/image_raw/compressed"]
        assert [stamp_ns(message) for message in pictures] == stamps_ns
        assert [message.data.tobytes() for message in pictures] == images
        infos = messages["/camera/camera_info"]
        assert [stamp_ns(message) for message in infos] == stamps_ns
        assert (infos[0].width, infos[0].height) == SIZE
        fx, fy, cx, cy = K
        assert infos[0].k.tolist() == [fx, 0, cx, 0, fy, cy, 0, 0, 1]
        truth = messages["/ground_truth/pose"]
        assert [stamp_ns(message) for message in truth] == truth_stamps_ns
        found = np.array([matrix(message) for message in truth])
        assert found == pytest.approx(T_world_camera, abs=1e-6)
        return infos[0]
    return compare
