"""A rosbag2 (MCAP) of one camera with known truth, as the sample bag is and converted ones are."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from flashvggt_ros.geometry.camera import Calibration
from flashvggt_ros.geometry.se3 import quaternion_from_matrix

IMAGE_TOPIC = "/camera/image_raw/compressed"
INFO_TOPIC = "/camera/camera_info"
DEPTH_TOPIC = "/camera/depth/image_raw/compressedDepth"
TRUTH_TOPIC = "/ground_truth/pose"
CAMERA_FRAME, WORLD_FRAME = "camera_optical", "world"
TYPES = {
    IMAGE_TOPIC: "sensor_msgs/msg/CompressedImage",
    INFO_TOPIC: "sensor_msgs/msg/CameraInfo",
    DEPTH_TOPIC: "sensor_msgs/msg/CompressedImage",
    TRUTH_TOPIC: "geometry_msgs/msg/PoseStamped",
}


class CameraBag:
    """Writes images, depth, camera_info and true poses, message by message.

    A topic is in the bag once something was written on it.
    """

    def __init__(self, path: Path, calibration: Calibration) -> None:
        """``path``: the bag's folder, which must not be there yet."""
        self._store = get_typestore(Stores.LATEST)
        self._types = self._store.types
        self._calibration = calibration
        # Humble cannot read metadata.yaml of version 9 ("bad conversion").
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> CameraBag:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write_image(self, stamp_ns: int, form: str, stream: NDArray[np.uint8]) -> None:
        """Write a camera_info and a CompressedImage of ``form`` (jpeg or png)."""
        self._write(INFO_TOPIC, stamp_ns, self._camera_info(stamp_ns))
        self._write(IMAGE_TOPIC, stamp_ns, self._compressed(stamp_ns, form, stream))

    def write_depth(self, stamp_ns: int, png: NDArray[np.uint8]) -> None:
        """Write depth, a PNG of 16 bits [mm], as compressed_depth_image_transport does."""
        stream = np.concatenate([np.zeros(12, np.uint8), png])
        message = self._compressed(stamp_ns, "16UC1; compressedDepth png", stream)
        self._write(DEPTH_TOPIC, stamp_ns, message)

    def write_truth(self, stamp_ns: int, T_world_camera: NDArray[np.float64]) -> None:
        """Write a true pose of the optical frame."""
        x, y, z = (float(value) for value in T_world_camera[:3, 3])
        rotation = quaternion_from_matrix(T_world_camera[:3, :3])
        qx, qy, qz, qw = (float(value) for value in rotation)
        message = self._types[TYPES[TRUTH_TOPIC]](
            header=self._header(stamp_ns, WORLD_FRAME),
            pose=self._types["geometry_msgs/msg/Pose"](
                position=self._types["geometry_msgs/msg/Point"](x=x, y=y, z=z),
                orientation=self._types["geometry_msgs/msg/Quaternion"](x=qx, y=qy, z=qz, w=qw),
            ),
        )
        self._write(TRUTH_TOPIC, stamp_ns, message)

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        kind = TYPES[topic]
        if topic not in self._connections:
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            self._connections[topic] = connection
        data = self._store.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], stamp_ns, data)

    def _compressed(self, stamp_ns: int, form: str, stream: NDArray[np.uint8]) -> Any:
        header = self._header(stamp_ns, CAMERA_FRAME)
        return self._types[TYPES[IMAGE_TOPIC]](header=header, format=form, data=stream)

    def _camera_info(self, stamp_ns: int) -> Any:
        pinhole, distortion = self._calibration.pinhole, self._calibration.distortion
        K = pinhole.matrix
        region = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types[TYPES[INFO_TOPIC]](
            header=self._header(stamp_ns, CAMERA_FRAME), height=pinhole.height,
            width=pinhole.width,
            distortion_model="plumb_bob" if distortion == "none" else distortion,
            d=np.array(self._calibration.coefficients or (0.0,) * 5), k=K.reshape(-1),
            r=np.eye(3).reshape(-1), p=np.hstack([K, np.zeros((3, 1))]).reshape(-1),
            binning_x=0, binning_y=0, roi=region,
        )

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
