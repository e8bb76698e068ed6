"""Sensor messages as plain objects with the fields that the interfaces define."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np


def header(stamp_ns: int = 1_000_000_000, frame_id: str = "camera_optical") -> SimpleNamespace:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id
    )


def image(
    values: np.ndarray, encoding: str, /, *, padding: int = 0, **fields: Any
) -> SimpleNamespace:
    """A raw image whose rows are ``values`` (rows, W[, channels]) and ``padding`` bytes each."""
    rows = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    filler = np.full((len(rows), padding), 0xA5, np.uint8)
    message = SimpleNamespace(
        header=header(),
        height=len(values),
        width=values.shape[1],
        encoding=encoding,
        is_bigendian=int(values.dtype.byteorder == ">"),
        step=rows.shape[1] + padding,
        data=np.hstack([rows, filler]).tobytes(),
    )
    vars(message).update(fields)
    return message


def compressed(data: bytes, form: str = "jpeg", **fields: Any) -> SimpleNamespace:
    message = SimpleNamespace(header=header(), format=form, data=data)
    vars(message).update(fields)
    return message


def without_pixels(png: bytes) -> bytes:
    """The PNG with pixels that no decoder takes, in chunks that are sound."""
    start = png.index(b"IDAT")
    pixels = b"IDAT" + b"\0\1\2\3"
    chunk = struct.pack(">I", 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
    return png[: start - 4] + chunk + png[-12:]


def camera_info(**fields: Any) -> SimpleNamespace:
    """A calibrated 64x48 camera: fx 50, fy 55, cx 31, cy 23, a little plumb_bob."""
    message = SimpleNamespace(
        header=header(),
        width=64,
        height=48,
        distortion_model="plumb_bob",
        d=[0.1, -0.2, 0.001, 0.002, 0.03],
        k=[50.0, 0.0, 31.0, 0.0, 55.0, 23.0, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[40.0, 0.0, 30.0, 0.0, 0.0, 45.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )
    vars(message).update(fields)
    return message


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """RGB of 2x2 blocks of equal color, all channels and rows different."""
    random = np.random.default_rng(3)
    blocks = random.integers(20, 236, (-(-height // 2), -(-width // 2), 3), dtype=np.uint8)
    return np.repeat(np.repeat(blocks, 2, axis=0), 2, axis=1)[:height, :width].copy()


def deep_picture() -> np.ndarray:
    """Gray values (48, 64) uint16, all different."""
    return (np.arange(48 * 64, dtype=np.uint32).reshape(48, 64) * 21 + 7).astype(np.uint16)


def as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def with_alpha(rgb: np.ndarray) -> np.ndarray:
    return np.dstack([rgb, np.full(rgb.shape[:2], 17, np.uint8)])


def quaternion(xyzw: Any = (0.0, 0.0, 0.0, 1.0)) -> SimpleNamespace:
    return SimpleNamespace(**dict(zip("xyzw", map(float, xyzw), strict=True)))


def vector(xyz: Any) -> SimpleNamespace:
    return SimpleNamespace(**dict(zip("xyz", map(float, xyz), strict=True)))


def odometry(
    stamp_ns: int, place: Any = (0, 0, 0), xyzw: Any = (0, 0, 0, 1), child: str = "base_link",
    frame_id: str = "odom",
) -> SimpleNamespace:
    pose = SimpleNamespace(position=vector(place), orientation=quaternion(xyzw))
    return SimpleNamespace(
        header=header(stamp_ns, frame_id), child_frame_id=child, pose=SimpleNamespace(pose=pose)
    )


def imu(stamp_ns: int, **fields: Any) -> SimpleNamespace:
    """An IMU at rest that is level, as raw as most are: no orientation, noise unknown."""
    message = SimpleNamespace(
        header=header(stamp_ns, "imu_link"),
        orientation=quaternion(),
        orientation_covariance=np.array([-1.0, *[0.0] * 8]),
        angular_velocity=vector((0, 0, 0)),
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=vector((0, 0, 9.81)),
        linear_acceleration_covariance=np.zeros(9),
    )
    vars(message).update(fields)
    return message
