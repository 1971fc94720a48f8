"""What a server learnt, what it owes the centre, what a key was asked for; all on disk before it answers.

A verdict and the filing it makes due are kept by one transaction, under what was learnt of which request, and
the verdict stays: learnt again, it makes nothing due.

    body --> expired? used up? --refused--> device
                |
                +--> answered, and counted on disk ---both done---> device

Counts belong to the key, so they outlive epochs that share it; the account "" stands for all together. What
an account may have in a period is counted beside, under a name of the period; the first count of a new period
removes those of the ones before. So a host's clock that goes on to a new period and back grants what the
earlier one allows once more; longer periods, which are still under way, go on counting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from sqlite3 import Connection
from typing import Any, ClassVar, Final, NamedTuple

import grpc
import grpc.aio
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Info, KeyLimits, Party, Verdict
from blindmatch_protocol.messages.parts import SUBMISSION, split
from blindmatch_protocol.messages.report import Report, seal_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_protocol.unix_time import format_unix_time
from msgspec import Struct
from msgspec.structs import replace
from PIL import Image

from blindmatch_server.hosting.authority import Credentials, Identity
from blindmatch_server.hosting.endpoint import channel_to
from blindmatch_server.hosting.event_log import Clock, EventLog
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import PreconditionError, QuotaError

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
    """Evaluations under a key, so far, and those of the account in each period that is under way."""

    by_account: int
    in_all: int
    in_periods: tuple[int, ...] = ()


class Counters(NamedTuple):
    """Names that evaluations are counted under.

    Attributes:
        key: of the key's whole life.
        periods: of each period that is under way: the first name that such periods have, and its own. Names
            in between are those of periods that are over.
    """

    key: bytes
    periods: tuple[tuple[bytes, bytes], ...] = ()


_PERIOD: Final = b"blindmatch/matching-ledger/period/1"


def counters_of(limits: KeyLimits, now: float) -> Counters:
    """Return the names under which a body that comes at Unix time `now`, in seconds, is counted."""
    periods = []
    for own in limits.periods:
        counted_as = sha256(_PERIOD + (limits.counted_as or limits.key)).digest()
        counted = counted_as + own.seconds.to_bytes(8, "big")
        number = int(now) // own.seconds
        periods.append((counted + bytes(8), counted + number.to_bytes(8, "big")))
    return Counters(limits.key, tuple(periods))


def request_of(request_id: bytes, verdict: Verdict) -> bytes:
    """What a verdict is kept under, 32 bytes: the request, and what was learnt of it, since under the id
    alone a device could have all its pictures taken for one. Takes time for a large picture."""
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
        await self._database.close()

    async def spent(self, counters: Counters, account: str) -> Spent:
        """Evaluations of an account, and of all, under a key and in its periods."""
        return await self._database.run(lambda connection: _spent(connection, counters, account))

    async def spend(
        self, counters: Counters, account: str, cost: int, allowed: Callable[[Spent], None]
    ) -> Spent:
        """Count `cost` evaluations of an account, unless `allowed` raises on what was spent before; that."""

        def transaction(connection: Connection) -> Spent:
            before = _spent(connection, counters, account)
            allowed(before)
            own = [(name, account, cost) for _, name in counters.periods]
            connection.executemany(
                "INSERT INTO spent VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET evaluations = evaluations + excluded.evaluations",
                [(counters.key, account, cost), (counters.key, EVERYONE, cost), *own],
            )
            connection.executemany("DELETE FROM spent WHERE key >= ? AND key < ?", counters.periods)
            return before

        return await self._database.run(transaction)

    async def record(
        self, account: str, request: bytes, at_ms: int, matched: bool, filing: Filing | None
    ) -> bool:
        """Record a verdict, and the report that it makes due; False, and nothing is, if it is known."""

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
        rows = await self._database.run(
            lambda c: c.execute("SELECT account, at_ms, matched FROM verdicts ORDER BY rowid").fetchall()
        )
        return [(account, at_ms, bool(matched)) for account, at_ms, matched in rows]

    async def next_filing(self) -> Filing | None:
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


def _spent(connection: Connection, counters: Counters, account: str) -> Spent:
    rows = connection.execute(
        "SELECT account, evaluations FROM spent WHERE key = ? AND account IN (?, ?)",
        (counters.key, account, EVERYONE),
    )
    found = dict(rows.fetchall())
    periods = tuple(_in_period(connection, name, account) for _, name in counters.periods)
    return Spent(found.get(account, 0), found.get(EVERYONE, 0), periods)


def _in_period(connection: Connection, name: bytes, account: str) -> int:
    asked = (name, account)
    row = connection.execute("SELECT evaluations FROM spent WHERE key = ? AND account = ?", asked).fetchone()
    return row[0] if row else 0


_BUDGET: Final = "matching/budget"


def divide_limits(limits: KeyLimits, parts: int) -> KeyLimits:
    """Return the limits of a server that has one of `parts` equal parts of a key's budget.

    Rounded down, so that all parts together never allow more than the key does. The end is not divided.
    """
    account = limits.per_account
    everyone = limits.in_all
    return replace(
        limits,
        per_account=None if account is None else account // parts,
        in_all=None if everyone is None else everyone // parts,
        periods=tuple(replace(one, evaluations=one.evaluations // parts) for one in limits.periods),
    )


def bounds_of(limits: KeyLimits) -> list[int]:
    """Return each number of evaluations that a limit allows."""
    whole = [most for most in (limits.per_account, limits.in_all) if most is not None]
    return [*whole, *(one.evaluations for one in limits.periods)]


def has_room(limits: KeyLimits) -> bool:
    """Return whether one request fits."""
    return all(most >= limits.cost for most in bounds_of(limits))


class Budget:
    """Enforces the limits of keys, or one of `parts` equal parts of them; belongs to one event loop."""

    def __init__(self, ledger: MatcherStore, clock: Clock, log: EventLog, parts: int = 1) -> None:
        if parts < 1:
            raise ValueError(f"parts: must be at least 1, not {parts}")
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._parts = parts

    async def check(self, account: str, limits: KeyLimits) -> None:
        """Refuse a body that its account may not send, before any work is done for it; `PreconditionError` if
        the key's time is over, `QuotaError` if the account, or all together, would exceed their
        evaluations."""
        if limits.expires is not None and self._clock() >= limits.expires:
            expired = format_unix_time(limits.expires)
            raise PreconditionError(_BUDGET, f"the key expired at {expired}: a new set is due")
        if bounds_of(limits):
            counters = counters_of(limits, self._clock())
            self._check(await self._ledger.spent(counters, account), limits)

    async def spend(self, account: str, limits: KeyLimits) -> None:
        """Count a body; when this returns, that is on disk. Raises `QuotaError` as `check`:
        others may have spent since. Nothing is counted then."""
        if bounds_of(limits):
            allowed = partial(self._check, limits=limits)
            counters = counters_of(limits, self._clock())
            spent = await self._ledger.spend(counters, account, limits.cost, allowed)
            in_all = divide_limits(limits, self._parts).in_all
            if in_all is not None:
                tenths = (spent.in_all + limits.cost) * 10 // in_all
                if tenths > spent.in_all * 10 // in_all:
                    self._log.write("evaluations-spent", percent=10 * tenths, allowed=in_all)

    def _check(self, spent: Spent, limits: KeyLimits) -> None:
        own = divide_limits(limits, self._parts)
        if self._parts > 1 and not has_room(own):
            what = f"this server's share of the key's evaluations, 1/{self._parts}, is less than one request"
            raise QuotaError(_BUDGET, f"{what}: its operator must give it a larger one")
        _check(spent, own)


def _check(spent: Spent, limits: KeyLimits) -> None:
    if limits.per_account is not None and spent.by_account + limits.cost > limits.per_account:
        raise QuotaError(_BUDGET, f"this account has used {_used(spent.by_account, limits.per_account)}")
    for period, used in zip(limits.periods, spent.in_periods, strict=True):
        if used + limits.cost > period.evaluations:
            what = f"this account has used {used:,} of the {period.evaluations:,} evaluations allowed in"
            raise QuotaError(_BUDGET, f"{what} {_duration(period.seconds)}: ask again in the next period")
    if limits.in_all is not None and spent.in_all + limits.cost > limits.in_all:
        raise QuotaError(_BUDGET, f"all accounts have used {_used(spent.in_all, limits.in_all)}")


def _used(used: int, most: int) -> str:
    return f"{used:,} of the {most:,} evaluations allowed in this key's life: the next key brings new ones"


def _duration(seconds: int) -> str:
    """A period in words: "a day", "365 days", or seconds."""
    days, rest = divmod(seconds, 86_400)
    return f"{seconds:,} seconds" if rest or not days else "a day" if days == 1 else f"{days:,} days"


_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class CentreAddress(Redacted, Struct, frozen=True):
    """Where a server's own reports go.

    Attributes:
        public_key: the centre's X25519 key, 32 bytes.
        reporter: who the server is.
        first_wait_seconds, most_wait_seconds: pause after a failed attempt, doubled each time.
    """

    SHOWN: ClassVar = ("address", "public_key", "reporter", "first_wait_seconds", "most_wait_seconds")

    address: str
    public_key: bytes
    reporter: Identity
    credentials: Credentials
    first_wait_seconds: float = 0.5
    most_wait_seconds: float = 30.0


def filing_of(
    info: Info, epoch: int, account: str, verdict: Verdict, centre: CentreAddress, at_ms: int, rng: Randomness
) -> Filing | None:
    """The sealed report that a verdict makes due; None if it is no match or there is no picture."""
    if verdict.label is None or verdict.content is None:
        return None
    report = Report(
        report_id=rng.take(16),
        design=info.name,
        version=info.version,
        epoch=epoch,
        label=verdict.label,
        reporter=centre.reporter.account,
        sender=account,
        recipient="",
        sent_at_ms=at_ms,
        matched_at_ms=at_ms,
        media_type="image/png",
        opening=(),
        picture=_png(verdict.content),
    )
    return Filing(report.report_id, seal_report(report, centre.public_key))


def _png(content: tuple[int, int, bytes]) -> bytes:
    height, width, pixels = content
    out = BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


class Filer:
    """Sends what the ledger holds, oldest first, until it is told to stop."""

    def __init__(self, ledger: MatcherStore, centre: CentreAddress, log: EventLog) -> None:
        self._ledger = ledger
        self._centre = centre
        self._log = log
        self._due = asyncio.Event()

    def wake(self) -> None:
        self._due.set()

    async def run(self) -> None:
        """Send filings as they come; never returns."""
        wait = self._centre.first_wait_seconds
        pause = ("grpc.max_reconnect_backoff_ms", int(self._centre.most_wait_seconds * 1000))
        async with channel_to(Party.CENTRE, self._centre.address, self._centre.credentials, pause) as channel:
            while True:
                self._due.clear()
                if await self._next(channel):
                    wait = self._centre.first_wait_seconds
                else:
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, self._centre.most_wait_seconds)

    async def _next(self, channel: grpc.aio.Channel) -> bool:
        """Submit the oldest filing, or wait for one; False if that has to be tried again."""
        try:
            filing = await self._ledger.next_filing()
            if filing is None:
                await self._due.wait()
                return True
            return await self._submit(channel, filing)
        except Exception as error:
            # the store failed: what the centre took meanwhile it takes again as the same
            self._log.failure("filing-failed", error)
            return False

    async def _submit(self, channel: grpc.aio.Channel, filing: Filing) -> bool:
        stub: Any = rpc.CentreStub(channel)  # type: ignore[no-untyped-call]
        head = wire.SubmitPart(report_id=filing.report_id)
        try:
            receipt = await stub.Submit(split(SUBMISSION, head, filing.sealed), timeout=120)
        except grpc.aio.AioRpcError as error:
            self._log.write("filing-failed", status=error.code().name)
            if error.code() not in _FINAL:
                return False
            await self._ledger.refused(filing.report_id, error.code().name)
            return True
        if receipt.report_id != filing.report_id:
            return False
        await self._ledger.filed(filing.report_id)
        return True
