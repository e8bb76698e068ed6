"""Triton's kernels compute what the plain ones do: on a GPU, or interpreted on a CPU."""

import importlib.util
import os

import pytest
import torch
from torch.nn import functional

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernels import PLAIN, use_kernels
from flashvggt_ros.model.rope import patch_positions, rotation

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not IS_INTERPRETED else "cpu"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or (DEVICE == "cpu" and not IS_INTERPRETED),
    reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1",
)
TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def _products_in_float32():
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def fused():
    from flashvggt_ros.model.kernels_triton import triton_kernels

    return triton_kernels()


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def convolution_of(
    channels: int, out: int, *, size: int = 3, has_bias: bool = True
) -> torch.nn.Conv2d:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(channels, out, size, padding=size // 2, bias=has_bias)
    return layer.requires_grad_(False).to(DEVICE)


def assert_near(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert ours.dtype == expected.dtype
    if expected.dtype == torch.bfloat16:
        torch.testing.assert_close(ours, expected, rtol=2**-7, atol=1e-5)
        if not IS_INTERPRETED:  # the interpreter cuts numbers off that a GPU rounds to nearest
            assert (ours != expected).float().mean() < 0.01
    else:
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("out", TYPES)
@pytest.mark.parametrize("width", [64, 320])
def test_norms_and_sums(fused, dtype, out, width):
    x, branch = 3 + random(2, 7, width, dtype=dtype), random(2, 7, width, dtype=out, seed=1)
    gamma, weight, bias = random(3, width, seed=2)

    assert_near(fused.normalize(x, weight, bias, 1e-5, out),
                PLAIN.normalize(x, weight, bias, 1e-5, out))
    layer = torch.nn.Identity()
    assert_near(fused.add_product(x, layer, branch, gamma),
                PLAIN.add_product(x, layer, branch, gamma))
    sum_and_norm = (x, layer, branch, gamma, weight, bias, 1e-6, out)
    ours = fused.add_product_and_normalize(*sum_and_norm)
    expected = PLAIN.add_product_and_normalize(*sum_and_norm)
    for one, other in zip(ours, expected, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("dtype", TYPES)
def test_patches_are_normed_where_they_stand_behind_special_tokens(fused, dtype):
    patches = random(3, 5 + 12, 64, dtype=dtype)[:, 5:]
    weight, bias = random(2, 64, seed=2)
    for tokens in (patches, patches.transpose(0, 1), patches[:, :1], patches[0]):
        assert_near(fused.normalize(tokens, weight, bias, 1e-5, dtype),
                    PLAIN.normalize(tokens, weight, bias, 1e-5, dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("heads", "channels"), [(5, 64), (2, 8)])
def test_queries_in_a_fused_projection_are_normed_and_turned(fused, dtype, heads, channels):
    q, k, _ = random(3, 6, 3, heads, channels, dtype=dtype).unbind(2)
    weight, bias = random(2, channels, seed=1)
    turn = rotation(patch_positions(2, 2, 2, q.device), channels, 100.0)

    for tokens in (q, k, q[:, None], k.transpose(0, 1).contiguous().transpose(0, 1)):
        assert_near(fused.turn(tokens, weight, bias, 1e-5, turn.cos, turn.sin),
                    PLAIN.turn(tokens, weight, bias, 1e-5, turn.cos, turn.sin))


@pytest.mark.parametrize("dtype", TYPES)
def test_descriptors_are_blended_of_patches_behind_special_tokens(fused, dtype):
    tokens = random(2, 3, 5 + 12, 40, dtype=dtype)[:, :, 5:]
    taps = torch.tensor([[0, 3], [1, 3], [4, 11], [5, 10]], device=DEVICE)
    weights = random(4, 2, 1, seed=1)
    assert_near(fused.blend(tokens, taps, weights), PLAIN.blend(tokens, taps, weights))


@pytest.mark.parametrize("is_cut", [True, False])
@pytest.mark.parametrize("terms", [0, 1, 2])
@pytest.mark.parametrize("has_bias", [True, False])
def test_what_follows_a_convolution(fused, has_bias, terms, is_cut):
    convolution = convolution_of(8, 12, has_bias=has_bias)
    x = random(2, 8, 5, 7).to(memory_format=torch.channels_last)
    added = [random(2, 12, 5, 7, seed=seed) for seed in range(terms)]
    assert_near(fused.convolve(convolution, x, added, is_cut=is_cut),
                PLAIN.convolve(convolution, x, added, is_cut=is_cut))


def test_what_follows_a_convolution_that_enlarges(fused):
    torch.manual_seed(0)
    enlarging = torch.nn.ConvTranspose2d(8, 12, 4, stride=4).requires_grad_(False).to(DEVICE)
    x = random(2, 8, 5, 7)
    assert_near(fused.convolve(enlarging, x), enlarging(x))


@pytest.mark.parametrize("size", [(5, 7), (9, 13), (1, 1), (40, 33)])
@pytest.mark.parametrize("has_place", [True, False])
def test_maps_are_resampled_corner_to_corner(fused, size, has_place):
    convolution = convolution_of(8, 12)
    place = (random(size[1], 6), random(size[0], 6, seed=1)) if has_place else None
    x = random(2, 8, 5, 7)
    assert_near(fused.convolve_resize(convolution, x, size, place),
                PLAIN.convolve_resize(convolution, x, size, place))


def test_maps_are_read_off_hidden_channels(fused):
    hidden, last = convolution_of(8, 32), convolution_of(32, 2, size=1)
    x = random(2, 8, 11, 13)
    assert_near(fused.read_maps(hidden, last, x), PLAIN.read_maps(hidden, last, x))


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", TYPES)
def test_gelu_of_a_product_errs_less_than_by_parts(fused, dtype):
    product = Product(64, 256).to(DEVICE, dtype).requires_grad_(False)
    x = 3 * random(5, 7, 64, dtype=dtype)
    exact = functional.gelu(functional.linear(
        x.double(), product.weight.double(), product.bias.double()
    ))
    ours, plain = (
        (kernels.gelu_product(product, x) - exact).norm() for kernels in (fused, PLAIN)
    )
    assert ours <= plain
    assert ours < 3e-3 * exact.norm()


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_a_model_says_the_same(make_model, images, fused, revision):
    model = make_model(revision=revision).to(DEVICE)
    pixels = images.to(DEVICE)
    expected = model(pixels, chunk_size=4)

    use_kernels(model, fused)

    ours = model(pixels, chunk_size=4)
    for name in ("depth", "pose_enc"):  # as a whole: single poses of random weights go far astray
        one, other = getattr(ours, name), getattr(expected, name)
        assert (one - other).norm() < 1e-4 * other.norm(), name
