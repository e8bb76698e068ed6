"""Cost of messages: what an image callback and a cloud take on this machine.

Run as ``python -m benchmarks.messages``. The image is noise on a gradient, which compresses worse
than most camera images.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import rclpy.serialization
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.ros.clouds import cloud_message, read_cloud
from flashvggt_ros.ros.images import image_converter
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.sensors.intake import CameraIntake

WIDTH, HEIGHT = 640, 480
POINTS = 1_000_000


def main() -> None:
    """Print best, median and worst of each cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50, help="measurements of each [count]")
    repeats = parser.parse_args().repeats
    picture = make_picture()
    messages = {encoding: raw_message(picture, encoding) for encoding in ("rgb8", "bgr8", "mono8")}
    messages["jpeg"] = compressed_message(picture)
    for name, message in messages.items():
        report(f"{WIDTH}x{HEIGHT} {name}, callback", image_cost(message, repeats), 5.0)
    random = np.random.default_rng(0)
    points = random.normal(size=(POINTS, 3)).astype(np.float32)
    colors = random.integers(0, 256, (POINTS, 3), np.uint8)
    build = measure(lambda: cloud_message(points, colors, "map", 1), repeats)
    report(f"{POINTS} points, cloud built", build, 40.0)
    cloud = cloud_message(points, colors, "map", 1)
    report(f"{POINTS} points, cloud read", measure(lambda: read_cloud(cloud), repeats), None)


def make_picture() -> NDArray[np.uint8]:
    """Return RGB (HEIGHT, WIDTH, 3) with detail everywhere."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    gradient = np.stack([u * 0.4, v * 0.5, (u + v) * 0.2], axis=2)
    noise = np.random.default_rng(0).normal(0, 12, gradient.shape)
    return np.clip(gradient + noise, 0, 255).astype(np.uint8)


def raw_message(picture: NDArray[np.uint8], encoding: str) -> Image:
    """Return the picture as sensor_msgs/Image."""
    values = {"rgb8": picture, "bgr8": picture[..., ::-1], "mono8": picture[..., 1]}[encoding]
    step = values[0].size
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=step)
    message.data.frombytes(values.tobytes())
    return message


def compressed_message(picture: NDArray[np.uint8]) -> CompressedImage:
    """Return the picture as JPEG of quality 90."""
    stream = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    message = CompressedImage(format="jpeg")
    message.data.frombytes(stream.tobytes())
    return message


def image_cost(message: Image | CompressedImage, repeats: int) -> list[float]:
    """Return the cost [ms] of one image, from the received bytes to the frame."""
    intake = CameraIntake("image", ImageConfig(), convert_raw=image_converter())
    octets = rclpy.serialization.serialize_message(message)
    stamps = iter(range(1, repeats + 2))

    def callback() -> None:
        received = rclpy.serialization.deserialize_message(octets, type(message))
        received.header.stamp = time_message(next(stamps))
        intake.frame(received)

    return measure(callback, repeats)


def measure(call: Callable[[], object], repeats: int) -> list[float]:
    """Return the duration [ms] of each call after a first one that does not count."""
    call()
    durations = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        durations.append((time.perf_counter() - began) * 1e3)
    return durations


def report(name: str, durations_ms: list[float], limit_ms: float | None) -> None:
    """Print one line: best, median and worst, and the limit that is asked for."""
    limit = "" if limit_ms is None else f"   limit {limit_ms:g} ms"
    best, worst = min(durations_ms), max(durations_ms)
    median = statistics.median(durations_ms)
    print(f"{name:28} best {best:7.3f}   median {median:7.3f}   worst {worst:7.3f} ms{limit}")


if __name__ == "__main__":
    main()
