"""Broken messages of each type, given to what takes such messages: one trial after another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import ImageConfig, TfConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.model.model_config import PRESETS
from flashvggt_ros.model.preprocess import Preprocessor
from flashvggt_ros.sensors.depth_images import DepthTrack
from flashvggt_ros.sensors.imu import ImuTrack
from flashvggt_ros.sensors.initial_pose import initial_pose
from flashvggt_ros.sensors.intake import CameraIntake
from flashvggt_ros.sensors.odometry import OdometryTrack
from flashvggt_ros.sensors.rejected_input import CAUSES, RejectedInput
from flashvggt_ros.sensors.stamped_track import TopicTrack
from flashvggt_ros.sensors.transform_buffer import TransformBuffer, TransformException
from flashvggt_ros.tools.soak_checks.mangling import mangled_message
from flashvggt_ros.tools.soak_checks.sound_messages import SECOND, SOUND
from flashvggt_ros.tools.soak_checks.trial import Trial, require

PERIOD_NS = SECOND // 30
LIMITS = ImageConfig(max_megapixels=1.0)
FRAMES = ("map", "odom", "base_link", "camera")


def message_trials() -> dict[str, Trial]:
    """Return a trial of each type, each with a new receiver that goes on from trial to trial."""
    return {
        "Image": _image_trial("Image"),
        "CompressedImage": _image_trial("CompressedImage"),
        "depth Image": _depth_trial("depth Image"),
        "compressedDepth": _depth_trial("compressedDepth"),
        "CameraInfo": _camera_info_trial(),
        "Odometry": _odometry_trial(),
        "Imu": _imu_trial(),
        "TFMessage": _tf_trial(),
        "PoseWithCovarianceStamped": _initial_pose_trial,
    }


def _messages(kind: str) -> Callable[[Random], tuple[SimpleNamespace, int]]:
    """Make mangled messages of a type, whose stamps grow unless that is mangled, and the stamp."""
    stamps = iter(range(SECOND, 2**62, PERIOD_NS))

    def make(random: Random) -> tuple[SimpleNamespace, int]:
        stamp_ns = next(stamps)
        return mangled_message(SOUND[kind](random, stamp_ns), random), stamp_ns

    return make


def _image_trial(kind: str) -> Trial:
    make, intake = _messages(kind), CameraIntake("/camera/image_raw", LIMITS)

    def trial(random: Random) -> bool:
        message, _ = make(random)
        before = sum(intake.rejected.values())
        try:
            frame = intake.frame(message)
        except RejectedInput as refusal:
            _check_refusal(refusal)
            require(sum(intake.rejected.values()) == before + 1, "a refusal is not counted")
            _forget_jump(refusal.cause, intake.reset)
            return False
        image = frame.image
        require(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, "no RGB")
        require(image.flags.c_contiguous and 0 < image.nbytes <= 3e6, f"shape {image.shape}")
        if hasattr(message, "width"):
            require(image.shape[:2] == (message.height, message.width), "another size")
        require(0 < frame.stamp_ns < 2**31 * SECOND and bool(frame.camera), "no stamp or camera")
        return True

    return trial


def _camera_info_trial() -> Trial:
    """What is accepted must also straighten an image."""
    make = _messages("CameraInfo")
    topics = ("/camera/image_raw", "/camera/image_rect")
    intakes = [CameraIntake(topic, LIMITS) for topic in topics]
    preprocessor = Preprocessor(PRESETS["flashvggt-mini"], width=0, use_calibration=True)

    def trial(random: Random) -> bool:
        message, stamp_ns = make(random)
        intake = random.choice(intakes)
        try:
            calibration = intake.set_camera_info(message)
        except RejectedInput as refusal:
            _check_refusal(refusal)
            return False
        pinhole = calibration.pinhole
        _check_finite(pinhole.matrix, np.array(calibration.coefficients))
        if not (64 <= pinhole.width <= 512 and 64 <= pinhole.height <= 512):
            return True
        image = np.full((pinhole.height, pinhole.width, 3), 128, np.uint8)
        frame = Frame(stamp_ns, "camera", image, calibration)
        seen = preprocessor.prepare(frame, preprocessor.canvas(image))
        _check_finite(*(camera.matrix for camera in seen.pinholes))
        return True

    return trial


def _depth_trial(kind: str) -> Trial:
    make, track = _messages(kind), DepthTrack("/depth", LIMITS.max_megapixels)

    def ask(stamp_ns: int) -> None:
        depth = track.at("camera", stamp_ns, 2 * PERIOD_NS)
        if depth is not None:
            require(depth.dtype == np.float32 and depth.ndim == 2 and depth.size > 0, "no depth")
            require(bool(np.isfinite(depth).all() and (depth >= 0).all()), "depth is not finite")
            require(depth.nbytes < 1e6, f"depth has {depth.nbytes} bytes")

    return _track_trial(track, make, ask)


def _odometry_trial() -> Trial:
    make, track = _messages("Odometry"), OdometryTrack("/odom")

    def ask(stamp_ns: int) -> None:
        for asked in (stamp_ns, stamp_ns - PERIOD_NS // 3):
            found = track.at(asked)
            if found is not None:
                _check_pose(found[1])

    return _track_trial(track, make, ask)


def _imu_trial() -> Trial:
    make, track = _messages("Imu"), ImuTrack("/imu")

    def ask(stamp_ns: int) -> None:
        found = track.up(stamp_ns - PERIOD_NS // 3)
        if found is not None:
            require(abs(float(np.linalg.norm(found[1])) - 1) < 1e-6, f"up is {found[1]}")

    return _track_trial(track, make, ask)


def _track_trial(
    track: TopicTrack[Any], make: Callable[[Random], tuple[SimpleNamespace, int]],
    ask: Callable[[int], None],
) -> Trial:
    def trial(random: Random) -> bool:
        message, stamp_ns = make(random)
        before = track.rejections.counts.copy()
        track.add(message)
        refused = track.rejections.counts - before
        require(set(refused) <= CAUSES and sum(refused.values()) <= 1, f"refused: {refused}")
        ask(stamp_ns)
        for cause in refused:
            _forget_jump(cause, track.clear)
        return not refused

    return trial


def _tf_trial() -> Trial:
    """Transforms that are refused are counted, and those that are too old are logged."""
    make, buffer, refusals = _messages("TFMessage"), TransformBuffer(), _LogCount()
    logging.getLogger(TransformBuffer.__module__).addHandler(refusals)

    def trial(random: Random) -> bool:
        message, stamp_ns = make(random)
        before = refusals.count + buffer.refused.total()
        for transform in message.transforms if isinstance(
            getattr(message, "transforms", None), list) else ():
            buffer.add(mangled_message(transform, random), is_static=random.random() < 0.1)
        for stamp in (0, stamp_ns, stamp_ns - PERIOD_NS // 3):
            target, source = random.choice(FRAMES), random.choice(FRAMES)
            try:
                _check_pose(buffer.lookup(target, source, stamp)[0])
            except TransformException as error:
                require(bool(str(error)), "a lookup failed without a reason")
        if random.random() < 0.05:
            buffer.clear()
        return refusals.count + buffer.refused.total() == before

    return trial


def _initial_pose_trial(random: Random) -> bool:
    message, _ = _messages("PoseWithCovarianceStamped")(random)
    try:
        T_map_base, sigmas = initial_pose(message, TfConfig(base_frame=random.choice(("", "base"))))
    except RejectedInput as refusal:
        _check_refusal(refusal)
        return False
    _check_pose(T_map_base)
    require(bool(np.isfinite(sigmas).all() and (sigmas > 0).all()), f"sigmas are {sigmas}")
    return True


class _LogCount(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def _check_refusal(refusal: RejectedInput) -> None:
    require(refusal.cause in CAUSES and len(str(refusal)) > 10, f"no reason: {refusal}")
    require(len(str(refusal)) < 2000, f"a reason of {len(str(refusal))} characters")


def _forget_jump(cause: str, reset: Callable[[], None]) -> None:
    """Begin anew where a stamp far ahead was taken: all later ones are refused, rightly."""
    if cause == "stamp_backwards":
        reset()


def _check_finite(*arrays: NDArray[np.float64]) -> None:
    require(all(bool(np.isfinite(array).all()) for array in arrays), f"not finite: {arrays}")


def _check_pose(T: NDArray[np.float64]) -> None:
    _check_finite(T)
    R = T[:3, :3]
    require(bool(np.abs(R @ R.T - np.eye(3)).max() < 1e-6), f"no rotation: {R}")
