"""The camera tokens of a submap's frames, and what the camera head last said of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PoseMemory:
    """Chooses the frames whose poses the camera head refreshes with a chunk.

    ``window`` 0: all of them, which is exact and costs more with each chunk. Otherwise at most so
    many: the newest, and up to half of the window the first frame and anchors spread evenly over
    the past, which hold the frame of reference and the scale; memory and cost are then bounded. A
    frame that leaves keeps the pose that it had, and those that stay no longer attend to it: exact
    until the window is full, an approximation after that.
    """

    def __init__(self, window: int = 0) -> None:
        if window < 0:
            raise ValueError(f"camera_window is {window}: it must not be negative")
        self._window = window
        self._seen = 0
        self._frames: list[int] = []  # submap indices, ascending
        self._spacing = 1
        self._tokens: Tensor | None = None
        self._poses: Tensor | None = None

    @property
    def frames(self) -> tuple[int, ...]:
        """Submap indices of the frames to refresh, ascending."""
        return tuple(self._frames)

    def append(self, tokens: Tensor) -> Tensor:
        """Add a chunk's camera tokens (B, N, C); return those to decode (B, k, C), as ``frames``.

        Raises ValueError where a frame would have to leave that was not decoded yet.
        """
        count = tokens.shape[1]
        frames = [*self._frames, *range(self._seen, self._seen + count)]
        kept = self._choose(frames, count)
        decoded = 0 if self._poses is None else self._poses.shape[1]
        if any(frame >= decoded for frame in set(frames) - set(kept)):
            raise ValueError("a frame leaves the camera window before its pose was decoded: decode "
                             "each chunk, or leave camera_window out")
        if self._tokens is not None:
            tokens = torch.cat([self._tokens, tokens], dim=1)
        if len(kept) < len(frames):
            places = {frame: place for place, frame in enumerate(frames)}
            chosen = _index([places[frame] for frame in kept], tokens.device)
            tokens = tokens.index_select(1, chosen)
        self._tokens, self._frames = tokens, kept
        self._seen += count
        return tokens

    def complete(self, pose_enc: Tensor) -> Tensor:
        """Poses (B, K, 9) of all frames so far, of the newest ones (B, k, 9) of ``frames``."""
        if len(self._frames) == self._seen:
            self._poses = pose_enc.detach()
            return pose_enc
        known = pose_enc if self._poses is None else self._poses
        missing = self._seen - known.shape[1]
        table = torch.cat([known, known.new_zeros(known.shape[0], missing, known.shape[2])], dim=1)
        chosen = _index(self._frames, pose_enc.device)
        self._poses = table.index_copy(1, chosen, pose_enc.detach())
        return self._poses

    def _choose(self, frames: list[int], count: int) -> list[int]:
        """Choose of ``frames`` those to keep, the newest ``count`` among them."""
        if not self._window or len(frames) <= self._window:
            return frames
        past, newest = frames[:-count], frames[-count:]
        most = max(min(self._window // 2, self._window - count), 1)  # frame 0 stays in any case
        while sum(frame % self._spacing == 0 for frame in past) > most:
            self._spacing *= 2
        anchors = [frame for frame in past if frame % self._spacing == 0]
        others = [frame for frame in past if frame % self._spacing]
        room = max(self._window - count - len(anchors), 0)
        return sorted([*anchors, *others[len(others) - room:], *newest])


def _index(places: Sequence[int], device: torch.device) -> Tensor:
    """Return an index on the device, for which the host does not wait."""
    index = torch.tensor(places)
    if device.type != "cuda":
        return index.to(device)
    return index.pin_memory().to(device, non_blocking=True)
