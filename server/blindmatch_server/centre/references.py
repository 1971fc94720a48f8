"""What reports are checked against: what is deployed, and the centre's own copy of the list's labels.

The copy is one read-only SQLite file, written anew and put in place in one step, so that a running centre
sees the old list or the new one and nothing between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    AnyDesign,
    EntryBatch,
    EntrySource,
    Info,
    Label,
    Learner,
    Progress,
    no_progress,
)
from blindmatch_protocol.messages.report import Report
from msgspec import Struct

from blindmatch_server.centre.assessment import NotAvailable, Verdict
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.database import signed
from blindmatch_server.storage.errors import StateError

VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY,
    entry_hash BLOB NOT NULL,
    salt BLOB NOT NULL,
    second_hash BLOB
) STRICT
"""
_AT_ONCE: Final = 10_000


class Reference(Redacted, Struct, frozen=True):
    """An entry as the centre knows it; `second_hash` is None if the centre has no picture of it."""

    entry_hash: bytes
    salt: bytes
    second_hash: bytes | None


class References:
    """Looks entries up; each look-up opens the file that is in place then. Good for any thread."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; `StateError` if it is missing or of another version."""
        self._path = path
        with closing(self._open()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise StateError(f"{path.name}: version {version}, {VERSION} expected")

    def lookup(self, entry_id: int) -> Reference | None:
        """The entry with this id, if the list has it. Raises `StateError` if the file is gone."""
        with closing(self._open()) as connection:
            row = connection.execute(
                "SELECT entry_hash, salt, second_hash FROM entries WHERE entry_id = ?", (signed(entry_id),)
            ).fetchone()
        return None if row is None else Reference(*row)

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise StateError(f"{self._path.name}: cannot be opened as the centre's references") from error
        return connection


def write_references(
    path: Path,
    entries: EntrySource,
    second_hashes: Mapping[int, bytes] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Write the references of a list to `path`, in place of older ones.

    Args:
        second_hashes: by entry id, of those entries whose picture the centre has.
        progress: called with (done, total) entries.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(f"{_SCHEMA}; PRAGMA user_version = {VERSION}; BEGIN;")
        done = 0
        for batch in entries.batches(_AT_ONCE):
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?)", _rows(batch, second_hashes or {})
            )
            done += len(batch)
            progress(done, len(entries))
        connection.execute("COMMIT")
    temporary.chmod(0o600)
    temporary.replace(path)


def _rows(batch: EntryBatch, second: Mapping[int, bytes]) -> Iterator[tuple[int, bytes, bytes, bytes | None]]:
    for place, entry_id in enumerate(batch.ids.tolist()):
        hash_, salt = batch.hashes[place].tobytes(), batch.salts[place].tobytes()
        yield signed(entry_id), hash_, salt, second.get(entry_id)


class Deployed(Struct, frozen=True):
    """What a deployment runs.

    Attributes:
        epochs: what the curator's key has signed (`published.signed_epochs`), as they are when it is called.
        endorsed: whether the entry of a label is endorsed in an epoch; all are, where there is no policy.
    """

    design: AnyDesign
    epochs: Callable[[], Collection[int]]
    endorsed: Callable[[int, Label], Passed | Failed] = lambda epoch, label: Passed()


def check_design(report: Report, deployed: Deployed) -> Verdict:
    """Whether the report is of the design, version and an epoch that are deployed."""
    info = deployed.design.info
    if (report.design, report.version) != (info.name, info.version):
        return Failed(f"what is deployed here is {info.name}, version {info.version}")
    epochs = deployed.epochs()
    if not epochs:
        return NotAvailable("the centre knows no published epoch")
    if report.epoch not in epochs:
        return Failed("no such epoch was published here")
    return Passed()


def check_reporter(report: Report, submitter: Identity, info: Info) -> Verdict:
    """Whether the party that handed the report in may report this, in the design that is deployed."""
    if report.reporter != submitter.account:
        return Failed("another party handed the report in")
    if submitter.kind is Kind.DEVICE:
        return _check_device(report, info)
    return _check_service(report, submitter, info)


def _check_device(report: Report, info: Info) -> Verdict:
    if Learner.DEVICE not in info.learns:
        return Failed(f"in {info.name} devices do not learn of matches, and report none")
    if report.sender != report.reporter:
        return Failed("a device reports what it sent itself, nothing else")
    return Passed()


def _check_service(report: Report, service: Identity, info: Info) -> Verdict:
    sees = service.party is not None and info.sees_content(service.party)
    if not sees or Learner.SERVER not in info.learns:
        return Failed(f"in {info.name} the {service.words} sees no picture, and reports none")
    if report.opening or report.recipient:
        return Failed("a service opens no commitment, and names no recipient")
    return Passed()
