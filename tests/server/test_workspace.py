"""A small file is replaced in one step, and is on the disk before anybody is told that it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blindmatch_server.storage import files
from blindmatch_server.storage.files import PUBLIC, StorageError, replace_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def test_what_is_written_is_on_the_disk_before_it_takes_the_name_and_then_the_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[tuple[int, bytes]]()
    monkeypatch.setattr(
        files.os, "fsync", lambda number: synced.append((os.fstat(number).st_ino, path.read_bytes()))
    )
    replace_file(path, b"new", PUBLIC)
    assert synced == [(path.stat().st_ino, b"old"), (path.parent.stat().st_ino, b"new")]
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", PUBLIC)
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_can_be_repeated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="writing file: No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    replace_file(path, b"newer")
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"newer", [path])


def test_nothing_is_written_through_a_link_that_lies_in_the_way(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    path.with_name(".file.new").symlink_to(other)
    replace_file(path, b"new")
    assert (path.read_bytes(), other.read_bytes(), path.is_symlink()) == (b"new", b"other", False)
