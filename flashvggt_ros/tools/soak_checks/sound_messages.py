"""Sensor messages that are sound, small and of every kind, for mangling to break."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from types import SimpleNamespace

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.sensors.depth_images import CONFIG, RAW_ENCODINGS
from flashvggt_ros.sensors.image_decoding import ENCODINGS
from flashvggt_ros.sensors.image_streams import PNG_SIGNATURE

SECOND = 1_000_000_000


def image(random: Random, stamp_ns: int) -> SimpleNamespace:
    """A raw image of any encoding, up to 24x24."""
    name = random.choice(list(ENCODINGS))
    encoding = ENCODINGS[name]
    width, height = (2 * random.randint(2, 12) for _ in range(2))
    rows = height * 3 // 2 if encoding.is_planar else height
    return _raw(name, width, height, rows, encoding.channels * encoding.depth, random, stamp_ns)


def compressed_image(random: Random, stamp_ns: int) -> SimpleNamespace:
    """A JPEG or PNG; one of three says that it is another size than it is."""
    sound, laborious = _streams()
    stream = random.choice(laborious if random.random() < 0.02 else sound)
    if random.random() < 0.3:
        stream = of_size(stream, *random.choice(((60_000, 60_000), (1, 65_000), (0, 4), (999, 999),
                                                 (65_500, 15))))
    return SimpleNamespace(header=header(stamp_ns), format=random.choice(("jpeg", "png", "")),
                           data=stream)


def depth_image(random: Random, stamp_ns: int) -> SimpleNamespace:
    """A raw depth image of any encoding."""
    name = random.choice(RAW_ENCODINGS)
    width, height = random.choice(((random.randint(1, 20), random.randint(1, 20)), (3, 9000)))
    return _raw(name, width, height, height, 4 if name == "32FC1" else 2, random, stamp_ns)


def compressed_depth(random: Random, stamp_ns: int) -> SimpleNamespace:
    """A depth image as compressed_depth_image_transport sends it."""
    png = _png((np.arange(600, dtype=np.uint16) * 97).reshape(20, 30))
    if random.random() < 0.3:
        png = of_size(png, *random.choice(((60_000, 60_000), (1, 900_000), (900_000, 1))))
    parameters = [random.choice((0.0, 1.0, 97.0, -1.0, float("nan"), 3e38)) for _ in range(2)]
    return SimpleNamespace(
        header=header(stamp_ns), data=CONFIG.pack(0, *parameters) + png,
        format=f"{random.choice(('16UC1', '32FC1'))}; compressedDepth png",
    )


def camera_info(random: Random, stamp_ns: int) -> SimpleNamespace:
    """The calibration of a camera, with any distortion model."""
    model, count = random.choice((("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)))
    region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    return SimpleNamespace(
        header=header(stamp_ns), width=64, height=48, distortion_model=model,
        d=np.array([random.uniform(-0.3, 0.3) for _ in range(count)]),
        k=np.array([50.0, 0.0, 31.0, 0.0, 55.0, 23.0, 0.0, 0.0, 1.0]), r=np.eye(3).reshape(-1),
        p=np.array([40.0, 0.0, 30.0, 0.0, 0.0, 45.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        binning_x=random.choice((0, 1, 2)), binning_y=random.choice((0, 1, 2)), roi=region,
    )


def odometry(random: Random, stamp_ns: int) -> SimpleNamespace:
    """Where the base is."""
    return SimpleNamespace(header=header(stamp_ns, "odom"), child_frame_id="base_link",
                           pose=_pose_with_covariance(random))


def imu(random: Random, stamp_ns: int) -> SimpleNamespace:
    """A reading of an IMU that is nearly at rest, with an orientation or without."""
    unknown = np.array([-1.0, *[0.0] * 8])
    return SimpleNamespace(
        header=header(stamp_ns, "imu_link"), orientation=_quaternion(random),
        orientation_covariance=random.choice((unknown, np.full(9, 1e-3))),
        angular_velocity=_vector(random, 0.05), angular_velocity_covariance=np.zeros(9),
        linear_acceleration=SimpleNamespace(x=0.0, y=0.1, z=9.8),
        linear_acceleration_covariance=np.zeros(9),
    )


def tf_message(random: Random, stamp_ns: int) -> SimpleNamespace:
    """Up to three transforms among a few frames."""
    frames = ("map", "odom", "base_link", "camera")
    transforms = []
    for _ in range(random.randint(1, 3)):
        first = random.randrange(3)
        transforms.append(SimpleNamespace(
            header=header(stamp_ns, frames[first]), child_frame_id=frames[first + 1],
            transform=SimpleNamespace(translation=_vector(random, 3), rotation=_quaternion(random)),
        ))
    return SimpleNamespace(transforms=transforms)


def initial_pose(random: Random, stamp_ns: int) -> SimpleNamespace:
    """Where RViz says that the robot is."""
    return SimpleNamespace(header=header(stamp_ns, random.choice(("map", ""))),
                           pose=_pose_with_covariance(random))


SOUND: dict[str, Callable[[Random, int], SimpleNamespace]] = {
    "Image": image,
    "CompressedImage": compressed_image,
    "depth Image": depth_image,
    "compressedDepth": compressed_depth,
    "CameraInfo": camera_info,
    "Odometry": odometry,
    "Imu": imu,
    "TFMessage": tf_message,
    "PoseWithCovarianceStamped": initial_pose,
}


def header(stamp_ns: int, frame_id: str = "camera") -> SimpleNamespace:
    """A std_msgs/Header."""
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    return SimpleNamespace(
        stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id
    )


def of_size(stream: bytes, width: int, height: int) -> bytes:
    """Let the header of a PNG or a baseline JPEG say another size; checksums stay right."""
    if stream.startswith(PNG_SIGNATURE):
        start = stream[12:16] + struct.pack(">II", width, height) + stream[24:29]
        return stream[:12] + start + struct.pack(">I", zlib.crc32(start)) + stream[33:]
    at = stream.find(b"\xff\xc0")
    if at < 0:
        return stream
    size = struct.pack(">HH", height % 2**16, width % 2**16)
    return stream[: at + 5] + size + stream[at + 9 :]


def _raw(
    encoding: str, width: int, height: int, rows: int, pixel: int, random: Random, stamp_ns: int
) -> SimpleNamespace:
    step = width * pixel + random.choice((0, 0, 3))
    seed = random.randrange(2**32)
    data = np.random.default_rng(seed).integers(0, 256, step * rows, np.uint8).tobytes()
    return SimpleNamespace(
        header=header(stamp_ns), width=width, height=height, encoding=encoding, step=step,
        is_bigendian=random.randint(0, 1), data=data,
    )


@cache
def _streams() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """JPEG and PNG of a small picture: of the kinds that cameras send, and laborious ones."""
    picture = np.random.default_rng(1).integers(0, 256, (18, 26, 4), np.uint8)
    kinds = [(".png", picture), (".png", picture[..., :3]), (".png", picture[..., 0]),
             (".png", picture[..., :3].astype(np.uint16) * 257), (".jpg", picture[..., :3]),
             (".jpg", picture[..., 0])]
    streams = [_encoded(suffix, pixels, ()) for suffix, pixels in kinds]
    options = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
    progressive = _encoded(".jpg", picture[..., :3], options)
    return (*streams, progressive), _laborious(progressive, streams[0])


def _laborious(progressive: bytes, png: bytes) -> tuple[bytes, ...]:
    """Streams of some bytes that take a careless reader long."""
    scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    chunk = struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    return (
        progressive[:-2] + scan * 50_000 + progressive[-2:],
        progressive[:2] + b"\xff" * 500_000 + progressive[2:],
        progressive[:2] + b"\xff\xe0\x00\x02" * 200_000 + progressive[2:],
        png[:33] + chunk * 200_000 + png[33:],
    )


def _png(values: NDArray[np.uint16]) -> bytes:
    return _encoded(".png", values, ())


def _encoded(suffix: str, pixels: NDArray[np.uint8 | np.uint16], options: tuple[int, ...]) -> bytes:
    is_done, stream = cv2.imencode(suffix, pixels, options)
    if not is_done:
        raise ValueError(f"OpenCV cannot make a {suffix}")
    return bytes(stream.tobytes())


def _vector(random: Random, size: float) -> SimpleNamespace:
    return SimpleNamespace(**{axis: random.uniform(-size, size) for axis in "xyz"})


def _quaternion(random: Random) -> SimpleNamespace:
    half = random.uniform(-0.1, 0.1)
    return SimpleNamespace(x=half, y=0.0, z=0.0, w=(1 - half * half) ** 0.5)


def _pose_with_covariance(random: Random) -> SimpleNamespace:
    pose = SimpleNamespace(position=_vector(random, 5), orientation=_quaternion(random))
    return SimpleNamespace(pose=pose, covariance=np.diag(np.full(6, 0.1)).reshape(-1))
