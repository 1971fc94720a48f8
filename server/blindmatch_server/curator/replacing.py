"""One import at a time replaces a list file, and what killed ones left is removed.

.NAME.list.lock         held meanwhile; ends with the process
.NAME.list.xxxxxxxx     being written, readable by its owner alone; renamed to NAME.list
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindmatch_server.curator.errors import ListBusyError, ListError, SourceChangedError
from blindmatch_server.curator.hashlist import HashList, open_list
from blindmatch_server.storage.locking import hold
from blindmatch_server.storage.workspace import sync_folder


class Draft:
    """A file that is written beside `path`, readable by its owner alone, until `publish` puts it in place.

    Raises:
        ListError: if the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise ListError(f"cannot write {path.name}: {error.strerror}") from error
        self._temporary = Path(name)
        self.file = os.fdopen(handle, "wb")

    def publish(self) -> None:
        """Put it in place of an older one: written, synced, renamed, folder synced."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._temporary.replace(self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Remove what was not published."""
        self.file.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def replacing(into: Path, onto: HashList | None) -> Iterator[None]:
    """Hold the lock of the list file `into` while it is replaced.

    Raises:
        ListBusyError: if another import has it.
        SourceChangedError: if `onto` was opened from `into`, and another import has replaced it since.
        ListError: if the folder cannot be written.
    """
    busy = ListBusyError(f"another import writes {into.name}: wait for its end, then try again")
    with hold(_lock_path(into), busy, ListError):
        _remove_stale(into)
        _check_newest(into, onto)
        yield


def _lock_path(into: Path) -> Path:
    return into.with_name(f".{into.name}.lock")


def _remove_stale(into: Path) -> None:
    """Remove what killed imports left of the plaintext list; with the lock held, none of them runs."""
    for path in _temporaries(into):
        path.unlink(missing_ok=True)


def _temporaries(into: Path) -> list[Path]:
    temporary = re.compile(rf"\.{re.escape(into.name)}(\.rejects\.jsonl)?\.[a-z0-9_]{{8}}")
    return [path for path in into.parent.iterdir() if temporary.fullmatch(path.name)]


def traces(into: Path) -> set[Path]:
    """What imports leave beside the list file `into`: the lock's file; of killed ones also its journal, which
    SQLite takes back at the next import, and temporary files."""
    lock = _lock_path(into)
    return {lock, lock.with_name(f"{lock.name}-journal"), *_temporaries(into)}


def _check_newest(into: Path, onto: HashList | None) -> None:
    if onto is None or not into.exists() or not into.samefile(onto.path):
        return
    with open_list(into, verify=False) as newest:
        if newest.footer.digest() != onto.footer.digest():
            raise SourceChangedError(f"another import has replaced {into.name} meanwhile: import once more")
