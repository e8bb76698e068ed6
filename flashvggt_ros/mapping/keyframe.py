"""What is kept of a keyframe once its submap is closed: enough for rays, loops and localization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import ChunkPrediction, Frame, FrameStamp
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.mapping.depth_sketch import DepthSketch, sketch_depth

JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A keyframe, some 20 kB: the image as the model saw it, as JPEG, and what came of it.

    ``camera``: the pinhole at the picture's size; ``is_calibrated``: whether it was known before.
    ``signature`` (D,) float16 of length 1. Its pose is its submap's.
    """

    stamp: FrameStamp
    picture: bytes
    camera: Pinhole
    is_calibrated: bool
    sketch: DepthSketch
    signature: NDArray[np.float16]

    @property
    def nbytes(self) -> int:
        """Memory it takes, about [bytes]."""
        return len(self.picture) + self.sketch.nbytes + self.signature.nbytes

    def frame(self) -> Frame:
        """Return it as an image again, undistorted and of the model's size."""
        image = cv2.imdecode(np.frombuffer(self.picture, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise ValueError(f"the picture of keyframe {self.stamp} cannot be decoded")
        calibration = Calibration(self.camera, "none", ()) if self.is_calibrated else None
        return Frame(
            self.stamp.stamp_ns, self.stamp.camera, np.asarray(image, np.uint8), calibration
        )


def keyframes_of(
    frames: Sequence[Frame], prediction: ChunkPrediction, min_confidence: float
) -> Iterator[Keyframe]:
    """Make the keyframes of a chunk; see sketch_depth for ``min_confidence``."""
    for number, frame in enumerate(frames):
        bgr = cv2.cvtColor(prediction.colors[number], cv2.COLOR_RGB2BGR)
        is_written, picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not is_written:
            raise ValueError(f"the image of {frame.camera} at {frame.stamp_ns} ns cannot be kept")
        camera = prediction.cameras[number]
        yield Keyframe(
            stamp=FrameStamp(frame.stamp_ns, frame.camera),
            picture=picture.tobytes(),
            camera=camera,
            is_calibrated=frame.calibration is not None,
            sketch=sketch_depth(
                prediction.depth[number], prediction.confidence[number], camera, min_confidence
            ),
            signature=prediction.signatures[number].astype(np.float16),
        )
