"""Files that a user names: written in one step, or in place where the name is a device or a pipe."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

USUAL_MODE: Final = 0o666
"""Mode of a file, which the process's mask restricts."""

_OPENED: dict[Path, BinaryIO] = {}
"""Targets that are no regular files, from the command's beginning until they are written."""


def prepare_file(path: Path) -> None:
    """Open a file that is written at the end, so that one that cannot be is found before any work is done.

    Raises:
        OSError: if it cannot be written; the error names the file.
    """
    with _naming(path):
        if is_written_in_place(path):
            _OPENED[path] = _open(path)
        else:
            _draft(path).write_bytes(b"")
            _draft(path).unlink()


def write_file(path: Path, data: bytes, mode: int = USUAL_MODE) -> None:
    """Write what the user named: in one step, or in place what is no regular file.

    A file that is there stays whole until the new one is on the disk. If that fails, as on a full disk, the
    old one stays and nothing of the new one is left.

    Raises:
        OSError: if it cannot be written; the error names the file.
    """
    with _naming(path):
        if is_written_in_place(path):
            sys.stdout.flush()
            with _OPENED.pop(path, None) or _open(path) as file:
                file.write(data)
            return
        _replace(path, data, mode)


def _replace(path: Path, data: bytes, mode: int) -> None:
    draft = _draft(path)
    real = _real(path)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if real.exists() and mode == USUAL_MODE:
            shutil.copymode(real, draft)
        draft.replace(real)
    finally:
        draft.unlink(missing_ok=True)


def is_written_in_place(path: Path) -> bool:
    """Is it a pipe or a device, what stands for a stream of this process, or the file that one leads into?"""
    is_of_process = any(map(path.absolute().is_relative_to, ("/dev/fd", "/proc")))
    return is_of_process or _stream(path) is not None or (path.exists() and not path.is_file())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Give an `OSError` of a write the file's name: the system names none where the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _real(path: Path) -> Path:
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def _draft(path: Path) -> Path:
    real = _real(path)
    return real.with_name(f".{real.name}.{os.getpid()}")


def _stream(path: Path) -> int | None:
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
    return None


def _open(path: Path) -> BinaryIO:
    """What is written in place; of a stream after what was printed, and before what will be."""
    stream = _stream(path)
    return path.open("ab") if stream is None else os.fdopen(os.dup(stream), "wb")
