from argparse import ArgumentTypeError

import pytest

from flashvggt_ros.counts import count, number, positive_count, positive_number


def test_whole_numbers_are_taken() -> None:
    assert (count("0"), count("12"), positive_count("1")) == (0, 12, 1)


@pytest.mark.parametrize("text", ["many", "", "-1", "1.5", "1e3", "0x1"])
def test_anything_else_is_refused_with_what_it_is(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"^{text} is no number of 0 or more"):
        count(text)
    with pytest.raises(ArgumentTypeError, match=f"^{text} is no whole number, or less than 1"):
        positive_count(text)


def test_zero_is_not_positive() -> None:
    with pytest.raises(ArgumentTypeError, match="0 is no whole number, or less than 1"):
        positive_count("0")


def test_numbers_are_taken_and_what_is_none_is_named() -> None:
    assert (number("0"), number("1e-3"), positive_number("2.5")) == (0.0, 0.001, 2.5)
    for text in ("much", "", "-3", "nan", "inf"):
        for take in (number, positive_number):
            with pytest.raises(ArgumentTypeError, match=f"^{text} is no number of 0 or more"):
                take(text)
    with pytest.raises(ArgumentTypeError, match="0 is not above 0"):
        positive_number("0")
