"""Bytes, texts and messages, broken at random as cables, disks and attackers break them.

All is decided by the ``random.Random`` given: the same seed breaks the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

INTEGERS = (0, 1, -1, 2, 3, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**53, 2**63, 60_000)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-320, 1e-12, 1e6, 1e12, 1e308, -1e308, float("inf"),
          float("-inf"), float("nan"))  # fmt: skip
TEXTS = ("", " ", "/", "\0", "..", "../../etc/x", "a" * 5000, "\ud800", "%s%n", "rgb8", "base_link",
         "plumb_bob", "16UC1; compressedDepth png", "ü\n")  # fmt: skip
WORDS = ("", "0", "-1", "1", "1e999", "1e308", "-1e-320", ".nan", "NaN", "Infinity", "true", "null",
         "[]", "{}", "[[1]]", '"x"', "9" * 400, "9" * 5000, "1e999999999", "&a [*a]", "0x10", "1_0",
         "2020-13-45", "!!python/object/apply:os.system [x]", "\0", "é")  # fmt: skip
WORD = re.compile(r"[\w.+-]+")


def mangled(content: bytes, random: Random) -> bytes:
    """Return bytes with one to three things wrong."""
    broken = bytearray(content)
    for _ in range(random.randint(1, 3)):
        _OPERATORS[random.randrange(len(_OPERATORS))](broken, random)
    return bytes(broken)


def mangled_text(text: str, random: Random) -> str:
    """Return a text with one to three of its words replaced, its lines doubled or left out."""
    for _ in range(random.randint(1, 3)):
        words = list(WORD.finditer(text))
        if not words or random.random() < 0.3:
            lines = text.split("\n")
            at = random.randrange(len(lines))
            lines[at : at + 1] = [lines[at]] * random.choice((0, 2))
            text = "\n".join(lines)
            continue
        word = random.choice(words)
        text = text[: word.start()] + random.choice(WORDS) + text[word.end() :]
    return text


def mangled_value(value: Any, random: Random) -> Any:
    """Return another value in the place of a message's field, mostly of its type."""
    if random.random() < 0.1:
        return random.choice((None, "x", -1, 2**70, 0.5, [], b"", (1, 2)))
    if isinstance(value, (bool, int, np.integer)):
        return random.choice(INTEGERS)
    if isinstance(value, float):
        return random.choice(FLOATS)
    if isinstance(value, str):
        return random.choice(TEXTS)
    if isinstance(value, bytes):
        return mangled(value, random)
    if isinstance(value, np.ndarray):
        return _mangled_array(value, random)
    return value


def mangled_message(message: SimpleNamespace, random: Random) -> SimpleNamespace:
    """Change up to three fields of a message, however deep; return it.

    A third of the messages stays sound; sometimes a field is missing, which a typed message cannot
    be but a recorded one of another definition is.
    """
    fields = list(_fields(message))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        owner, name = random.choice(fields)
        if not hasattr(owner, name):
            continue
        if random.random() < 0.03:
            delattr(owner, name)
        else:
            setattr(owner, name, mangled_value(getattr(owner, name), random))
    return message


def _fields(message: SimpleNamespace) -> Iterator[tuple[SimpleNamespace, str]]:
    for name, value in vars(message).items():
        if isinstance(value, SimpleNamespace):
            yield from _fields(value)
        yield message, name


def _mangled_array(array: np.ndarray, random: Random) -> np.ndarray:
    way = random.randrange(4)
    if way == 0:
        return array[: random.randint(0, len(array))]
    if way == 1:
        return np.concatenate([array, array])
    changed = array.copy()
    if changed.size:
        pool = FLOATS if changed.dtype.kind == "f" else (0, 1, 127)
        changed.flat[random.randrange(changed.size)] = random.choice(pool)
    return changed


def _cut(content: bytearray, random: Random) -> None:
    del content[random.randint(0, len(content)) :]


def _flip(content: bytearray, random: Random) -> None:
    for _ in range(random.randint(1, 8) if content else 0):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _write_integer(content: bytearray, random: Random) -> None:
    """Write an integer that is as large, or as small, as can be where a size may stand."""
    size = random.choice((1, 2, 4, 8))
    number = random.choice(INTEGERS) % (1 << 8 * size)
    at = random.randint(0, min(len(content), random.choice((16, 256, 2**40))))
    content[at : at + size] = number.to_bytes(size, random.choice(("little", "big")))


def _remove(content: bytearray, random: Random) -> None:
    first = random.randint(0, len(content))
    del content[first : first + random.choice((1, 4, 100, 5000))]


def _repeat(content: bytearray, random: Random) -> None:
    first = random.randint(0, len(content))
    part = content[first : first + random.choice((1, 4, 100, 5000))]
    content[first:first] = part * random.randint(1, 3)


def _fill(content: bytearray, random: Random) -> None:
    first, length = random.randint(0, len(content)), random.choice((1, 8, 64, 1000))
    end = min(len(content), first + length)
    content[first:end] = bytes([random.choice((0, 0xFF, 0x80))]) * (end - first)


def _swap(content: bytearray, random: Random) -> None:
    """Exchange two parts of the same length."""
    length = random.choice((4, 8, 64))
    if len(content) < 2 * length:
        return
    first, second = (random.randrange(len(content) - length + 1) for _ in range(2))
    one, other = content[first : first + length], content[second : second + length]
    content[first : first + length], content[second : second + length] = other, one


def _append(content: bytearray, random: Random) -> None:
    content += random.choice((b"\0", b"\xff" * 100, b"PK\x05\x06" + bytes(18), b"x" * 5000))


_OPERATORS = (_cut, _flip, _flip, _write_integer, _write_integer, _remove, _repeat, _fill, _swap,
              _append)  # fmt: skip
