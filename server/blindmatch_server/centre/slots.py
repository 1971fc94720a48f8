"""What comes to the centre on devices' cover schedules: kept, put together to reports, the rest dropped.

Cover and fragments are kept by the same transaction before they are acknowledged, with as many bytes, so that
the time an answer takes does not say which it was. They lie in a database of their own beside the centre's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from sqlite3 import Connection
from typing import Final, TypeAlias

from blindmatch_protocol.messages.report import KEPT_MS, Slot, open_slot
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct, field

from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import ConflictError, QuotaError, RefusedError

VERSION: Final = 2
SCHEMA: Final = """
CREATE TABLE slots (
    slot_id BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    submission BLOB NOT NULL,
    position INTEGER NOT NULL,
    count INTEGER NOT NULL,
    data BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX slots_by_submission ON slots (account, submission, position)
"""
MOST_KEPT_BYTES: Final = 64 << 20
"""Fragments of one account that wait for their others."""

_STEP: Final = "centre/submit"
_LENGTH_BYTES: Final = 4

TakeReport: TypeAlias = Callable[[bytes, bytes, str], Awaitable[None]]
"""Stores a sealed report: (report id, sealed, submitter)."""


class Slots(Struct):
    """Takes slots; belongs to one event loop."""

    database: Database
    private_key: X25519PrivateKey
    log: EventLog
    _due: set[str] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(
        self, slot_id: bytes, sealed: bytes, account: str, now_ms: int, take_report: TakeReport
    ) -> int:
        """Keep a slot; when it was received, the first time. What it completes is handed on after that;
        `ProtocolError` if it is not sealed to this centre, or no slot; `ConflictError` if another account's
        slot has this id; `QuotaError` if too many fragments of the account wait for their others."""
        slot = await asyncio.to_thread(open_slot, sealed, slot_id, self.private_key)
        at = await self.database.run(lambda c: _keep(c, slot_id, slot, account, now_ms))
        # for a repeated one too: what it completes may not have been handed on the first time
        if account not in self._due:
            self._due.add(account)
            task = asyncio.create_task(self._settle_later(account, now_ms, take_report))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return at

    async def idle(self) -> None:
        """Wait until all that was acknowledged is dropped or handed on, as far as it can be."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def resume(self, now_ms: int, take_report: TakeReport) -> None:
        """Hand on what was complete when the centre last ended."""
        query = "SELECT DISTINCT account FROM slots"
        for (account,) in await self.database.run(lambda c: c.execute(query).fetchall()):
            await self._settle(account, now_ms, take_report)

    async def _settle_later(self, account: str, now_ms: int, take_report: TakeReport) -> None:
        async with self._turn:
            self._due.discard(account)
            try:
                await self._settle(account, now_ms, take_report)
            except Exception as error:
                # the store failed: what is there stays for the next slot, or the next start
                self.log.failure("slots", error)

    async def _settle(self, account: str, now_ms: int, take_report: TakeReport) -> None:
        """Drop cover and what is too old; hand on what is complete. A refusal leaves it for the next slot."""
        forget = "DELETE FROM slots WHERE account = ? AND submission = ?"
        await self.database.run(lambda c: _drop(c, now_ms - KEPT_MS))
        for submission, sealed in await self.database.run(lambda c: _complete(c, account)):
            try:
                await take_report(submission, sealed, account)
            except ConflictError:
                pass  # another report has the id: this one never can be taken
            except RefusedError:
                continue
            await self.database.run(lambda c, one=submission: c.execute(forget, (account, one)))  # type: ignore[misc]


def _keep(c: Connection, slot_id: bytes, slot: Slot, account: str, now_ms: int) -> int:
    row = c.execute("SELECT account, received_at_ms FROM slots WHERE slot_id = ?", (slot_id,)).fetchone()
    if row is not None:
        if row[0] != account:
            raise ConflictError(_STEP, "something else has this id", "report_id")
        return int(row[1])
    query = "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM slots WHERE account = ? AND count > 0"
    (kept,) = c.execute(query, (account,)).fetchone()
    if kept + len(slot.data) > MOST_KEPT_BYTES:
        raise QuotaError(_STEP, f"fragments that wait have at most {MOST_KEPT_BYTES} bytes")
    data = len(slot.data).to_bytes(_LENGTH_BYTES, "big") + slot.data + slot.padding
    values = (slot_id, account, slot.submission, slot.position, slot.count, data, now_ms)
    c.execute("INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return now_ms


def _drop(c: Connection, before_ms: int) -> None:
    """Delete cover, and submissions of which no fragment came since; a report may take weeks."""
    c.execute("DELETE FROM slots WHERE count = 0")
    c.execute(
        "DELETE FROM slots WHERE (account, submission) IN (SELECT account, submission FROM slots "
        "GROUP BY account, submission HAVING MAX(received_at_ms) < ?)",
        (before_ms,),
    )


def _complete(c: Connection, account: str) -> list[tuple[bytes, bytes]]:
    rows = c.execute(
        "SELECT submission, count FROM slots WHERE account = ? AND count > 0 "
        "GROUP BY submission, count HAVING COUNT(DISTINCT position) = count",
        (account,),
    ).fetchall()
    return [(submission, _joined(c, account, submission, count)) for submission, count in rows]


def _joined(c: Connection, account: str, submission: bytes, count: int) -> bytes:
    rows = c.execute(
        "SELECT data FROM slots WHERE account = ? AND submission = ? AND count = ? "
        "GROUP BY position ORDER BY position",
        (account, submission, count),
    )
    ends = ((data, _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")) for (data,) in rows)
    return b"".join(data[_LENGTH_BYTES:end] for data, end in ends)
