import torch

from flashvggt_ros.model.rope import patch_positions, rotate, rotation


def turned(tokens: torch.Tensor, positions: list[tuple[int, int]]) -> torch.Tensor:
    return rotate(tokens, rotation(torch.tensor(positions), tokens.shape[-1], 100.0))


def test_special_tokens_are_not_turned():
    tokens = torch.randn(1, 3, 2, 16)

    torch.testing.assert_close(turned(tokens, [(0, 0)] * 3), tokens)


def test_lengths_are_kept():
    tokens = torch.randn(2, 5, 3, 16)

    lengths = turned(tokens, [(1, 1), (1, 2), (9, 4), (30, 2), (0, 7)]).norm(dim=-1)

    torch.testing.assert_close(lengths, tokens.norm(dim=-1))


def test_a_product_depends_on_the_offset_alone():
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    here = turned(q, [(3, 5)]) * turned(k, [(1, 2)])
    there = turned(q, [(13, 25)]) * turned(k, [(11, 22)])

    torch.testing.assert_close(here.sum(), there.sum(), rtol=1e-5, atol=1e-6)


def test_rows_turn_the_first_half_and_columns_the_second():
    tokens = torch.randn(1, 1, 1, 16)

    by_row = turned(tokens, [(4, 0)])

    torch.testing.assert_close(by_row[..., 8:], tokens[..., 8:])
    assert (by_row[..., :8] - tokens[..., :8]).abs().max() > 0.01


def test_patches_follow_the_special_tokens_row_by_row():
    positions = patch_positions(2, 3, 2, torch.device("cpu"))

    assert positions.tolist() == [
        [0, 0], [0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]
    ]


def test_each_pair_turns_by_its_own_angle():
    tokens = torch.randn(1, 1, 1, 16, dtype=torch.float64)
    pairs = tokens.view(2, 2, 4)  # half, first or second of a pair, pair
    angles = torch.tensor([[3.0], [7.0]]) * 100.0 ** (-2 * torch.arange(4) / 8)
    expected = torch.complex(pairs[:, 0], pairs[:, 1]) * torch.exp(1j * angles.double())

    found = turned(tokens, [(3, 7)]).view(2, 2, 4)

    torch.testing.assert_close(torch.complex(found[:, 0], found[:, 1]), expected,
                               rtol=1e-5, atol=1e-6)
