"""Writes rosbag2 recordings of frames and poses."""

from __future__ import annotations

import sqlite3
import struct
from binascii import crc32
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry import se3

STORE = get_typestore(Stores.LATEST)
TYPES = STORE.types
STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    time = TYPES["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def raw_image(frame: Frame) -> Any:
    height, width = frame.image.shape[:2]
    return TYPES["sensor_msgs/msg/Image"](
        header=header(frame.stamp_ns, frame.camera), height=height, width=width, encoding="rgb8",
        is_bigendian=0, step=3 * width, data=frame.image.reshape(-1),
    )


def compressed_image(frame: Frame) -> Any:
    done, data = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(frame.stamp_ns, frame.camera), format="jpeg", data=data.reshape(-1)
    )


def camera_info(frame: Frame) -> Any:
    pinhole = frame.calibration.pinhole
    region = TYPES["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(frame.stamp_ns, frame.camera), height=pinhole.height, width=pinhole.width,
        distortion_model="plumb_bob", d=np.zeros(5), k=pinhole.matrix.reshape(-1),
        r=np.eye(3).reshape(-1), p=np.hstack([pinhole.matrix, np.zeros((3, 1))]).reshape(-1),
        binning_x=0, binning_y=0, roi=region,
    )


def pose_message(T: np.ndarray) -> Any:
    x, y, z = (float(value) for value in T[:3, 3])
    qx, qy, qz, qw = (float(value) for value in se3.quaternion_from_matrix(T[:3, :3]))
    return TYPES["geometry_msgs/msg/Pose"](
        position=TYPES["geometry_msgs/msg/Point"](x=x, y=y, z=z),
        orientation=TYPES["geometry_msgs/msg/Quaternion"](x=qx, y=qy, z=qz, w=qw),
    )


def pose_stamped(T: np.ndarray, stamp_ns: int) -> Any:
    kind = TYPES["geometry_msgs/msg/PoseStamped"]
    return kind(header=header(stamp_ns, "world"), pose=pose_message(T))


def vector(x: float, y: float, z: float) -> Any:
    return TYPES["geometry_msgs/msg/Vector3"](x=float(x), y=float(y), z=float(z))


def odometry(T: np.ndarray, stamp_ns: int, child: str = "camera") -> Any:
    zero = vector(0, 0, 0)
    twist = TYPES["geometry_msgs/msg/Twist"](linear=zero, angular=zero)
    return TYPES["nav_msgs/msg/Odometry"](
        header=header(stamp_ns, "world"), child_frame_id=child,
        pose=TYPES["geometry_msgs/msg/PoseWithCovariance"](
            pose=pose_message(T), covariance=np.zeros(36)
        ),
        twist=TYPES["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=np.zeros(36)),
    )


def imu(acceleration: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """A reading at rest of an IMU that has no orientation."""
    return TYPES["sensor_msgs/msg/Imu"](
        header=header(stamp_ns, frame_id),
        orientation=TYPES["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=np.array([-1.0, *[0.0] * 8]),
        angular_velocity=vector(0, 0, 0), angular_velocity_covariance=np.zeros(9),
        linear_acceleration=vector(*acceleration), linear_acceleration_covariance=np.zeros(9),
    )


def depth_image(depth: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """Depth (H, W) [m] as 16UC1."""
    values = np.round(1000 * depth).astype("<u2")
    height, width = values.shape
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp_ns, frame_id), height=height, width=width, encoding="16UC1",
        is_bigendian=0, step=2 * width, data=values.reshape(-1).view(np.uint8),
    )


def compressed_depth(depth: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """Depth (H, W) [m] as compressed_depth_image_transport packs 16UC1."""
    done, png = cv2.imencode(".png", np.round(1000 * depth).astype(np.uint16))
    assert done
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ns, frame_id), format="16UC1; compressedDepth png",
        data=np.concatenate([np.zeros(12, np.uint8), png.reshape(-1)]),
    )


def transform_stamped(T: np.ndarray, stamp_ns: int, child: str, parent: str = "world") -> Any:
    pose = pose_message(T)
    place = vector(pose.position.x, pose.position.y, pose.position.z)
    return TYPES["geometry_msgs/msg/TransformStamped"](
        header=header(stamp_ns, parent), child_frame_id=child,
        transform=TYPES["geometry_msgs/msg/Transform"](
            translation=place, rotation=pose.orientation
        ),
    )


def tf_message(transforms: Sequence[Any]) -> Any:
    return TYPES["tf2_msgs/msg/TFMessage"](transforms=list(transforms))


def write_bag(
    path: Path, messages: Sequence[tuple[str, int, Any]], storage: str = "mcap"
) -> Path:
    """Write (topic, log_ns, message) triples as the rosbag2 folder ``path``."""
    with Writer(path, version=9, storage_plugin=STORAGE[storage]) as writer:
        connections: dict[str, Any] = {}
        for topic, log_ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = message if isinstance(message, bytes) else STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], log_ns, data)
    return path


def record(
    path: Path,
    frames: Sequence[Frame],
    *,
    topic: str = "/camera/image_raw",
    storage: str = "mcap",
    is_compressed: bool = False,
    has_info: bool = True,
) -> Path:
    """Write a bag of frames on ``topic`` (compressed: topic/compressed) with camera_info."""
    messages: list[tuple[str, int, Any]] = []
    for frame in frames:
        if has_info:
            info_topic = topic.rpartition("/")[0] + "/camera_info"
            messages.append((info_topic, frame.stamp_ns, camera_info(frame)))
        if is_compressed:
            messages.append((f"{topic}/compressed", frame.stamp_ns, compressed_image(frame)))
        else:
            messages.append((topic, frame.stamp_ns, raw_image(frame)))
    return write_bag(path, messages, storage)


def mcap_records(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each record of an MCAP file begins and ends [bytes], and its operation."""
    at = 8
    while at < len(content) - 8:
        operation, length = struct.unpack_from("<BQ", content, at)
        yield at, at + 9 + length, operation
        at += 9 + length


def add_checksums(file: Path) -> Path:
    """Give an MCAP file without compression the checksums that rosbag2 writes and rosbags does not.

    That of the data section, which rosbag2 leaves out by default, too.
    """
    content = bytearray(file.read_bytes())
    for start, end, operation in list(mcap_records(content)):
        body = start + 9
        if operation == 0x06:  # a chunk; its records come after 40 bytes
            struct.pack_into("<I", content, body + 24, crc32(content[body + 40 : end]))
        if operation == 0x0F:  # the end of the data
            struct.pack_into("<I", content, body, crc32(content[:start]))
        if operation == 0x02:  # the footer
            (summary,) = struct.unpack_from("<Q", content, body)
            struct.pack_into("<I", content, body + 16, crc32(content[summary : body + 16]))
    file.write_bytes(content)
    return file


def unchunked(file: Path) -> Path:
    """Lay the messages of an MCAP file without compression bare, as rosbag2's fastwrite does."""
    content = file.read_bytes()
    bare = bytearray(content[:8])
    for start, end, operation in mcap_records(content):
        if operation in (0x01, 0x0F):
            bare += content[start:end]
        elif operation == 0x06:
            bare += content[start + 49 : end]
    file.write_bytes(bare + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + content[:8])
    return file


def forget_definitions(bag: Path) -> Path:
    """Turn a sqlite3 bag into what ROS 2 Humble records: schema 3, no message definitions."""
    (database,) = bag.glob("*.db3")
    connection = sqlite3.connect(database)
    connection.executescript(
        "DROP TABLE message_definitions; ALTER TABLE topics DROP COLUMN type_description_hash;"
        "UPDATE schema SET schema_version = 3;"
    )
    connection.commit()
    connection.close()
    return bag
