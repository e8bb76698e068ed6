"""sensor_msgs/CameraInfo as the calibration of the images that it describes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.camera import DISTORTION_COEFFICIENTS, Calibration, Pinhole
from flashvggt_ros.sensors.rejected_input import (
    RejectedInput,
    read_field,
    read_integer,
    read_text,
)

# Coefficients that a message may carry, by model; missing ones are zero, those beyond our model's
# count must be.
_ACCEPTED = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


def calibration_from_camera_info(message: Any, is_rectified: bool = False) -> Calibration:
    """Return the calibration of the raw image (K, d), or of the rectified one (P, no distortion).

    Region of interest and binning are applied, so the pinhole has the size of the image as sent.
    Binning merges pixels: the center of merged pixel 0 lies at (binning - 1) / 2 of the full
    image. Raises RejectedInput: camera_info_uncalibrated (zero focal length, which is how the
    message says so), camera_info_invalid, or camera_info_unsupported.
    """
    name, shape = ("p", (3, 4)) if is_rectified else ("k", (3, 3))
    matrix = _numbers(message, name, shape[0] * shape[1]).reshape(shape)[:, :3]
    _check_pinhole_matrix(matrix, name.upper())
    model, coefficients = ("none", ()) if is_rectified else _distortion(message)
    try:
        return Calibration(_as_sent(message, matrix), model, coefficients)
    except ValueError as error:
        if isinstance(error, RejectedInput):
            raise
        raise RejectedInput("camera_info_invalid", f"camera_info: {error}") from None


def _check_pinhole_matrix(matrix: NDArray[np.float64], name: str) -> None:
    fx, fy = matrix[0, 0], matrix[1, 1]
    if fx == 0 or fy == 0:
        raise RejectedInput(
            "camera_info_uncalibrated",
            f"camera_info has focal length ({fx:g}, {fy:g}), which means that the camera is not "
            "calibrated; calibrate it, or set predictor.use_camera_info to false",
        )
    expected = np.array([[fx, 0, matrix[0, 2]], [0, fy, matrix[1, 2]], [0, 0, 1]])
    if not np.isfinite(matrix).all() or np.abs(matrix - expected).max() > 1e-9:
        raise RejectedInput(
            "camera_info_invalid",
            f"camera_info has {name} = {matrix.tolist()}: it must be [fx 0 cx, 0 fy cy, 0 0 1]",
        )


def _distortion(message: Any) -> tuple[str, tuple[float, ...]]:
    """Return our model and its coefficients; 'none' where they have no effect."""
    model = read_text(message, "distortion_model")
    given = _numbers(message, "d", None)
    if model in ("", "none") and not given.any():
        return "none", ()
    if model not in _ACCEPTED or given.size not in _ACCEPTED[model]:
        raise RejectedInput(
            "camera_info_unsupported",
            f"camera_info has distortion model '{model[:40]}' with {given.size} coefficients; "
            "supported are plumb_bob with 0, 4 or 5, rational_polynomial with 8 and equidistant "
            "with 4; calibrate with one of these",
        )
    wanted = DISTORTION_COEFFICIENTS[model]
    if given[wanted:].any():
        raise RejectedInput(
            "camera_info_unsupported",
            f"camera_info has thin-prism or tilt coefficients {given[wanted:].tolist()} of "
            f"{model}: only zeros are supported there; calibrate without them",
        )
    if model != "equidistant" and not given.any():
        return "none", ()
    padded = np.zeros(wanted)
    padded[: min(wanted, given.size)] = given[:wanted]
    return model, tuple(padded.tolist())


def _as_sent(message: Any, matrix: NDArray[np.float64]) -> Pinhole:
    """Return the pinhole after region of interest and binning."""
    width, height = read_integer(message, "width"), read_integer(message, "height")
    roi = read_field(message, "roi")
    left, top = read_integer(roi, "x_offset"), read_integer(roi, "y_offset")
    roi_width, roi_height = read_integer(roi, "width"), read_integer(roi, "height")
    if roi_width == 0 and roi_height == 0:
        roi_width, roi_height = width - left, height - top
    binning_x = max(1, read_integer(message, "binning_x"))
    binning_y = max(1, read_integer(message, "binning_y"))
    if left + roi_width > width or top + roi_height > height:
        raise RejectedInput(
            "camera_info_invalid",
            f"camera_info has a region of interest of {roi_width}x{roi_height} at ({left}, {top}) "
            f"that leaves its {width}x{height} image",
        )
    return Pinhole(
        fx=matrix[0, 0] / binning_x,
        fy=matrix[1, 1] / binning_y,
        cx=(matrix[0, 2] - left + 0.5) / binning_x - 0.5,
        cy=(matrix[1, 2] - top + 0.5) / binning_y - 0.5,
        width=roi_width // binning_x,
        height=roi_height // binning_y,
    )


def _numbers(message: Any, name: str, count: int | None) -> NDArray[np.float64]:
    """Return field ``name`` as float64 (count,); any count for None."""
    value = read_field(message, name)
    try:
        numbers = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise RejectedInput("malformed", f"{name} is not a sequence of numbers") from None
    if numbers.ndim != 1 or (count is not None and numbers.size != count):
        raise RejectedInput(
            "malformed", f"{name} has shape {numbers.shape}, expected ({count or 'any'},)"
        )
    return numbers
