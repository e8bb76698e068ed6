"""The door of the system: messages of one image topic in, frames out, everything counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration
from flashvggt_ros.sensors.camera_info import calibration_from_camera_info
from flashvggt_ros.sensors.image_decoding import (
    RgbImage,
    check_image,
    decode_compressed,
    decode_image,
)
from flashvggt_ros.sensors.rejected_input import RejectedInput, Rejections, read_header
from flashvggt_ros.sensors.stamp_order import StampOrder

__all__ = ["CameraIntake", "FitCheck", "RejectedInput", "fits_any"]

FitCheck = Callable[[RgbImage], object]
"""Raises ValueError for an RGB image (H, W, 3) that whoever takes the frames has no use for."""


def fits_any(image: RgbImage) -> None:
    """Take images of every size."""


class CameraIntake:
    """Turns the messages of one image topic and its camera_info into frames.

    Every refusal is counted in ``rejected`` by its cause and logged once per cause. Stamps must
    grow: a repeated or older one is refused, and so is every message of a bag that starts over
    until ``reset`` is called; ``order`` finds that it does. Topics whose last name begins with
    ``image_rect`` carry rectified images (image_proc's convention). Not thread-safe.

    ``convert_raw`` makes RGB (H, W, 3) uint8 of a raw message whose fields have been checked;
    ``check_fit`` says which images the model can take.
    """

    def __init__(
        self,
        topic: str,
        limits: ImageConfig,
        convert_raw: Callable[[Any], RgbImage] = decode_image,
        check_fit: FitCheck = fits_any,
    ) -> None:
        self.topic = topic
        self.accepted = 0
        self.order = StampOrder()
        self._rejections = Rejections(topic)
        self._max_megapixels = limits.max_megapixels
        self._convert_raw = convert_raw
        self._check_fit = check_fit
        self._is_rectified = any(part.startswith("image_rect") for part in topic.split("/"))
        self._calibration: Calibration | None = None
        self._is_mismatch_counted = False

    @property
    def rejected(self) -> Counter[str]:
        """How many messages were refused, by cause."""
        return self._rejections.counts

    def reset(self) -> None:
        """Accept any stamp next, and say again what is wrong; counts and calibration stay."""
        self.order.clear()
        self._rejections.say_again()

    def set_camera_info(self, message: Any) -> Calibration:
        """Take the calibration for the images to come, and return it.

        Raises RejectedInput; the calibration before it then stays.
        """
        try:
            self._calibration = calibration_from_camera_info(message, self._is_rectified)
            self._is_mismatch_counted = False
            return self._calibration
        except RejectedInput as rejection:
            self._rejections.add(rejection)
            raise

    def frame(self, message: Any) -> Frame:
        """Return the frame of a sensor_msgs/Image or CompressedImage, told apart by their fields.

        A calibration of another size than the image is counted, said once and left out. Raises
        RejectedInput.
        """
        try:
            stamp_ns, camera = self._header(message)
            image = self._decode(message)
            self._require_fit(image)
        except RejectedInput as rejection:
            self._rejections.add(rejection)
            raise
        self.order.accept(stamp_ns)
        self.accepted += 1
        return Frame(stamp_ns, camera, image, self._calibration_of(image))

    def _header(self, message: Any) -> tuple[int, str]:
        stamp_ns, frame = read_header(message)
        self.order.check(stamp_ns, "image")
        return stamp_ns, frame or self.topic.lstrip("/")  # a frame is never without a name

    def _decode(self, message: Any) -> RgbImage:
        if hasattr(message, "encoding"):
            check_image(message, self._max_megapixels)
            return self._convert_raw(message)
        if hasattr(message, "format"):
            return decode_compressed(message, self._max_megapixels)
        raise RejectedInput(
            "malformed",
            f"{type(message).__name__} is neither sensor_msgs/Image nor CompressedImage",
        )

    def _require_fit(self, image: RgbImage) -> None:
        try:
            self._check_fit(image)
        except ValueError as error:
            raise RejectedInput("unfit_for_model", str(error)) from None

    def _calibration_of(self, image: RgbImage) -> Calibration | None:
        if self._calibration is None:
            return None
        height, width = image.shape[:2]
        pinhole = self._calibration.pinhole
        if (pinhole.width, pinhole.height) == (width, height):
            return self._calibration
        if not self._is_mismatch_counted:
            self._is_mismatch_counted = True
            self._rejections.add(
                RejectedInput(
                    "camera_info_size",
                    f"camera_info is for {pinhole.width}x{pinhole.height}, but the image is "
                    f"{width}x{height}; camera_info is left out",
                )
            )
        return None
