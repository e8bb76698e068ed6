"""Arrays in .npz files, read without trust: nothing is executed, nothing larger than the file."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

PIECE = 2**22  # that is read at once [bytes]
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array must be: a type, and a shape in which a name stands for any equal length."""

    dtype: str
    shape: tuple[int | str, ...]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays uncompressed; equal arrays give equal bytes."""
    np.savez(path, allow_pickle=False, **dict(arrays))


def read_arrays(
    content: bytes, specs: Mapping[str, ArraySpec], name: str
) -> dict[str, NDArray[Any]]:
    """Read the arrays that ``specs`` names, and no others, from the bytes of an .npz file.

    Raises ValueError, with ``name`` of the file, for anything else: other arrays, types or shapes,
    compressed members, objects, and numbers that are not finite where the type has such.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {entry.filename: entry for entry in archive.infolist()}
            if sorted(members) != sorted(f"{key}.npy" for key in specs):
                raise ValueError(f"its arrays are not {', '.join(sorted(specs))}")
            lengths: dict[str, int] = {}
            arrays = {}
            for key, spec in specs.items():
                entry = _stored(members[f"{key}.npy"], len(content))
                with archive.open(entry) as member:
                    arrays[key] = _read(member, entry.file_size, key, spec, lengths)
            return arrays
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    except Exception as error:  # whatever zipfile and NumPy trip over in a damaged file
        raise ValueError(f"{name} is damaged: {error!r}") from None


def _stored(entry: zipfile.ZipInfo, most: int) -> zipfile.ZipInfo:
    """Return a member that is as many bytes as it says, of a file that has ``most``."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed")
    if entry.file_size > most:
        raise ValueError(f"{entry.filename} would have {entry.file_size} bytes of {most}")
    return entry


def _read(
    member: IO[bytes], size: int, key: str, spec: ArraySpec, lengths: dict[str, int]
) -> NDArray[Any]:
    """Make an array of a member of ``size`` bytes; names of lengths are the same for all arrays."""
    version = npy.read_magic(member)
    if version not in HEADERS:
        raise ValueError(f"array {key} has the unknown version {version}")
    shape, is_fortran, dtype = HEADERS[version](member)
    if dtype != np.dtype(spec.dtype) or is_fortran or len(shape) != len(spec.shape):
        raise ValueError(f"array {key} is {dtype} {shape}, not {spec.dtype} {spec.shape}")
    for length, wanted in zip(shape, spec.shape, strict=True):
        known = lengths.setdefault(wanted, length) if isinstance(wanted, str) else wanted
        if length != known:
            raise ValueError(f"array {key} is {shape}, not {spec.shape} with {lengths}")
    if size - member.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"array {key} is {shape} but has {size - member.tell()} bytes")
    array = np.empty(shape, dtype)
    _fill(array, member)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"array {key} has numbers that are not finite")
    return array


def _fill(array: NDArray[Any], member: IO[bytes]) -> None:
    """Read an array in pieces: one of 100 MB at once holds up all other threads for 0.1 s."""
    rest = array.reshape(-1).view(np.uint8)
    while len(rest):
        piece = np.frombuffer(member.read(PIECE), np.uint8)
        if not len(piece):
            raise ValueError(f"{len(rest)} bytes are missing")
        rest[: len(piece)] = piece
        rest = rest[len(piece) :]
