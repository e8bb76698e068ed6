"""How far the depth of a run's keyframes is from measured depth images of the bag."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.mapping.map_archive import MANIFEST, load_map
from flashvggt_ros.mapping.map_manifest import read_manifest
from flashvggt_ros.sensors.bag_reader import CAMERA_INFO_TYPE, Bag
from flashvggt_ros.sensors.camera_info import calibration_from_camera_info
from flashvggt_ros.sensors.depth_images import (
    check_compressed_depth,
    decode_compressed_depth,
    decode_depth,
)
from flashvggt_ros.sensors.rejected_input import RejectedInput, read_header
from flashvggt_ros.tools.run_folder import MAP_FOLDER

logger = logging.getLogger(__name__)
TOLERANCE_NS = 20_000_000  # between a keyframe and the depth image that is taken for it
MOST_MEGAPIXELS = 34.0
CLOSE = 1.25  # times the truth, or its inverse: depth this good counts as within 25 %


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeDepth:
    """Depth (h, w) of a keyframe along z [map units], 0: unknown, and the camera of that size."""

    stamp_ns: int
    camera: str
    depth: NDArray[np.float64]
    pinhole: Pinhole


def measure_depth(run: Path, bag: Path, scale_factor: float) -> dict[str, float]:
    """Compare the keyframes of a run's map with the bag's depth images, by stamp and camera.

    ``scale_factor`` makes meters of map units, as the aligned path has it. Returns the number of
    images compared, the mean relative error, the share of pixels within 25 %, and the mean
    relative error where each image has the median of the truth; nothing where there is no such
    truth, or no map. The truth must be registered to the camera (its frame).
    """
    if not (run / MAP_FOLDER / MANIFEST).is_file() or not bag.exists():
        return {}
    with Bag(bag) as content:
        topics = [topic.name for topic in content.topics
                  if "depth" in topic.name.lower() and topic.type != CAMERA_INFO_TYPE]
        infos = [topic.name for topic in content.topics if topic.type == CAMERA_INFO_TYPE]
        if not topics or not infos:
            return {}
        keyframes = read_keyframes(run / MAP_FOLDER)
        calibrations: dict[str, Calibration] = {}
        pairs, refused = [], 0
        for message in content.messages([*topics, *infos]):
            try:
                decoded = content.decode(message)
                stamp_ns, camera = read_header(decoded)
                if message.topic in infos:
                    calibrations.setdefault(camera, calibration_from_camera_info(decoded))
                    continue
                keyframe = _nearest(keyframes, camera, stamp_ns)
                if keyframe is not None and camera in calibrations:
                    pairs.append(compare(keyframe, _depth_of(decoded), calibrations[camera]))
            except ValueError:  # RejectedInput too
                refused += 1
    if refused:
        logger.warning("%s: %d messages of %s are no depth images or camera_info", bag, refused,
                       ", ".join([*topics, *infos]))
    pairs = [pair for pair in pairs if len(pair[0])]
    return _summary(pairs, scale_factor) if pairs else {}


def read_keyframes(folder: Path) -> list[KeyframeDepth]:
    """Read the depth of the keyframes of a saved map. Raises ValueError where it is damaged."""
    manifest = read_manifest((folder / MANIFEST).read_bytes())
    found = []
    for submap in load_map(folder, manifest.model).submaps:
        scales = submap.scales[submap.shared:]
        for keyframe, scale in zip(submap.keyframes, scales, strict=True):
            sketch = keyframe.sketch
            found.append(KeyframeDepth(
                keyframe.stamp.stamp_ns, keyframe.stamp.camera,
                sketch.depth.astype(np.float64) * scale, sketch.camera,
            ))
    return found


def compare(
    keyframe: KeyframeDepth, truth: NDArray[np.float32], calibration: Calibration
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the depth [map units] and the true depth [m] of pixels that have both.

    ``truth`` (h, w) is the camera's depth image, evenly thinned; ``calibration`` that of the
    camera at full size.
    """
    height, width = keyframe.depth.shape
    v, u = np.mgrid[0:height, 0:width].astype(np.float64)
    pinhole, full = keyframe.pinhole, calibration.pinhole
    rays = np.stack([(u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy, np.ones_like(u)])
    pixels = _project(rays.reshape(3, -1).T, calibration)
    step = max(1, round(full.width / truth.shape[1]))
    rows = np.round((pixels[:, ::-1] - step // 2) / step)
    inside = (np.isfinite(rows) & (rows >= 0) & (rows < truth.shape)).all(axis=1)
    at = rows[inside].astype(np.intp)
    estimate, true = keyframe.depth.reshape(-1)[inside], truth[at[:, 0], at[:, 1]]
    both = (estimate > 0) & (true > 0)
    return estimate[both], true[both].astype(np.float64)


def _project(rays: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Pixels (M, 2) of rays (M, 3), lens distortion included."""
    nothing, K = np.zeros(3), calibration.pinhole.matrix
    coefficients = np.array(calibration.coefficients, np.float64)
    if calibration.distortion == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(rays[:, None], nothing, nothing, K, coefficients)
    else:
        pixels, _ = cv2.projectPoints(rays, nothing, nothing, K, coefficients)
    return np.asarray(pixels, np.float64).reshape(-1, 2)


def _depth_of(message: Any) -> NDArray[np.float32]:
    if hasattr(message, "encoding"):
        return decode_depth(message, MOST_MEGAPIXELS)
    if not hasattr(message, "format"):
        raise RejectedInput("malformed", "it is no image")
    return decode_compressed_depth(*check_compressed_depth(message, MOST_MEGAPIXELS))


def _nearest(
    keyframes: Sequence[KeyframeDepth], camera: str, stamp_ns: int
) -> KeyframeDepth | None:
    """The camera's keyframe whose stamp is nearest; None: none is near."""
    own = [keyframe for keyframe in keyframes if keyframe.camera == camera
           and abs(keyframe.stamp_ns - stamp_ns) <= TOLERANCE_NS]
    return min(own, key=lambda keyframe: abs(keyframe.stamp_ns - stamp_ns), default=None)


def _summary(
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], scale_factor: float
) -> dict[str, float]:
    depth = scale_factor * np.concatenate([estimate for estimate, _ in pairs])
    truth = np.concatenate([true for _, true in pairs])
    ratio = depth / truth
    scaled = np.concatenate([estimate * np.median(true / estimate) / true
                             for estimate, true in pairs])
    return {
        "images": len(pairs),
        "abs_rel": float(np.abs(ratio - 1).mean()),
        "within_25_percent": float((np.maximum(ratio, 1 / ratio) < CLOSE).mean()),
        "abs_rel_median_scaled": float(np.abs(scaled - 1).mean()),
    }
