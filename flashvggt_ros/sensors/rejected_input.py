"""What is wrong with a message that cannot be used, and the checked reading of its fields."""

from __future__ import annotations

import logging
import operator
import threading
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

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
        "stamp_ahead",  # by so much that one message alone does not prove it
        "camera_info_uncalibrated",
        "camera_info_invalid",
        "camera_info_unsupported",
        "camera_info_size",
        "not_finite",
        "zero_quaternion",
        "frame_missing",
        "frame_unknown",  # another one than can be used
        "too_far",
    }
)


FARTHEST = 1e7  # of anything that a message places [m]: beyond, numbers lose their meaning


class RejectedInput(ValueError):  # noqa: N818 - it names the event, not a fault of ours
    """A message that is dropped: ``cause`` is one of CAUSES, the text says value, limit, remedy."""

    def __init__(self, cause: str, reason: str) -> None:
        if cause not in CAUSES:
            raise KeyError(cause)
        super().__init__(reason)
        self.cause = cause


class Rejections:
    """The refusals of one topic: counted by cause, and logged once per cause. Any thread may."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._said: set[str] = set()

    @property
    def counts(self) -> Counter[str]:
        """How many there were by now, by cause."""
        with self._lock:
            return self._counts.copy()

    def add(self, rejection: RejectedInput) -> None:
        """Count a refusal; say it where it is the first of its cause."""
        with self._lock:
            self._counts[rejection.cause] += 1
            is_first = rejection.cause not in self._said
            self._said.add(rejection.cause)
        if is_first:
            logger.warning("%s: dropped: %s (further ones are counted)", self.topic, rejection)

    def say_again(self) -> None:
        """Log the next refusal of each cause again; the counts stay."""
        with self._lock:
            self._said.clear()


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
    """Return a string field; RejectedInput for anything else, or what UTF-8 has no bytes for."""
    value = read_field(message, name)
    if not isinstance(value, str):
        raise RejectedInput("malformed", f"{name} is {type(value).__name__}, not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RejectedInput("malformed", f"{name} is not UTF-8: {value[:80]!a}") from None
    return value


def read_numbers(message: Any, names: str) -> NDArray[np.float64]:
    """Return the fields ``names`` (one letter each) as float64; RejectedInput unless all finite."""
    values = [read_field(message, name) for name in names]
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise RejectedInput("malformed", f"{', '.join(names)} are not all numbers") from None
    if numbers.shape != (len(names),):
        raise RejectedInput("malformed", f"{', '.join(names)} are not all numbers")
    if not np.isfinite(numbers).all():
        raise RejectedInput("not_finite", f"{', '.join(names)} are {numbers.tolist()}: not finite")
    return numbers


def read_place(message: Any) -> NDArray[np.float64]:
    """Return x, y, z of a Point or Vector3 in meters; RejectedInput beyond FARTHEST."""
    place = read_numbers(message, "xyz")
    if np.abs(place).max() > FARTHEST:
        raise RejectedInput(
            "too_far", f"x, y, z are {place.tolist()}: the limit is {FARTHEST:g} m"
        )
    return place


def read_matrix(message: Any, name: str, size: int) -> NDArray[np.float64]:
    """Return a field of size x size numbers, row by row, as a matrix; RejectedInput if not finite.

    Covariances are such fields.
    """
    try:
        numbers = np.array(read_field(message, name), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, RejectedInput):
            raise
        numbers = np.empty(0)
    if numbers.shape != (size * size,):
        raise RejectedInput("malformed", f"{name} is not {size * size} numbers")
    if not np.isfinite(numbers).all():
        raise RejectedInput("not_finite", f"{name} is not finite")
    return numbers.reshape(size, size)


def read_quaternion(message: Any) -> NDArray[np.float64]:
    """Return a geometry_msgs/Quaternion as x, y, z, w of length 1; RejectedInput if zero."""
    xyzw = read_numbers(message, "xyzw")
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(xyzw))
    if norm == np.inf:
        raise RejectedInput("not_finite", f"the quaternion is {xyzw.tolist()}: too large")
    if norm < 1e-6:
        raise RejectedInput("zero_quaternion", "the quaternion is zero: it is no rotation")
    return xyzw / norm


def read_header(message: Any) -> tuple[int, str]:
    """Return a message's stamp [ns] and its frame, as tf2 knows it: without a leading slash."""
    stamp = read_field(read_field(message, "header"), "stamp")
    seconds = read_integer(stamp, "sec", 2**31)
    stamp_ns = seconds * 1_000_000_000 + read_integer(stamp, "nanosec", 1_000_000_000)
    return stamp_ns, read_header_frame(message)


def read_header_frame(message: Any) -> str:
    """Return a message's frame, as tf2 knows it: without a leading slash."""
    return read_text(read_field(message, "header"), "frame_id").lstrip("/")


def check_stamp(stamp_ns: int, last_stamp_ns: int, what: str) -> None:
    """Refuse a stamp that is zero, or not newer than the last one of its topic.

    ``what`` names such a message: "image".
    """
    if stamp_ns == 0:
        raise RejectedInput("stamp_zero", f"the stamp is zero; let the driver stamp each {what}")
    if stamp_ns == last_stamp_ns:
        raise RejectedInput(
            "stamp_repeated", f"the stamp {stamp_ns} ns is that of the {what} before it"
        )
    if stamp_ns < last_stamp_ns:
        raise RejectedInput(
            "stamp_backwards",
            f"the stamp {stamp_ns} ns lies {(last_stamp_ns - stamp_ns) / 1e9:.3f} s before that of "
            f"the last {what}; call ~/reset if a bag or simulation started over",
        )


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
