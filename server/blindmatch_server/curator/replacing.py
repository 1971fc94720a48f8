"""One import at a time replaces a list file, and what killed ones left is removed.

.NAME.list.lock         held meanwhile; ends with the process
.NAME.list.xxxxxxxx     being written, readable by its owner alone; renamed to NAME.list
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindmatch_server.curator.errors import ListBusyError, ListError, SourceChangedError
from blindmatch_server.curator.hashlist import HashList, open_list
from blindmatch_server.locking import HeldError, hold


@contextmanager
def replacing(into: Path, onto: HashList | None) -> Iterator[None]:
    """Hold the lock of the list file `into` while it is replaced.

    Raises:
        ListBusyError: if another import has it.
        SourceChangedError: if `onto` was opened from `into`, and another import has replaced it since.
        ListError: if the folder cannot be written.
    """
    try:
        lock = hold(_lock_path(into))
    except HeldError as error:
        raise ListBusyError(f"another import writes {into.name}: wait for its end, then try again") from error
    except sqlite3.Error as error:
        raise ListError(f"cannot write into the folder of {into.name}: {error}") from error
    with lock:
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
