import pytest
import torch

from flashvggt_ros.model.aggregator import chunk_layout
from flashvggt_ros.model.descriptor_cache import DescriptorCache
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.memory import ChunkLayout, GradientCache

FRAME_BYTES = 2 * 4 * 16 * (5 + 6) * 4  # k and v, layers, width, tokens of 16x24 px, float32
REFERENCE_BYTES = 2 * 4 * 16 * 24 * 4


def megabytes(frames: int) -> float:
    """The bound at which exactly ``frames`` frames of the tiny model fit."""
    return (REFERENCE_BYTES + frames * FRAME_BYTES) / 1e6


def run(model: FlashVGGT, chunks: list[torch.Tensor], **options) -> tuple[list, DescriptorCache]:
    cache = model.new_cache(**options)
    return [model.forward_chunk(chunk, cache) for chunk in chunks], cache


@pytest.fixture
def stream() -> torch.Tensor:
    return torch.rand(40, 3, 16, 24, generator=torch.Generator().manual_seed(8))


def test_two_caches_in_turn_do_not_touch_each_other(make_model, images):
    model = make_model()
    one, other = model.new_cache(), model.new_cache()
    mixed = []
    for chunk in images.split(2):
        mixed.append(model.forward_chunk(chunk, one))
        model.forward_chunk(chunk.flip(0), other)

    alone, _ = run(model, list(images.split(2)))

    for ours, theirs in zip(mixed, alone, strict=True):
        assert torch.equal(ours.pose_enc, theirs.pose_enc)
        assert torch.equal(ours.depth, theirs.depth)


@pytest.mark.parametrize("options", [{"max_frames": 64}, {"max_cache_mb": megabytes(40)}])
def test_below_the_bound_the_result_is_that_of_an_unlimited_cache(make_model, stream, options):
    model = make_model()

    ours, cache = run(model, list(stream.split(4)), **options)

    unlimited, _ = run(model, list(stream.split(4)))
    assert torch.equal(ours[-1].pose_enc, unlimited[-1].pose_enc)
    assert torch.equal(ours[-1].depth, unlimited[-1].depth)
    assert cache.frames == 40
    assert cache.nbytes == REFERENCE_BYTES + 40 * FRAME_BYTES


def test_a_full_cache_stays_within_its_bound_and_keeps_reference_and_anchors(make_model, stream):
    model = make_model()
    cache = model.new_cache(max_cache_mb=megabytes(12))

    for chunk in stream.split(4):
        prediction = model.forward_chunk(chunk, cache)
        assert cache.allocated_bytes <= megabytes(12) * 1e6
        assert cache.nbytes <= cache.allocated_bytes

    assert cache.held == (0, 16, *range(30, 40))
    assert prediction.pose_enc.shape == (1, 40, 9)
    assert torch.isfinite(prediction.pose_enc).all()


def test_a_cache_says_whether_a_chunk_fits_before_any_frame_must_leave(make_model, stream):
    model = make_model()
    cache = model.new_cache(max_cache_mb=megabytes(12))
    assert cache.fits(100)  # how large frames are is not known yet
    for chunk in stream.split(4)[:3]:
        assert cache.fits(4)
        model.forward_chunk(chunk, cache)
    assert cache.held == tuple(range(12))
    assert not cache.fits(1)
    model.forward_chunk(stream[12:16], cache)
    assert len(cache.held) == 12 < cache.seen

    unbounded = model.new_cache()
    model.forward_chunk(stream[:4], unbounded)
    assert unbounded.fits(10**6)


def test_anchors_are_spread_evenly_over_a_long_past():
    cache = DescriptorCache(dtype=torch.float32, max_bytes=2 * 4 * (1 + 32))

    for index in range(1000):
        k = torch.zeros(1, 1, 2 if index == 0 else 1, 1)
        cache.begin(layout_of_one_token(index == 0))
        cache.extend(0, k, k)
        cache.end(torch.zeros(1, 1, 1))

    held = torch.tensor(cache.held)
    gaps = held[held < 900].diff()
    assert held[0] == 0
    assert len(held) == 32
    assert len(gaps) >= 3
    assert gaps.unique().tolist() == [gaps[0]]
    assert set(range(976, 1000)) <= set(cache.held)


def layout_of_one_token(is_first: bool) -> ChunkLayout:
    return ChunkLayout(batch=1, frames=1, reference_tokens=int(is_first), frame_tokens=1, layers=1,
                       heads=1, head_dim=1)


def test_eviction_equals_attention_over_the_frames_that_are_held(make_model, stream):
    """The last chunk sees exactly the frames that the cache says it holds."""
    model = make_model()
    kept = _SelectiveCache()
    cache = model.new_cache(max_cache_mb=megabytes(7))
    for chunk in stream.split(2):
        ours = model.forward_chunk(chunk, cache)
        kept.allowed = set(cache.held)
        theirs = model.forward_chunk(chunk, kept)
        torch.testing.assert_close(ours.depth, theirs.depth)


class _SelectiveCache(GradientCache):
    """Keeps all frames, attends to the reference and the allowed ones."""

    allowed: set[int]

    def begin(self, layout):
        self.layout = layout
        self.reference = max(getattr(self, "reference", 0), layout.reference_tokens)

    def extend(self, layer, k, v):
        keys, values = super().extend(layer, k, v)
        size = self.layout.frame_tokens
        index = list(range(self.reference))
        for frame in sorted(self.allowed):
            start = self.reference + frame * size
            index += range(start, start + size)
        return keys[:, :, index], values[:, :, index]


@pytest.mark.parametrize("chunk", [1, 3, 5])
def test_memory_stride_drops_frames_from_memory_but_not_from_their_own_chunk(
    make_model, stream, chunk
):
    model = make_model()
    cache, kept = model.new_cache(memory_stride=3), _SelectiveCache()
    seen = 0
    for images in stream[:21].split(chunk):
        ours = model.forward_chunk(images, cache)
        past = {index for index in range(seen) if index % 3 == 0}
        kept.allowed = past | set(range(seen, seen + len(images)))
        torch.testing.assert_close(ours.depth, model.forward_chunk(images, kept).depth)
        seen += len(images)

    assert cache.held == tuple(range(0, 21, 3))
    assert cache.seen == 21


def test_stride_and_bound_work_together(make_model, stream):
    model = make_model()

    results, cache = run(model, list(stream.split(4)), max_cache_mb=megabytes(9), memory_stride=3)

    assert cache.allocated_bytes <= megabytes(9) * 1e6
    assert cache.held[0] == 0
    assert cache.held[-1] == 39
    assert all(index % 3 == 0 for index in cache.held)
    assert torch.isfinite(results[-1].depth).all()


@pytest.mark.parametrize("failing", [0, 2])
def test_a_chunk_that_failed_half_way_can_be_tried_again_in_smaller_parts(
    make_model, stream, failing
):
    model = make_model()
    cache, clean = model.new_cache(), model.new_cache()
    for number, chunk in enumerate(stream[:12].split(4)):
        if number == failing:
            cache.begin(chunk_layout(model.config, (4, 6), 4, references=int(number == 0)))
        for part in chunk.split(2):
            ours = model.forward_chunk(part, cache)
            torch.testing.assert_close(ours.depth, model.forward_chunk(part, clean).depth)


def test_bfloat16_storage_is_half_the_size_and_close(make_model, images):
    model = make_model()

    exact, full = run(model, list(images.split(3)))
    ours, half = run(model, list(images.split(3)), dtype=torch.bfloat16)

    assert 2 * half.nbytes == full.nbytes
    torch.testing.assert_close(ours[-1].depth, exact[-1].depth, rtol=0.05, atol=0.05)
    assert not torch.equal(ours[-1].depth, exact[-1].depth)


def test_a_cache_made_in_inference_mode_can_be_used_outside(make_model, images):
    model = make_model()
    cache = model.new_cache()
    with torch.inference_mode():
        model.forward_chunk(images[:3], cache)

    model.forward_chunk(images[3:], cache)

    assert cache.frames == 7


def test_a_bound_too_small_for_one_chunk_is_refused_with_the_size_it_needs(make_model, images):
    model = make_model()

    with pytest.raises(ValueError, match="needs at least"):
        model.forward_chunk(images, model.new_cache(max_cache_mb=megabytes(6)))


def test_another_image_size_needs_another_cache(make_model, images):
    model = make_model()
    cache = model.new_cache()
    model.forward_chunk(images, cache)

    with pytest.raises(ValueError, match="use a new cache"):
        model.forward_chunk(images[..., :16], cache)


def test_a_stride_of_zero_is_refused(make_model):
    with pytest.raises(ValueError, match="memory_stride is 0"):
        make_model().new_cache(memory_stride=0)
