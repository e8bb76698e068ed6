"""Whole numbers on command lines, for argparse."""

from __future__ import annotations

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """Return a number of 0 or more; ArgumentTypeError for anything else."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} is no number of 0 or more")
    return int(text)


def positive_count(text: str) -> int:
    """Return a number of 1 or more; ArgumentTypeError for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is no whole number, or less than 1")
    return int(text)
