"""What is wrong with a message that cannot be used, and the checked reading of its fields."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAUSES = frozenset(
    {
        "malformed",  # a field is missing or of the wrong type
        "unknown_encoding",
        "zero_size",
        "too_large",
        "unfit_size",  # of an encoding that works on blocks of pixels
        "unfit_for_model",  # too small or too elongated
        "step_too_short",
        "data_too_short",
        "truncated",
        "undecodable",
        "stamp_zero",
        "stamp_repeated",
        "stamp_backwards",
        "camera_info_uncalibrated",
        "camera_info_invalid",
        "camera_info_unsupported",
        "camera_info_size",
    }
)


class RejectedInput(ValueError):  # noqa: N818 - it names the event, not a fault of ours
    """A message that is dropped: ``cause`` is one of CAUSES, the text says value, limit, remedy."""

    def __init__(self, cause: str, reason: str) -> None:
        if cause not in CAUSES:
            raise KeyError(cause)
        super().__init__(reason)
        self.cause = cause


def read_field(message: Any, name: str) -> Any:
    """Return a field of a message; RejectedInput where there is none of that name."""
    try:
        return getattr(message, name)
    except AttributeError:
        raise RejectedInput(
            "malformed", f"the message ({type(message).__name__}) has no field '{name}'"
        ) from None


def read_integer(message: Any, name: str, limit: int = 2**32) -> int:
    """Return an integer field; RejectedInput unless it is an integer from 0 to below ``limit``."""
    value = read_field(message, name)
    try:
        number = operator.index(value)
    except TypeError:
        raise RejectedInput(
            "malformed", f"{name} is {type(value).__name__}, not an integer"
        ) from None
    if not 0 <= number < limit:
        raise RejectedInput("malformed", f"{name} is not within 0 to {limit - 1}")
    return number


def read_text(message: Any, name: str) -> str:
    """Return a string field; RejectedInput for anything else."""
    value = read_field(message, name)
    if not isinstance(value, str):
        raise RejectedInput("malformed", f"{name} is {type(value).__name__}, not a string")
    return value


def read_octets(message: Any) -> NDArray[np.uint8]:
    """View the field ``data`` (array.array, bytes or uint8 array) as bytes (L,), without a copy."""
    value = read_field(message, "data")
    try:
        view = memoryview(value)
    except TypeError:
        view = None
    if view is None or view.itemsize != 1 or not view.c_contiguous:
        raise RejectedInput("malformed", f"data is {type(value).__name__}, not contiguous bytes")
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def check_image_size(width: int, height: int, max_megapixels: float) -> None:
    """Refuse a size of zero, or one beyond the limit, before any memory is taken for it."""
    if width <= 0 or height <= 0:
        raise RejectedInput("zero_size", f"the image is {width}x{height}: both must be positive")
    if width * height > max_megapixels * 1e6:
        raise RejectedInput(
            "too_large",
            f"the image is {width}x{height}, {width * height / 1e6:.1f} megapixels: the limit is "
            f"{max_megapixels:g}; raise image.max_megapixels or publish smaller images",
        )
