import pytest
import torch
from torch.nn import functional

from flashvggt_ros.model.aggregator import LAYOUTS_KEPT
from flashvggt_ros.model.chunk_keys import ChunkKeys, KeyLayout
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.kernels import PLAIN


@pytest.mark.parametrize("grid", [(28, 37), (12, 16), (7, 5), (3, 2)])
@pytest.mark.parametrize("factor", [1, 2])
def test_descriptors_are_patches_interpolated_bilinearly(make_model, grid, factor):
    config = make_model(kv_downfactor=factor).config
    chunk = ChunkKeys(config, KeyLayout(grid, 3, (), torch.device("cpu")))
    patches = grid[0] * grid[1]
    x = torch.randn(2, 3, 5 + patches, 16, generator=torch.Generator().manual_seed(0))

    ours = chunk.descriptors(PLAIN, x.flatten(1, 2)).unflatten(1, (3, -1))

    maps = x[:, :, 5:].flatten(0, 1).transpose(1, 2).unflatten(2, grid)
    small = functional.interpolate(maps, (grid[0] // factor, grid[1] // factor), mode="bilinear")
    expected = small.flatten(2).transpose(1, 2).unflatten(0, (2, 3))
    torch.testing.assert_close(ours[:, :, 5:], expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(ours[:, :, :5], x[:, :, :5])


def test_what_a_layout_needs_is_made_once_and_forgotten_at_last(make_model, images):
    aggregator = make_model().aggregator
    kept = aggregator._layouts

    def run(count: int) -> None:
        cache = make_model().new_cache()
        with torch.inference_mode():
            aggregator(images[None, :count], cache)
            aggregator(images[None, :count], cache)

    run(3)
    first, second = kept.values()  # with a reference frame and without
    run(3)
    assert list(kept.values()) == [first, second]
    for count in (1, 2, 4, 5, 6):
        run(count)
    assert len(kept) == LAYOUTS_KEPT
    assert first not in kept.values()


def test_tables_made_in_inference_mode_serve_gradients_later(make_model, images):
    model = make_model().requires_grad_(True)
    with torch.inference_mode():
        expected = model(images).depth

    depth = model(images).depth

    depth.mean().backward()
    torch.testing.assert_close(depth, expected)


def test_a_chunk_needs_no_value_on_the_host(make_model, images):
    """On the device meta there are no values: whatever asks for one fails."""
    model = make_model().to("meta")
    model.aggregator.set_normalization("meta")
    cache = model.new_cache(max_cache_mb=0.05, memory_stride=2)

    for chunk in [images.to("meta").split(2)[0]] * 8:
        features = model.encode_chunk(chunk, cache)
        poses = model.camera_head(features.camera_tokens)[-1]  # autocast does not know meta
        depth, _ = model.depth_head([tap[0, :, 5:] for tap in features.taps], features.grid)

    assert poses.shape == (1, 16, 9)
    assert depth.shape == (2, 16, 24)
    assert len(cache.held) < cache.seen == 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_host_never_waits_for_the_gpu_within_a_chunk(make_model, images):
    model: FlashVGGT = make_model().cuda()
    cache, pixels = model.new_cache(max_cache_mb=0.05), images.cuda()
    model.forward_chunk(pixels[:2], cache)
    model.forward_chunk(pixels[2:4], cache)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            model.forward_chunk(pixels[4:6], cache)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(cache.held) < cache.seen
