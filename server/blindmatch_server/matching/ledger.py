"""What a server learnt, and the reports it owes the centre; both on disk before the device is answered.

For designs where the server learns the outcome. Where it also has the picture it reports a match itself:
the sealed report lies in `filings` until the centre has acknowledged it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from blindmatch_server.database import Database

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE verdicts (
    account TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    matched INTEGER NOT NULL
) STRICT;
CREATE TABLE filings (
    number INTEGER PRIMARY KEY,
    report_id BLOB NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    refused TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX open_filings ON filings (number) WHERE refused = ''
"""


@dataclass(frozen=True, slots=True)
class Filing:
    """A sealed report on its way to the centre."""

    report_id: bytes
    sealed: bytes = field(repr=False)


class Ledger:
    """Verdicts and filings; belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises `StateError` as `Database` does."""
        self._database = Database(path, SCHEMA, VERSION)

    async def close(self) -> None:
        """Finish what waits and close."""
        await self._database.close()

    async def record(self, account: str, at_ms: int, matched: bool, filing: Filing | None) -> None:
        """Record a verdict, and with it the report that it makes due."""

        def transaction(connection: Connection) -> None:
            connection.execute("INSERT INTO verdicts VALUES (?, ?, ?)", (account, at_ms, matched))
            if filing is not None:
                connection.execute(
                    "INSERT INTO filings (report_id, sealed) VALUES (?, ?)", (filing.report_id, filing.sealed)
                )

        await self._database.run(transaction)

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
