"""What the live view shows of a map: keyframes with their pictures, submaps and loops."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.map_graph import loop_pairs, submap_numbers
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.trails import Trajectory
from flashvggt_ros.viewer.camera_path import CameraPath

PICTURE_WIDTH = 160  # [px]


def camera_path(
    trajectory: Trajectory, submaps: Sequence[Submap], graph: PoseGraph
) -> CameraPath:
    """Return the path as the page shows it; keyframes of merged submaps belong to none."""
    numbers = submap_numbers((frame.stamp_ns for frame in trajectory.frames), submaps)
    return CameraPath(trajectory.frames, trajectory.T_map_camera, numbers, loop_pairs(graph))


class KeyframePictures:
    """Small pictures of the keyframes that submaps hold."""

    def __init__(self, submaps: Sequence[Submap]) -> None:
        self._keyframes: dict[FrameStamp, Keyframe] = {
            keyframe.stamp: keyframe for submap in submaps for keyframe in submap.keyframes
        }

    def __call__(self, frame: FrameStamp) -> NDArray[np.uint8] | None:
        """Return the picture (H, W, 3) RGB; None where the keyframe is not kept."""
        keyframe = self._keyframes.get(frame)
        if keyframe is None:
            return None
        image = keyframe.frame().image
        size = PICTURE_WIDTH, max(1, image.shape[0] * PICTURE_WIDTH // image.shape[1])
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
