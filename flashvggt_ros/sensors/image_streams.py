"""JPEG and PNG streams, read as far as their headers go: their size, and whether they are whole.

Decoders fill what is missing of a truncated JPEG with gray and say nothing, and take the memory
that a header asks for; both are found here, before decoding. Sources: ITU-T T.81 annex B (JPEG
markers), W3C PNG specification section 5 (chunks).
"""

from __future__ import annotations

import re
import struct
import zlib

from flashvggt_ros.sensors.rejected_input import RejectedInput

JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_FILL = re.compile(rb"\xff+")
# A stream of a few bytes may ask for hours: decoders go through the whole image for each scan.
MOST_SCANS = 100  # of a JPEG; progressive ones have about ten
MOST_PARTS = 100_000  # segments of a JPEG, chunks of a PNG
# In entropy-coded data a 0xFF is followed by a stuffed zero or a restart marker; any other follower
# ends it.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def jpeg_size(stream: memoryview) -> tuple[int, int]:
    """Return (width, height) of a JPEG; RejectedInput unless its segments run to the end marker."""
    size: tuple[int, int] | None = None
    at, scans = 2, 0
    for _ in range(MOST_PARTS):
        marker, at = _next_marker(stream, at)
        if marker == _END_OF_IMAGE:
            break
        if marker in _STANDALONE:
            continue
        end = at + _length(stream, at)
        if marker in _START_OF_FRAME:
            if size is not None:
                raise RejectedInput("undecodable", "the JPEG has two frame headers")
            size = _frame_size(stream, at, end)
        at = end
        if marker == _START_OF_SCAN:
            scans += 1
            at = _after_scan(stream, end, scans)
    else:
        raise RejectedInput("undecodable", f"the JPEG has more than {MOST_PARTS} segments")
    if size is None:
        raise RejectedInput("undecodable", "the JPEG has no frame header")
    return size


def png_size(stream: memoryview) -> tuple[int, int]:
    """Return (width, height) of a PNG; RejectedInput unless every chunk is whole, to IEND."""
    size: tuple[int, int] | None = None
    at = len(PNG_SIGNATURE)
    for _ in range(MOST_PARTS):
        if at + 12 > len(stream):
            raise _truncated("PNG", len(stream))
        length, kind = struct.unpack_from(">I4s", stream, at)
        end = at + 12 + length
        if end > len(stream):
            raise _truncated("PNG", len(stream))
        (checksum,) = struct.unpack_from(">I", stream, end - 4)
        if zlib.crc32(stream[at + 4 : end - 4]) != checksum:
            raise RejectedInput("undecodable", f"the PNG chunk at byte {at} has a wrong checksum")
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise RejectedInput("undecodable", "the PNG does not begin with its header")
            size = struct.unpack_from(">II", stream, at + 8)
        if kind == b"IEND":
            return size
        at = end
    raise RejectedInput("undecodable", f"the PNG has more than {MOST_PARTS} chunks")


def _next_marker(stream: memoryview, at: int) -> tuple[int, int]:
    """Return the marker at ``at``, behind any fill bytes, and the position after it."""
    if at < len(stream) and stream[at] != 0xFF:
        raise RejectedInput("undecodable", f"the JPEG has no marker at byte {at}")
    fill = _FILL.match(stream, at)
    at = fill.end() if fill else at
    if at >= len(stream):
        raise _truncated("JPEG", len(stream))
    return stream[at], at + 1


def _after_scan(stream: memoryview, at: int, number: int) -> int:
    """Return where the compressed pixels that begin at ``at`` end; those of scan ``number``."""
    if number > MOST_SCANS:
        raise RejectedInput("undecodable", f"the JPEG has more than {MOST_SCANS} scans")
    following = _AFTER_SCAN.search(stream, at)
    if following is None:
        raise _truncated("JPEG", len(stream))
    return following.start()


def _length(stream: memoryview, at: int) -> int:
    """Length of the segment whose length field is at ``at``, that field included."""
    if at + 2 > len(stream):
        raise _truncated("JPEG", len(stream))
    length = stream[at] << 8 | stream[at + 1]
    if length < 2:
        raise RejectedInput("undecodable", f"the JPEG segment at byte {at} has length {length}")
    if at + length > len(stream):
        raise _truncated("JPEG", len(stream))
    return length


def _frame_size(stream: memoryview, at: int, end: int) -> tuple[int, int]:
    if end - at < 8:
        raise RejectedInput("undecodable", "the JPEG frame header is too short")
    height, width = struct.unpack_from(">HH", stream, at + 3)
    return width, height


def _truncated(kind: str, length: int) -> RejectedInput:
    return RejectedInput(
        "truncated",
        f"the {kind} ends after {length} bytes without its end marker; check the link to the "
        "camera and the publisher's buffer",
    )
