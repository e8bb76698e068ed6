"""A folder appears whole or not at all, also in the place of an older one."""

import fcntl
import os
from pathlib import Path

import pytest

from flashvggt_ros.mapping.new_folder import new_folder


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write(folder: Path, text: str, *, overwrite: bool = False) -> None:
    with new_folder(folder, overwrite=overwrite) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_text(text)


def text_of(folder: Path) -> str:
    return (folder / "deep" / "file").read_text()


def test_a_folder_appears_with_all_its_files_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "maps" / "kitchen", "new")
    assert text_of(tmp_path / "maps" / "kitchen") == "new"
    assert names(tmp_path / "maps") == ["kitchen"]


def test_an_existing_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with pytest.raises(FileExistsError, match="exists already"):
        write(tmp_path / "a", "new")
    assert text_of(tmp_path / "a") == "old"


def test_an_existing_folder_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    write(tmp_path / "a", "new", overwrite=True)
    assert text_of(tmp_path / "a") == "new"
    assert names(tmp_path) == ["a"]


def test_until_all_is_written_the_old_folder_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with new_folder(tmp_path / "a", overwrite=True) as partial:
        (partial / "deep").mkdir()
        assert text_of(tmp_path / "a") == "old"


def test_a_file_of_that_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OSError, match="a"):
        write(tmp_path / "a", "new", overwrite=True)
    assert (tmp_path / "a").read_text() == "mine"
    assert names(tmp_path) == ["a"]


def test_writing_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")

    def fail() -> None:
        with new_folder(tmp_path / "a", overwrite=True) as partial:
            (partial / "half").write_text("x")
            raise KeyError("full")

    with pytest.raises(KeyError):
        fail()
    assert text_of(tmp_path / "a") == "old"
    assert names(tmp_path) == ["a"]


def test_what_killed_processes_left_is_deleted_and_what_others_write_is_not(tmp_path: Path) -> None:
    left, busy, other = (tmp_path / f".{name}.{digit * 32}.partial"
                         for name, digit in (("a", "0"), ("a", "1"), ("b", "0")))
    for folder in (left, busy, other):
        folder.mkdir()
    descriptor = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write(tmp_path / "a", "new")
    finally:
        os.close(descriptor)
    assert sorted(names(tmp_path)) == sorted([busy.name, other.name, "a"])
