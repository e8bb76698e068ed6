"""Triton's kernels compute what the plain ones do: on a GPU, or interpreted on a CPU."""

import importlib.util
import os

import pytest
import torch

from flashvggt_ros.model.kernels import PLAIN, use_kernels

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not IS_INTERPRETED else "cpu"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or (DEVICE == "cpu" and not IS_INTERPRETED),
    reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1",
)
TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(scope="module")
def fused():
    from flashvggt_ros.model.kernels_triton import triton_kernels

    return triton_kernels()


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


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
    assert_near(fused.add(x, branch, gamma), PLAIN.add(x, branch, gamma))
    ours = fused.add_and_normalize(x, branch, gamma, weight, bias, 1e-6, out)
    expected = PLAIN.add_and_normalize(x, branch, gamma, weight, bias, 1e-6, out)
    for one, other in zip(ours, expected, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("heads", "channels"), [(5, 64), (2, 8)])
def test_queries_in_a_fused_projection_are_normed_and_turned(fused, dtype, heads, channels):
    q, k, _ = random(3, 6, 3, heads, channels, dtype=dtype).unbind(2)
    weight, bias = random(2, channels, seed=1)
    cos, sin = random(2, 6, 1, channels, seed=2)

    for tokens in (q, k, q[:, None], k.transpose(0, 1).contiguous().transpose(0, 1)):
        assert_near(fused.turn(tokens, weight, bias, 1e-5, cos, sin),
                    PLAIN.turn(tokens, weight, bias, 1e-5, cos, sin))


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
