"""The memory of one submap: keys and values of the descriptors of the frames seen so far.

Keys stand in it after norm and rotation, so nothing is projected twice. Attention does not mind
the order of keys, so a frame may take the place of an evicted one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flashvggt_ros.model.memory import ChunkLayout
from flashvggt_ros.model.pose_memory import PoseMemory

logger = logging.getLogger(__name__)


class DescriptorCache:
    """The memory for inference: preallocated, written in place, bounded.

    ``dtype`` is that of storage. ``max_frames``: frames to allocate for at once; 0: storage grows
    by doubling. ``max_bytes`` bounds the storage of descriptors (0: no bound). When a chunk would
    not fit, whole frames leave: the reference frame and evenly spread anchors (up to a quarter of
    the frames that fit) stay, of the others the oldest goes. ``memory_stride`` keeps every n-th
    frame of the submap for later chunks; a chunk always sees all of its own frames.
    ``camera_window``: frames whose poses each chunk refreshes, see PoseMemory; 0: all.
    Gradients do not pass through (see GradientCache).
    """

    def __init__(
        self,
        *,
        dtype: torch.dtype,
        max_frames: int = 0,
        max_bytes: int = 0,
        memory_stride: int = 1,
        camera_window: int = 0,
    ) -> None:
        if max_frames < 0 or max_bytes < 0:
            raise ValueError("max_frames and max_bytes must not be negative")
        if memory_stride < 1:
            raise ValueError(f"memory_stride is {memory_stride}: it must be at least 1")
        self.dtype = dtype
        self.memory_stride = memory_stride
        self.seen = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._anchor_spacing = memory_stride
        self._slots: list[int] = []  # submap index of the frame in each slot, -1: free
        self._chunk: _Chunk | None = None
        self._layout: ChunkLayout | None = None
        self._storage: list[Tensor] = []  # per layer (2, B, heads, capacity, head_dim)
        self._poses = PoseMemory(camera_window)

    @property
    def held(self) -> tuple[int, ...]:
        """Submap indices of the frames whose descriptors are held, ascending."""
        return tuple(sorted(index for index in self._slots if index >= 0))

    @property
    def frames(self) -> int:
        """Number of frames whose descriptors are held."""
        return len(self.held)

    @property
    def nbytes(self) -> int:
        """Size of the descriptors held [bytes]."""
        if self._layout is None or self.seen == 0:
            return 0
        return self._bytes(self._layout, self.frames)

    @property
    def allocated_bytes(self) -> int:
        """Size of the storage, filled or not; never above the bound [bytes]."""
        return sum(storage.nbytes for storage in self._storage)

    def fits(self, frames: int) -> bool:
        """Whether a chunk of so many frames, like those before, needs none to leave.

        True before the first chunk: how large frames are is not known yet.
        """
        if self._layout is None or self.seen == 0 or not self._max_bytes:
            return True
        return self._bytes(self._layout, self.frames + frames) <= self._max_bytes

    def begin(self, layout: ChunkLayout) -> None:
        """Give each frame of a chunk a slot, evicting others where the bound asks for it.

        Raises ValueError when the chunk does not fit the bound, or is of another image size or
        batch than the chunks before.
        """
        self._check(layout)
        first = self.seen
        if first == 0:
            self._forget()
            self._layout = layout
        self._compact()  # a chunk that failed half-way may have left free slots
        capacity = self._capacity(layout.frames)
        self._evict(len(self.held) + layout.frames - capacity, layout.frames, capacity)
        free = [slot for slot, index in enumerate(self._slots) if index < 0]
        grown = range(len(self._slots), len(self._slots) + layout.frames - len(free))
        slots = (free + list(grown))[: layout.frames]
        self._slots += [-1] * len(grown)
        indices = range(first, first + layout.frames)
        self._chunk = _Chunk(layout.reference_tokens, slots, indices, _runs(slots))

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write a chunk's keys and values into its slots; return views of all that is held."""
        chunk, layout = self._chunk, self._layout
        if chunk is None or layout is None:
            raise RuntimeError("extend was called outside a chunk")
        storage = self._reserve(layer, k.device)
        reference = layout.reference_tokens
        used = reference + len(self._slots) * layout.frame_tokens
        slots = storage[:, :, :, reference:used].unflatten(3, (-1, layout.frame_tokens))
        for target, source in zip((0, 1), (k.detach(), v.detach()), strict=True):
            if chunk.reference_tokens:
                storage[target, :, :, :reference] = source[:, :, :reference]
            frames = source[:, :, chunk.reference_tokens:].unflatten(2, (-1, layout.frame_tokens))
            for slot, first, count in chunk.runs:
                slots[target, :, :, slot: slot + count] = frames[:, :, first: first + count]
        return storage[0, :, :, :used], storage[1, :, :, :used]

    def end(self, camera_tokens: Tensor) -> Tensor:
        """Make the chunk part of the memory, less the frames that memory_stride drops."""
        chunk = self._chunk
        if chunk is None:
            raise RuntimeError("end was called outside a chunk")
        for slot, index in zip(chunk.slots, chunk.indices, strict=True):
            self._slots[slot] = -1 if index % self.memory_stride else index
        self._compact()
        self._chunk = None
        self.seen += len(chunk.indices)
        return self._poses.append(camera_tokens.detach())

    def complete_poses(self, pose_enc: Tensor) -> Tensor:
        """Poses (B, K, 9) of all frames seen, of those (B, k, 9) of the camera window."""
        return self._poses.complete(pose_enc)

    def _check(self, layout: ChunkLayout) -> None:
        known = self._layout
        if layout.frames < 1:
            raise ValueError("a chunk needs at least one frame")
        if self.seen == 0 or known is None:
            return
        if (layout.batch, layout.frame_tokens, layout.layers, layout.heads, layout.head_dim) != (
            known.batch, known.frame_tokens, known.layers, known.heads, known.head_dim
        ):
            raise ValueError(
                f"this cache holds chunks like {known}, not {layout}: use a new cache for another "
                "image size, batch or model"
            )
        if layout.reference_tokens:
            raise ValueError("only the first chunk of a cache has reference frames")

    def _forget(self) -> None:
        self._slots.clear()
        self._storage.clear()

    def _bytes(self, layout: ChunkLayout, frames: int) -> int:
        tokens = layout.reference_tokens + frames * layout.frame_tokens
        per_token = 2 * layout.layers * layout.batch * layout.heads * layout.head_dim
        return tokens * per_token * self.dtype.itemsize

    def _capacity(self, chunk_frames: int) -> int:
        """Frames that fit the bound, the current chunk's among them."""
        assert self._layout is not None
        if not self._max_bytes:
            return 1 << 40
        fixed = self._bytes(self._layout, 0)
        capacity = (self._max_bytes - fixed) // (self._bytes(self._layout, 1) - fixed)
        needed = chunk_frames + (self.seen > 0)
        if capacity < needed:
            least = self._bytes(self._layout, needed)
            raise ValueError(
                f"max_cache_mb is {self._max_bytes / 1e6:g}: a chunk of {chunk_frames} frames of "
                f"this size needs at least {least / 1e6:.1f} MB; raise it or shorten the chunk"
            )
        return capacity

    def _evict(self, count: int, chunk_frames: int, capacity: int) -> None:
        if count <= 0:
            return
        held = list(self.held)
        most_anchors = max(1, min(capacity // 4, capacity - chunk_frames))
        while sum(index % self._anchor_spacing == 0 for index in held) > most_anchors:
            self._anchor_spacing *= 2
        recent = [index for index in held if index % self._anchor_spacing]
        for index in recent[:count]:
            self._slots[self._slots.index(index)] = -1
        logger.debug("descriptor cache is full: frames %s evicted", recent[:count])

    def _compact(self) -> None:
        """Fill free slots from the end, so that what is held is contiguous."""
        while -1 in self._slots:
            last = self._slots.pop()
            if last < 0:
                continue
            free = self._slots.index(-1)
            self._slots[free] = last
            assert self._layout is not None
            start, size = self._layout.reference_tokens, self._layout.frame_tokens
            for storage in self._storage:
                target = start + free * size
                source = start + len(self._slots) * size
                storage[:, :, :, target: target + size] = storage[:, :, :, source: source + size]

    def _reserve(self, layer: int, device: torch.device) -> Tensor:
        """Storage of a layer, grown by doubling up to the bound if the slots ask for it."""
        layout = self._layout
        assert layout is not None
        while len(self._storage) <= layer:
            self._storage.append(torch.empty(0))
        storage = self._storage[layer]
        needed = layout.reference_tokens + len(self._slots) * layout.frame_tokens
        if storage.numel() and storage.shape[3] >= needed:
            return storage
        frames = max(2 * len(self._slots), self._max_frames)
        if self._max_bytes:
            fixed = self._bytes(layout, 0)
            frames = min(frames, (self._max_bytes - fixed) // (self._bytes(layout, 1) - fixed))
        tokens = layout.reference_tokens + frames * layout.frame_tokens
        shape = (2, layout.batch, layout.heads, tokens, layout.head_dim)
        with torch.inference_mode(False):  # so that it can be used in and out of that mode
            grown = torch.empty(shape, dtype=self.dtype, device=device)
        if storage.numel():
            grown[:, :, :, : storage.shape[3]] = storage
        self._storage[layer] = grown
        return grown


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The chunk that is being added: its slots, and the submap indices of its frames.

    ``runs``: the same slots as (first slot, first frame of the chunk, how many), for to write by
    slices needs no indices on the device, for which the host would have to wait.
    """

    reference_tokens: int
    slots: list[int]
    indices: Sequence[int]
    runs: tuple[tuple[int, int, int], ...]


def _runs(slots: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    """Cut slots into runs of consecutive ones: (first slot, its place in ``slots``, how many)."""
    starts = [i for i, slot in enumerate(slots) if i == 0 or slot != slots[i - 1] + 1]
    ends = [*starts[1:], len(slots)]
    return tuple((slots[i], i, end - i) for i, end in zip(starts, ends, strict=True))
