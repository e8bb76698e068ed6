"""Groups keyframes into the chunks that the model takes."""

from __future__ import annotations

from flashvggt_ros.config import ChunkConfig
from flashvggt_ros.frame import Chunk, Frame, FrameStamp


class Chunker:
    """Collects keyframes until a chunk is full or its first keyframe has waited too long.

    Time is that of the images, never that of the machine, so that a replay makes the same chunks.
    """

    def __init__(self, config: ChunkConfig) -> None:
        self._size = config.size
        self._max_wait_ns = round(config.max_wait * 1e9)
        self._frames: list[Frame] = []

    @property
    def waiting(self) -> tuple[FrameStamp, ...]:
        """The keyframes that wait for their chunk, oldest first."""
        return tuple(FrameStamp(frame.stamp_ns, frame.camera) for frame in self._frames)

    def push(self, frame: Frame) -> Chunk | None:
        """Add a keyframe; return the chunk that it completes.

        A keyframe that comes more than ``max_wait`` after the chunk's first one closes the chunk
        and belongs to it: it need not wait itself, and the model sees as many views as there are.
        """
        self._frames.append(frame)
        is_full = len(self._frames) >= self._size
        return self.flush() if is_full else self.expire(frame.stamp_ns)

    def expire(self, now_ns: int) -> Chunk | None:
        """Return what waits if, at image time ``now_ns``, it has waited too long."""
        if self._frames and now_ns - self._frames[0].stamp_ns > self._max_wait_ns:
            return self.flush()
        return None

    def flush(self) -> Chunk | None:
        """Return what waits, however little, or None if nothing does."""
        frames, self._frames = tuple(self._frames), []
        return Chunk(frames) if frames else None
