"""From a camera's image to the model's, and the intrinsics along with it.

A model image is a centered cut-out of the (undistorted) camera image, scaled to the canvas of its
submap. Pixel centers are at integers on both sides, so u_model = (u - left + 0.5) * s - 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.model.model_config import ModelConfig
from flashvggt_ros.model.undistortion import UndistortionMap, undistortion_map

MOST_MAPS = 32  # kept for undistortion: a driver may send another calibration with each image


class ImageSizeError(ValueError):
    """An image that is too small, or too elongated, for the model."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size of the images of a submap [px].

    ``detail``: how many times as fine the images are in which corners are followed.
    """

    width: int
    height: int
    detail: int = 1


@dataclass(frozen=True, slots=True)
class Crop:
    """Which part of a source image becomes the canvas: ``left``, ``top``, size [source px]."""

    left: int
    top: int
    width: int
    height: int
    source_width: int
    source_height: int
    canvas: Canvas

    @classmethod
    def centered(cls, source_width: int, source_height: int, canvas: Canvas) -> Crop:
        """Make the largest centered part with the canvas' shape, to the nearest pixel."""
        scale = max(canvas.width / source_width, canvas.height / source_height)
        width = min(source_width, round(canvas.width / scale))
        height = min(source_height, round(canvas.height / scale))
        if width < 1 or height < 1:
            raise ImageSizeError(f"{source_width}x{source_height} does not fill {canvas}")
        left, top = (source_width - width) // 2, (source_height - height) // 2
        return cls(left, top, width, height, source_width, source_height, canvas)

    def detailed(self) -> Crop:
        """Return the same part on a canvas that is finer by its ``detail``."""
        width, height, detail = self.canvas.width, self.canvas.height, self.canvas.detail
        return replace(self, canvas=Canvas(width * detail, height * detail))

    @property
    def scale(self) -> tuple[float, float]:
        """Model pixels per source pixel, across and down."""
        return self.canvas.width / self.width, self.canvas.height / self.height

    def to_model(self, source: Pinhole) -> Pinhole:
        """Return the pinhole of the model image of a camera with pinhole ``source``."""
        if (source.width, source.height) != (self.source_width, self.source_height):
            raise ValueError(
                f"calibration is for {source.width}x{source.height}, the image is "
                f"{self.source_width}x{self.source_height}"
            )
        across, down = self.scale
        return Pinhole(
            source.fx * across,
            source.fy * down,
            (source.cx - self.left + 0.5) * across - 0.5,
            (source.cy - self.top + 0.5) * down - 0.5,
            self.canvas.width,
            self.canvas.height,
        )

    def to_source(self, model: Pinhole) -> Pinhole:
        """Invert to_model."""
        across, down = self.scale
        return Pinhole(
            model.fx / across,
            model.fy / down,
            (model.cx + 0.5) / across - 0.5 + self.left,
            (model.cy + 0.5) / down - 0.5 + self.top,
            self.source_width,
            self.source_height,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ModelImage:
    """An image as the model sees it.

    ``image`` (H, W, 3) uint8 RGB. ``fine`` (F H, F W) uint8: the same in gray and finer by the
    canvas' ``detail`` F. ``is_seen`` (H, W): False where the camera saw nothing, beyond the border
    of an undistorted image. ``pinholes``: the camera at this size, or nothing where it
    is not calibrated and the model has to tell.
    """

    image: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    is_seen: NDArray[np.bool_]
    pinholes: tuple[Pinhole, ...]


class Preprocessor:
    """Undistorts, cuts and scales, in one interpolation; remembers the newest maps."""

    def __init__(
        self, config: ModelConfig, *, width: int, use_calibration: bool, most_detail: int = 1
    ) -> None:
        """Images become ``width`` pixels long; 0: as long as the model was trained for.

        Those to follow corners in are finer by ``most_detail``, if the camera's are.
        """
        self.patch = config.patch_size
        self.least = config.patch_size * config.kv_downfactor
        self.width = width or config.image_width
        self.shorter_side_min = 0
        if config.shorter_side_min:
            patches = config.shorter_side_min * self.width / config.image_width / self.patch
            self.shorter_side_min = max(round(patches) * self.patch, self.least)
        self.use_calibration = use_calibration
        self.most_detail = most_detail
        self._maps: dict[tuple[Calibration, Crop], UndistortionMap] = {}
        if self.width % self.patch or self.width < self.least:
            near = max(round(self.width / self.patch) * self.patch, self.least)
            raise ValueError(
                f"predictor.width is {self.width}: it must be a multiple of {self.patch} and at "
                f"least {self.least}, for example {near}"
            )

    def canvas(self, image: NDArray[np.uint8]) -> Canvas:
        """Choose the canvas of a submap by its first image.

        The longer side gets the model's width and the shorter one the multiple of the patch that
        loses the least: at most half a patch, of rows or of columns. Where that makes the shorter
        side smaller than the model's ``shorter_side_min``, the shorter side gets that and the
        longer one more, up to twice the width; longer images are cut. A model without such a limit
        sees portraits cut to a square, as upstream.
        Raises ImageSizeError for images too small or too wide to give ``kv_downfactor`` patches.
        """
        height, width = image.shape[:2]
        return self._detailed_canvas(width, height)

    def reduction(self, width: int, height: int) -> int:
        """Return by how much an image may be reduced, sides divided: 1, 2, 4 or 8.

        It then still is as fine as its canvas with all ``detail``. Raises what canvas() does.
        """
        canvas = self._detailed_canvas(width, height)
        columns, rows = canvas.width * canvas.detail, canvas.height * canvas.detail
        for factor in (8, 4, 2):
            is_whole = width % factor == 0 and height % factor == 0
            if is_whole and width >= factor * columns and height >= factor * rows:
                return factor
        return 1

    def _detailed_canvas(self, width: int, height: int) -> Canvas:
        if min(width, height) < self.least:
            raise ImageSizeError(
                f"image is {width}x{height}: the model needs at least {self.least}x{self.least}"
            )
        canvas = self._canvas(width, height)
        finer = round(min(width / canvas.width, height / canvas.height))
        return replace(canvas, detail=max(1, min(self.most_detail, finer)))

    def _canvas(self, width: int, height: int) -> Canvas:
        if not self.shorter_side_min:
            return self._canvas_of_one_width(width, height)
        longer, shorter = max(width, height), min(width, height)
        scale = max(self.width / longer, self.shorter_side_min / shorter)
        sides = [min(round(side * scale / self.patch) * self.patch, 2 * self.width)
                 for side in (width, height)]
        return Canvas(*sides)

    def _canvas_of_one_width(self, width: int, height: int) -> Canvas:
        rows = round(height * self.width / width / self.patch) * self.patch
        if rows < self.least:
            raise ImageSizeError(
                f"image is {width}x{height}: at width {self.width} it is lower than the "
                f"{self.least} rows that the model needs"
            )
        return Canvas(self.width, min(rows, self.width))

    def prepare(self, frame: Frame, canvas: Canvas) -> ModelImage:
        """Bring a frame to the canvas; a view of another shape is cut to it, never padded."""
        height, width = frame.image.shape[:2]
        if min(width, height) < self.least:
            raise ImageSizeError(
                f"image is {width}x{height}: the model needs at least {self.least}x{self.least}"
            )
        crop = Crop.centered(width, height, canvas)
        calibration = frame.calibration if self.use_calibration else None
        pinholes = () if calibration is None else (crop.to_model(calibration.pinhole),)
        image, is_seen = self._view(frame.image, crop, calibration)
        fine = image
        if canvas.detail > 1:
            fine, _ = self._view(frame.image, crop.detailed(), calibration)
        gray = np.asarray(cv2.cvtColor(fine, cv2.COLOR_RGB2GRAY), np.uint8)
        return ModelImage(image, gray, is_seen, pinholes)

    def _view(
        self, image: NDArray[np.uint8], crop: Crop, calibration: Calibration | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the part of an image on its canvas, straightened, and where it was seen."""
        if calibration is None or not any(calibration.coefficients):
            return _scale(image, crop), np.ones((crop.canvas.height, crop.canvas.width), bool)
        key = (calibration, crop)
        if key not in self._maps:
            while len(self._maps) >= MOST_MAPS:
                del self._maps[next(iter(self._maps))]
            self._maps[key] = undistortion_map(calibration, crop.to_model(calibration.pinhole))
        return self._maps[key].apply(image), self._maps[key].is_seen


def _scale(image: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """Cut and scale; every source pixel counts when shrinking."""
    part = image[crop.top: crop.top + crop.height, crop.left: crop.left + crop.width]
    method = cv2.INTER_AREA if min(crop.scale) < 1 else cv2.INTER_CUBIC
    size = (crop.canvas.width, crop.canvas.height)
    return np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=method), np.uint8)
