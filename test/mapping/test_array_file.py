"""Arrays come back as they were, and what is not what was promised is refused unread."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashvggt_ros.mapping.array_file import ArraySpec, read_arrays, write_arrays

SPECS = {"a": ArraySpec("<f8", ("N", 3)), "b": ArraySpec("<i8", ("N",))}
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([7, 8])}


def content(tmp_path: Path, arrays: dict[str, Any] = ARRAYS) -> bytes:
    write_arrays(tmp_path / "x.npz", arrays)
    return (tmp_path / "x.npz").read_bytes()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_a_large_array_is_read_in_pieces_into_its_place(tmp_path: Path) -> None:
    large = {"a": np.arange(3e6).reshape(-1, 3), "b": np.arange(10**6)}
    packed = content(tmp_path, large)
    tracemalloc.start()
    try:
        read = read_arrays(packed, SPECS, "x.npz")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.4 * len(packed)  # of copies made at once, which hold up all other threads
    assert all(np.array_equal(read[name], array) for name, array in large.items())


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    read = read_arrays(content(tmp_path), SPECS, "x.npz")
    assert list(read) == ["a", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].flags.writeable


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert content(tmp_path) == content(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"a": np.zeros((2, 4))}, "array a"),
        ({"a": np.zeros((2, 3), np.float32)}, "array a"),
        ({"a": np.zeros((2, 3), order="F").T.reshape(3, 2).T}, "array a"),
        ({"b": np.array([1, 2, 3])}, "array b"),
        ({"a": np.full((2, 3), np.nan)}, "not finite"),
        ({"a": np.full((2, 3), np.inf)}, "not finite"),
        ({"c": np.zeros(1)}, "its arrays are not a, b"),
    ],
)
def test_another_array_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        read_arrays(content(tmp_path, ARRAYS | change), SPECS, "x.npz")
    assert "x.npz" in str(error.value)


def test_objects_are_refused_and_not_unpickled() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    trapped = npy(np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="array a"):
        read_arrays(zipped({"a.npy": trapped, "b.npy": npy(ARRAYS["b"])}), SPECS, "x.npz")


def test_a_header_that_promises_more_than_there_is_takes_no_memory() -> None:
    huge = npy(np.zeros((2, 3))).replace(b"(2, 3), }" + 12 * b" ", b"(9000000000000, 3), }")
    assert b"9000000000000" in huge
    with pytest.raises(ValueError, match=r"array a is .* but has 48 bytes"):
        read_arrays(zipped({"a.npy": huge, "b.npy": npy(ARRAYS["b"])}), SPECS, "x.npz")


def test_a_compressed_array_is_refused() -> None:
    members = {"a.npy": npy(np.zeros((100_000, 3))), "b.npy": npy(np.zeros(100_000, int))}
    with pytest.raises(ValueError, match="compressed"):
        read_arrays(zipped(members, zipfile.ZIP_DEFLATED), SPECS, "x.npz")


@pytest.mark.parametrize("part", [slice(0), slice(100), slice(-30), slice(50, None)])
def test_a_torn_file_is_refused(tmp_path: Path, part: slice) -> None:
    with pytest.raises(ValueError, match=r"x\.npz"):
        read_arrays(content(tmp_path)[part], SPECS, "x.npz")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    damaged = bytearray(content(tmp_path))
    damaged[damaged.index(np.float64(4.0).tobytes())] ^= 1
    with pytest.raises(ValueError, match="CRC"):
        read_arrays(bytes(damaged), SPECS, "x.npz")
