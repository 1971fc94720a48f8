"""What a server learnt, what it owes the centre, what a key was asked for; all on disk before it answers.

For designs where the server learns the outcome. Where it also has the picture it reports a match itself:
the sealed report lies in `filings` until the centre has acknowledged it. `spent` counts evaluations under
a key by account; the account "" stands for all together.

A device that got no answer asks again, after a crash of either side too. A verdict and the filing it makes
due are kept by one transaction, under what was learnt of which request, and the verdict stays: learnt again,
it makes nothing due.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from sqlite3 import Connection
from typing import ClassVar, Final, NamedTuple

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Verdict
from msgspec import Struct

from blindmatch_server.storage.database import Database

VERSION: Final = 2
EVERYONE: Final = ""
"""No account has this name."""
SCHEMA: Final = """
CREATE TABLE spent (
    key BLOB NOT NULL,
    account TEXT NOT NULL,
    evaluations INTEGER NOT NULL,
    PRIMARY KEY (key, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE verdicts (
    account TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    request BLOB
) STRICT;
CREATE UNIQUE INDEX verdicts_by_request ON verdicts (account, request);
CREATE TABLE filings (
    number INTEGER PRIMARY KEY,
    report_id BLOB NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    refused TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX open_filings ON filings (number) WHERE refused = ''
"""


_TAG: Final = b"blindmatch/matching-ledger/request/1"


class Spent(NamedTuple):
    """Evaluations under a key, so far."""

    by_account: int
    in_all: int


def request_of(request_id: bytes, verdict: Verdict) -> bytes:
    """What a verdict is kept under, 32 bytes: the request, and what was learnt of it.

    The id alone would let a device have all its pictures taken for one. Takes time for a large picture.
    """
    digest = sha256(_TAG + request_id)
    if verdict.label is not None:
        digest.update(verdict.label.entry_hash)
    if verdict.content is not None:
        height, width, pixels = verdict.content
        digest.update(height.to_bytes(4, "big") + width.to_bytes(4, "big") + pixels)
    return digest.digest()


class Filing(Redacted, Struct, frozen=True):
    """A sealed report on its way to the centre."""

    SHOWN: ClassVar = ("report_id",)

    report_id: bytes
    sealed: bytes


class MatcherStore:
    """Verdicts and filings; belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises `StateError` as `Database` does."""
        self._database = Database(path, SCHEMA, VERSION)

    async def close(self) -> None:
        """Finish what waits and close."""
        await self._database.close()

    async def spent(self, key: bytes, account: str) -> Spent:
        """Evaluations of an account, and of all, under a key."""
        return await self._database.run(lambda connection: _spent(connection, key, account))

    async def spend(self, key: bytes, account: str, cost: int, allowed: Callable[[Spent], None]) -> Spent:
        """Count `cost` evaluations of an account, unless `allowed` raises on what was spent before; that."""

        def transaction(connection: Connection) -> Spent:
            before = _spent(connection, key, account)
            allowed(before)
            connection.executemany(
                "INSERT INTO spent VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET evaluations = evaluations + excluded.evaluations",
                [(key, account, cost), (key, EVERYONE, cost)],
            )
            return before

        return await self._database.run(transaction)

    async def record(
        self, account: str, request: bytes, at_ms: int, matched: bool, filing: Filing | None
    ) -> bool:
        """Record a verdict, and with it the report that it makes due; False, and nothing is, if it is known.

        Args:
            account: of the device that asked.
            request: see `request_of`.
            at_ms: Unix time in milliseconds.
            matched: whether it is a match.
            filing: the report, if one is due.
        """

        def transaction(connection: Connection) -> bool:
            added = connection.execute(
                "INSERT INTO verdicts (account, at_ms, matched, request) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (account, at_ms, matched, request),
            ).rowcount
            if added and filing is not None:
                connection.execute(
                    "INSERT INTO filings (report_id, sealed) VALUES (?, ?)", (filing.report_id, filing.sealed)
                )
            return bool(added)

        return await self._database.run(transaction)

    async def verdicts(self) -> list[tuple[str, int, bool]]:
        """All verdicts: account, Unix time in milliseconds, matched."""
        rows = await self._database.run(
            lambda c: c.execute("SELECT account, at_ms, matched FROM verdicts ORDER BY rowid").fetchall()
        )
        return [(account, at_ms, bool(matched)) for account, at_ms, matched in rows]

    async def next_filing(self) -> Filing | None:
        """The oldest report that the centre has neither acknowledged nor refused."""
        row = await self._database.run(
            lambda c: c.execute(
                "SELECT report_id, sealed FROM filings WHERE refused = '' ORDER BY number LIMIT 1"
            ).fetchone()
        )
        return None if row is None else Filing(*row)

    async def filed(self, report_id: bytes) -> None:
        """The centre has it on disk."""
        await self._database.run(
            lambda c: c.execute("DELETE FROM filings WHERE report_id = ?", (report_id,)).rowcount
        )

    async def refused(self, report_id: bytes, status: str) -> None:
        """The centre will never take it: keep it for its operator to look at."""
        await self._database.run(
            lambda c: (
                c.execute("UPDATE filings SET refused = ? WHERE report_id = ?", (status, report_id)).rowcount
            )
        )


def _spent(connection: Connection, key: bytes, account: str) -> Spent:
    rows = connection.execute(
        "SELECT account, evaluations FROM spent WHERE key = ? AND account IN (?, ?)", (key, account, EVERYONE)
    )
    found = dict(rows.fetchall())
    return Spent(found.get(account, 0), found.get(EVERYONE, 0))
