"""Numbers on command lines, for argparse."""

from __future__ import annotations

import math
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


def number(text: str) -> float:
    """Return a finite number of 0 or more; ArgumentTypeError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text} is no number of 0 or more")
    return value


def positive_number(text: str) -> float:
    """Return a finite number above 0; ArgumentTypeError for anything else."""
    value = number(text)
    if not value:
        raise ArgumentTypeError(f"{text} is not above 0")
    return value
