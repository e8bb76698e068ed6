"""Chunks close when they are full or when their first keyframe has waited too long."""

import numpy as np

from flashvggt_ros.config import ChunkConfig
from flashvggt_ros.frame import Chunk, Frame, FrameStamp
from flashvggt_ros.mapping.chunker import Chunker

START_NS = 1_700_000_000_000_000_001
WAIT_NS = 2_000_000_000


def frame(after_ns: int) -> Frame:
    return Frame(START_NS + after_ns, "camera", np.zeros((1, 1, 3), np.uint8), None)


def chunker(size: int = 4) -> Chunker:
    return Chunker(ChunkConfig(size=size, overlap=1, max_wait=2.0))


def stamps(chunk: Chunk | None) -> list[int]:
    assert chunk is not None
    return [f.stamp_ns - START_NS for f in chunk.frames]


def test_a_chunk_closes_when_it_is_full() -> None:
    chunks = chunker()
    closed = [chunks.push(frame(i)) for i in range(9)]
    assert [i for i, chunk in enumerate(closed) if chunk] == [3, 7]
    assert stamps(closed[7]) == [4, 5, 6, 7]


def test_a_keyframe_that_comes_late_closes_its_chunk_and_belongs_to_it() -> None:
    chunks = chunker()
    assert chunks.push(frame(0)) is None
    assert chunks.push(frame(WAIT_NS)) is None
    assert stamps(chunks.push(frame(WAIT_NS + 1))) == [0, WAIT_NS, WAIT_NS + 1]
    assert chunks.waiting == ()


def test_passing_time_closes_a_chunk_without_a_new_keyframe() -> None:
    chunks = chunker()
    assert chunks.expire(START_NS) is None
    chunks.push(frame(0))
    assert chunks.expire(START_NS + WAIT_NS) is None
    assert stamps(chunks.expire(START_NS + WAIT_NS + 1)) == [0]
    assert chunks.expire(START_NS + 9 * WAIT_NS) is None


def test_a_stamp_that_jumps_back_closes_nothing() -> None:
    chunks = chunker()
    chunks.push(frame(0))
    assert chunks.push(frame(-9 * WAIT_NS)) is None


def test_flush_returns_what_waits_once() -> None:
    chunks = chunker()
    assert chunks.flush() is None
    chunks.push(frame(0))
    chunks.push(frame(5))
    assert chunks.waiting == (FrameStamp(START_NS, "camera"), FrameStamp(START_NS + 5, "camera"))
    assert stamps(chunks.flush()) == [0, 5]
    assert chunks.flush() is None
