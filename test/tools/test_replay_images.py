"""Replay of images of every shape, gray depth and field of view."""

import json
import math

import cv2
import numpy as np
import pytest
from recorded_bag import TYPES, camera_info, header, raw_image, write_bag

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.mapping.map_io import read_tum
from flashvggt_ros.tools.replay import main
from flashvggt_ros.worlds import make_world, walk

IMAGES = "/camera/image_raw"
FRAMES = 5
SHAPES = [(1242, 375), (480, 640), (1920, 1080), (640, 640), (320, 240)]


def pinhole(width, height, fov_deg=65.0):
    """A camera with square pixels; ``fov_deg`` is that of the longer side."""
    focal = max(width, height) / 2 / math.tan(math.radians(fov_deg) / 2)
    return Pinhole(focal, focal, width / 2 - 0.5, height / 2 - 0.5, width, height)


def frames(width, height, fov_deg=65.0):
    """A short walk, rendered at 160 pixels for the longer side and enlarged."""
    shrink = 160 / max(width, height)
    small = (round(width * shrink), round(height * shrink))
    world = make_world(walk(FRAMES), pinhole=pinhole(*small, fov_deg))
    calibration = Calibration(pinhole(width, height, fov_deg), "none", ())
    for frame in world.frames:
        image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_CUBIC)
        yield Frame(frame.stamp_ns, frame.camera, image, calibration)


def gray_image(frame, encoding):
    gray = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    values = gray.astype(np.uint16) * 257 if encoding == "mono16" else gray
    height, width = gray.shape
    return TYPES["sensor_msgs/msg/Image"](
        header=header(frame.stamp_ns, frame.camera), height=height, width=width, encoding=encoding,
        is_bigendian=0, step=values.strides[0], data=values.reshape(-1).view(np.uint8),
    )


def replay(tmp_path, messages, checkpoint):
    """Map the messages with the command; return the report, and the trajectory's stamps."""
    bag, out = write_bag(tmp_path / "bag", messages), tmp_path / "out"
    arguments = [str(bag), "--output", str(out), "--checkpoint", str(checkpoint), "--device", "cpu"]
    for value in ("chunk.size=3", "keyframe.min_motion=0", "predictor.width=128"):
        arguments += ["--set", value]
    assert main(arguments) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["frames_used"] == FRAMES == len(read_tum(out / "trajectory.tum")[0])
    assert report["frames_rejected"] == report["frames_dropped"] == 0
    assert not report["rejected_camera_info"]
    assert report["map_points"] > 100
    return report


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_images_of_every_shape_are_mapped(tmp_path, tiny_checkpoint, width, height):
    messages = [(IMAGES, frame.stamp_ns, raw_image(frame)) for frame in frames(width, height)]
    replay(tmp_path, messages, tiny_checkpoint)


@pytest.mark.parametrize(("width", "height", "fov_deg"),
                         [(640, 480, 50), (640, 480, 100), (480, 640, 60), (1242, 375, 82)])
def test_narrow_and_wide_calibrated_cameras_are_mapped(
    tmp_path, tiny_checkpoint, width, height, fov_deg
):
    messages = []
    for frame in frames(width, height, fov_deg):
        messages.append(("/camera/camera_info", frame.stamp_ns, camera_info(frame)))
        messages.append((IMAGES, frame.stamp_ns, raw_image(frame)))
    replay(tmp_path, messages, tiny_checkpoint)


def test_gray_images_of_eight_and_sixteen_bits_give_the_same_map(tmp_path, tiny_checkpoint):
    trajectories = []
    for encoding in ("mono8", "mono16"):
        folder = tmp_path / encoding
        messages = [(IMAGES, frame.stamp_ns, gray_image(frame, encoding))
                    for frame in frames(320, 240)]
        replay(folder, messages, tiny_checkpoint)
        trajectories.append(read_tum(folder / "out/trajectory.tum")[1])
    assert trajectories[1] == pytest.approx(trajectories[0], abs=1e-6)
