"""Folders that appear whole or not at all, also in the place of an older one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder to write into; on success all is on the disk and it becomes ``folder``.

    ``overwrite``: an older ``folder`` changes places with it in one step of the file system, and is
    then deleted: whenever the process is killed, ``folder`` is whole. What killed processes left
    beside it goes, too. Raises FileExistsError where there is one and it may not be overwritten,
    OSError where the file system cannot do it.
    """
    if os.path.lexists(folder) and not overwrite:
        raise FileExistsError(f"{folder} exists already: choose another name, or overwrite it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(folder)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir()
    lock = _locked(partial)
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if overwrite and folder.is_dir():
            _exchange(partial, folder)
            _sync(folder.parent)
            shutil.rmtree(partial)
        else:
            partial.rename(folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    """Hold a folder's lock for as long as this process lives and the descriptor is open."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _delete_leftovers(folder: Path) -> None:
    """Delete what was begun for ``folder`` by processes that are gone."""
    ours = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{32}}\.partial")
    for entry in folder.parent.iterdir():
        if not ours.fullmatch(entry.name) or entry.is_symlink():
            continue
        try:
            lock = _locked(entry)
        except OSError:  # someone is writing there, or was faster
            continue
        shutil.rmtree(entry, ignore_errors=True)
        os.close(lock)


def _exchange(first: Path, second: Path) -> None:
    """Let two folders change names in one step (renameat2, Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if not hasattr(libc, "renameat2"):
        raise OSError(f"this system cannot overwrite {second} in one step: choose another name")
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(
            code, f"{os.strerror(code)}: this file system cannot overwrite a folder in one step; "
            "choose another name", str(second),
        )


def _sync(path: Path) -> None:
    """Force a file or folder onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
