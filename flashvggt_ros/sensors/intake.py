"""The door of the system: messages of one image topic in, frames out, everything counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration
from flashvggt_ros.sensors.camera_info import calibration_from_camera_info
from flashvggt_ros.sensors.compressed_images import ImageStream, check_compressed
from flashvggt_ros.sensors.image_decoding import RawImage, RgbImage, check_image, decode_image
from flashvggt_ros.sensors.rejected_input import RejectedInput, Rejections, read_header
from flashvggt_ros.sensors.stamp_order import StampOrder, no_clock

__all__ = ["CameraIntake", "CheckedImage", "Reduction", "RejectedInput", "unreduced"]

Reduction = Callable[[int, int], int]
"""By how much an image of a width and height [px] may be reduced for whoever takes the frames.

One of 1, 2, 4 and 8, which divides both. Raises ValueError for a size that they have no use for.
"""


def unreduced(width: int, height: int) -> int:
    """Take images of every size as they are."""
    return 1


@dataclass(frozen=True, slots=True, eq=False)
class CheckedImage:
    """An image that is in order as far as that shows without decoding it.

    ``nbytes``: what it takes while it waits. ``calibration`` belongs to the RGB image (H, W, 3)
    that ``decode()`` returns, where it does not raise RejectedInput.
    """

    stamp_ns: int
    camera: str
    nbytes: int
    calibration: Calibration | None
    decode: Callable[[], RgbImage]
    rejections: Rejections

    def frame(self) -> Frame:
        """Decode it, in any thread. Raises RejectedInput, which has been counted and said."""
        try:
            image = self.decode()
        except RejectedInput as rejection:
            self.rejections.add(rejection)
            raise
        return Frame(self.stamp_ns, self.camera, image, self.calibration)


class CameraIntake:
    """Turns the messages of one image topic and its camera_info into frames.

    Every refusal is counted in ``rejected`` by its cause and logged once per cause. Stamps must
    grow: a repeated or older one is refused, and so is every message of a bag that starts over
    until ``reset`` is called; ``order`` finds that it does. Topics whose last name begins with
    ``image_rect`` carry rectified images (image_proc's convention). Not thread-safe.

    ``convert_raw`` makes RGB (H, W, 3) uint8 of a raw message whose fields have been checked;
    ``reduction`` says which images the model can take, and how large they are of use;
    ``now_ns`` is the time of a clock, see StampOrder.
    """

    def __init__(
        self,
        topic: str,
        limits: ImageConfig,
        convert_raw: Callable[[Any], RgbImage] = decode_image,
        reduction: Reduction = unreduced,
        now_ns: Callable[[], int] = no_clock,
    ) -> None:
        self.topic = topic
        self.order = StampOrder(now_ns)
        self._rejections = Rejections(topic)
        self._max_megapixels = limits.max_megapixels
        self._convert_raw = convert_raw
        self._reduction = reduction
        self._is_rectified = any(part.startswith("image_rect") for part in topic.split("/"))
        self._calibration: Calibration | None = None
        self._is_mismatch_counted = False

    @property
    def rejected(self) -> Counter[str]:
        """How many messages were refused, by cause."""
        return self._rejections.counts

    def refuse(self, rejection: RejectedInput) -> None:
        """Count and say a refusal of a message that could not even be read."""
        self._rejections.add(rejection)

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

    def check(self, message: Any) -> CheckedImage:
        """Look at a sensor_msgs/Image or CompressedImage, told apart by their fields.

        That is quick: nothing is decoded. A calibration of another size than the image is counted,
        said once and left out. Raises RejectedInput.
        """
        try:
            stamp_ns, camera = self._header(message)
            image = self._image(message)
            reduction = self._useful_reduction(image)
        except RejectedInput as rejection:
            self._rejections.add(rejection)
            raise
        self.order.accept(stamp_ns)
        calibration = self._calibration_of(image, reduction)
        decode = partial(image.decode, reduction)
        return CheckedImage(
            stamp_ns, camera, image.nbytes, calibration, decode, self._rejections
        )

    def frame(self, message: Any) -> Frame:
        """Check and decode a message at once. Raises RejectedInput."""
        return self.check(message).frame()

    def _header(self, message: Any) -> tuple[int, str]:
        stamp_ns, frame = read_header(message)
        self.order.check(stamp_ns, "image")
        return stamp_ns, frame or self.topic.lstrip("/")  # a frame is never without a name

    def _image(self, message: Any) -> RawImage | ImageStream:
        if hasattr(message, "encoding"):
            check_image(message, self._max_megapixels)
            return RawImage(message, self._convert_raw)
        if hasattr(message, "format"):
            return check_compressed(message, self._max_megapixels)
        raise RejectedInput(
            "malformed",
            f"{type(message).__name__} is neither sensor_msgs/Image nor CompressedImage",
        )

    def _useful_reduction(self, image: RawImage | ImageStream) -> int:
        try:
            return self._reduction(image.width, image.height)
        except ValueError as error:
            raise RejectedInput("unfit_for_model", str(error)) from None

    def _calibration_of(
        self, image: RawImage | ImageStream, reduction: int
    ) -> Calibration | None:
        if self._calibration is None:
            return None
        pinhole = self._calibration.pinhole
        if (pinhole.width, pinhole.height) == (image.width, image.height):
            return self._calibration.reduced(reduction)
        if not self._is_mismatch_counted:
            self._is_mismatch_counted = True
            self._rejections.add(
                RejectedInput(
                    "camera_info_size",
                    f"camera_info is for {pinhole.width}x{pinhole.height}, but the image is "
                    f"{image.width}x{image.height}; camera_info is left out",
                )
            )
        return None
