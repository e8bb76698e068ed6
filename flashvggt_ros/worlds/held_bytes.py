"""How much memory an object holds."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType

import numpy as np


def held_bytes(root: object) -> int:
    """Size of all arrays and bytes reached from ``root``, each memory block once [bytes]."""
    blocks: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            blocks[id(thing)] = thing.nbytes
        elif isinstance(thing, bytes | bytearray):
            blocks[id(thing)] = len(thing)
        else:
            waiting.extend(gc.get_referents(thing))
    return sum(blocks.values())
