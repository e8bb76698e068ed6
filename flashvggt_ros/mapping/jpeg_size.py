"""How large a JPEG picture says it is, before anything is decoded."""

from __future__ import annotations

FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (ITU-T T.81, table B.1)


def jpeg_size(picture: bytes) -> tuple[int, int]:
    """Return width and height [px] from the header (ITU-T T.81, annex B); ValueError without."""
    if picture[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG picture")
    at = 2
    while at + 9 <= len(picture):
        if picture[at] != 0xFF:
            break
        marker, length = picture[at + 1], int.from_bytes(picture[at + 2 : at + 4], "big")
        if marker in FRAME_HEADERS:
            height, width = (int.from_bytes(picture[at + i : at + i + 2], "big") for i in (5, 7))
            return width, height
        at += 2 + length
    raise ValueError("a JPEG picture without a size")
