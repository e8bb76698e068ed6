"""Attention without a running maximum gives what float64 does."""

import importlib.util
import math

import pytest
import torch
from torch.nn import functional

IS_HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not IS_HOPPER,
    reason="needs Triton and a GPU of compute capability 9.0",
)
HEADS = 3


def exactly_attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = torch.einsum("blhc,bhmc->bhlm", q.double(), k.double()) / math.sqrt(64)
    return torch.einsum("bhlm,bhmc->blhc", scores.softmax(-1), v.double()).flatten(2)


def check(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Compare for queries that are multiplied before, and rounded then."""
    from flashvggt_ros.model.hopper.attention import SCALE, attend_bounded

    scaled = (q * SCALE).bfloat16()
    ours = attend_bounded(scaled, k, v)
    expected = exactly_attended(scaled.double() / SCALE, k, v)
    assert ours.shape == expected.shape
    assert (ours - expected).norm() < 5e-3 * expected.norm()


def keys(batch: int, count: int, *, spare: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values in storage with room for more, which nothing may read."""
    storage = torch.randn(2, batch, HEADS, count + spare, 64, device="cuda").bfloat16()
    storage[:, :, :, count:] = math.nan
    k, v = storage[:, :, :, :count]
    return k, v


@pytest.mark.parametrize("count", [1, 63, 64, 127, 128, 129, 1000])
@pytest.mark.parametrize("length", [8, 190, 192, 194, 380, 700])
def test_any_number_of_queries_and_keys(length, count):
    q = torch.randn(2, length, HEADS, 64, device="cuda").bfloat16()
    check(q, *keys(2, count))


def test_more_blocks_than_the_gpu_has_processors():
    q = torch.randn(1, 200 * 192, HEADS, 64, device="cuda").bfloat16()
    check(q, *keys(1, 300))


def test_parts_of_a_fused_projection():
    fused = torch.randn(3, 120, 3 * HEADS * 64, device="cuda").bfloat16()
    q, k, v = fused.unflatten(-1, (3, HEADS, 64)).unbind(2)
    check(q, k.transpose(1, 2), v.transpose(1, 2))


@pytest.mark.parametrize("count", [1, 31, 128, 130, 197, 1041])
def test_queries_as_they_are(count):
    """Sequences attend within themselves: of the last keys some widths are apart."""
    from flashvggt_ros.model.hopper.attention import attend

    fused = torch.randn(3, count, 3 * HEADS * 64, device="cuda").bfloat16()
    q, k, v = fused.unflatten(-1, (3, HEADS, 64)).unbind(2)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    check(q, k, v)
    for size in (1.0, 8.0):  # scores of one, of tens
        ours = attend(size * q, k, v)
        expected = exactly_attended(size * q, k, v)
        assert (ours - expected).norm() < 5e-3 * expected.norm()


def test_more_sequences_than_the_gpu_has_processors():
    from flashvggt_ros.model.hopper.attention import attend

    q, k, v = torch.randn(3, 300, 200, HEADS, 64, device="cuda").bfloat16().unbind()
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    expected = exactly_attended(q, k, v)
    assert (attend(q, k, v) - expected).norm() < 5e-3 * expected.norm()


@pytest.mark.parametrize("above", [80.0, 200.0])
def test_scores_that_rise_too_far_are_not_silently_wrong(above):
    """Only the first key's score is ``above`` all others, which are zero."""
    from flashvggt_ros.model.hopper.attention import attend

    q = torch.ones(1, 300, HEADS, 64, device="cuda").bfloat16()
    k = torch.zeros(1, HEADS, 300, 64, device="cuda").bfloat16()
    k[:, :, 0] = above / 8
    v = torch.randn(1, HEADS, 300, 64, device="cuda").bfloat16()
    ours = attend(q, k, v)
    if above > 88:
        assert not ours.isfinite().any()
    else:
        expected = v[:, :, 0].flatten(1).expand(300, -1)
        assert (ours[0] - expected).norm() < 5e-3 * expected.norm()


def test_scores_near_the_largest_allowed():
    """Queries of length 8 * 8 against keys of 8: some scores are near 64, others near -64."""
    q = 8 * functional.layer_norm(torch.randn(1, 192, HEADS, 64, device="cuda"), (64,))
    k, v = keys(1, 500)
    k.copy_(functional.layer_norm(k.float(), (64,)))
    check(q, k, v)
