"""Brings a store of an older version to the current one.

    1  not sealed        read all rows --> seal into a new store beside it --> sync --> rename over the old
    2  no rows of peers  one transaction adds the table; the account fills it when it is saved next
    3  no complaints     one transaction adds the table
    4  no adoptions      one transaction adds the tables; the set-up there was is fetched and checked anew

A crash leaves the old store whole, or the new one. What the old one held was in the clear on this disk:
removing its names does not overwrite the blocks (docs/messenger.md).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.content import AttachmentRef, Content
from blindmatch_protocol.randomness import system_randomness

from blindmatch_client.errors import StoreError
from blindmatch_client.files import Files
from blindmatch_client.messenger.attachment import AttachmentSealing, pieces
from blindmatch_client.schema import ADOPTION, COMPLAINT, PEER, SCHEMA_VERSION
from blindmatch_client.store import FILE_NAME, KEY_NAME, add_functions, insert_lock, made_aside
from blindmatch_client.vault import KeyFile, KeySource, Vault

UNSEALED_VERSION: Final = 1
ADDED: Final[Mapping[int, str]] = {2: PEER, 3: COMPLAINT, 4: ADOPTION}
"""The tables that a version lacked, and those before it as well."""

_COPIED: Final = {
    "meta": "INSERT INTO meta VALUES (:name, sealed(:value, 'meta.value', :name))",
    "device_state": (
        "INSERT INTO device_state VALUES (:design, :version, :epoch,"
        " sealed(:state, 'device_state.state', :design || '/' || :version || '/' || :epoch))"
    ),
    "outgoing": (
        "INSERT INTO outgoing VALUES (:number, :message_id,"
        " sealed(:recipient, 'outgoing.recipient', :message_id),"
        " sealed(:text, 'outgoing.text', :message_id), :queued_at_ms, :stage, :matching, :item, :file,"
        " :uploaded, sealed(:outcome, 'outgoing.outcome', :message_id), :epoch, :matched_at_ms,"
        " sealed(:attachment, 'outgoing.attachment', :message_id),"
        " sealed(:content, 'outgoing.content', :message_id),"
        " sealed(:sealed, 'outgoing.sealed', :message_id),"
        " sealed(:problem, 'outgoing.problem', :message_id))"
    ),
    "submission": (
        "INSERT INTO submission VALUES (:report_id, :kind, :design, :version, :epoch, :item,"
        " sealed(:body, 'submission.body', :report_id), :made_at_ms, 0, :received_at_ms)"
    ),
    "incoming": (
        "INSERT INTO incoming VALUES (:sequence, sealed(:sender, 'incoming.sender', :sequence),"
        " sealed(:content, 'incoming.content', :sequence), :accepted_at_ms, :acknowledged, :shown,"
        " sealed(:problem, 'incoming.problem', :sequence))"
    ),
    "attachment": (
        "INSERT INTO attachment VALUES (:sequence, :position, :file,"
        " sealed(:problem, 'attachment.problem', :sequence || '/' || :position))"
    ),
}


def migrate(folder: Path, key: KeySource | None) -> bool:
    """Migrate the store in `folder` if it is of an older version; whether it was.

    Raises:
        StoreError: if that fails; the store is as it was then.
    """
    path = folder / FILE_NAME
    try:
        version = _version(path) if path.exists() else None
        if version is not None and version in ADDED:
            _add_tables(path, version)
            return True
        if version != UNSEALED_VERSION:
            return False
        with closing(sqlite3.connect(path, isolation_level=None)) as old:
            # so that no write-ahead log of the old store is left to be taken for one of the new
            old.execute("PRAGMA journal_mode = DELETE")
            old.row_factory = sqlite3.Row
            _copy(old, path, key or KeyFile(folder / KEY_NAME), Files(folder / "attachments"))
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: cannot be brought to the current version: {error}") from error
    return True


def _version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def _add_tables(path: Path, version: int) -> None:
    missing = "".join(table for lacking, table in ADDED.items() if lacking >= version)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(f"BEGIN IMMEDIATE; {missing} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _copy(old: sqlite3.Connection, path: Path, key: KeySource, files: Files) -> None:
    vault, lock = Vault.create(key)
    with made_aside(path) as new:
        add_functions(new, vault)
        new.execute("BEGIN")
        insert_lock(new, lock)
        for table, statement in _COPIED.items():
            for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a constant
                new.execute(statement, _converted(old, table, dict(row), files))
        new.execute("COMMIT")


def _converted(old: sqlite3.Connection, table: str, row: dict[str, Any], files: Files) -> Mapping[str, Any]:
    """A row's values in the new form: attachments as sealed files, no problem as NULL."""
    if "problem" in row:
        row["problem"] = row["problem"] or None
    if table == "outgoing":
        row |= _kept_picture(row, files)
    if table == "attachment":
        row["file"] = _kept_attachment(old, row, files)
    return row


def _kept_picture(row: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """A picture that waits; one that was uploaded keeps its key, so that the blob comes out the same."""
    if row["picture"] is None:
        return {"file": None, "uploaded": 0}
    ref = None if row["attachment"] is None else AttachmentRef.decode(row["attachment"])
    sealing = AttachmentSealing(system_randomness(), None if ref is None else ref.key)
    name = files.write(sealing.blob(pieces(row["picture"])))
    kept = ref or sealing.ref(row["media_type"])
    return {"file": name, "uploaded": int(ref is not None), "attachment": kept.encode()}


def _kept_attachment(old: sqlite3.Connection, row: Mapping[str, Any], files: Files) -> str | None:
    if row["data"] is None:
        return None
    query = "SELECT content FROM incoming WHERE sequence = ?"
    content = Content.decode(old.execute(query, (row["sequence"],)).fetchone()[0])
    sealing = AttachmentSealing(system_randomness(), content.attachments[row["position"]].key)
    return files.write(sealing.blob(pieces(row["data"])))
