"""What is held of vouchers, for how long, and how it is erased.

Nothing here asks whether a voucher is visible: all are held equally long and erased together. If hidden ones
went first, the number that is left would count an account's matches, and a subject that is told it could test
guesses: send a picture, ask, and see whether the number rose.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from sqlite3 import Connection
from typing import Any, Final

from blindmatch_protocol.account_name import is_account
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.centre import decisions
from blindmatch_server.centre.growth import next_attempt
from blindmatch_server.hosting.endpoint import OPERATORS, Call, Handler, Method
from blindmatch_server.hosting.event_log import Clock, EventLog, milliseconds
from blindmatch_server.storage.database import Database

DAY_MS: Final = 86_400_000
BY_AGE: Final = "retention"
"""Who erases what is too old."""
_ERASE: Final = "centre/erase-vouchers"
_COLUMNS: Final = "at_ms, actor, account, period, before_ms, erased, reason"
_SWEEP_SECONDS: Final = 3_600.0
_TRUNCATIONS: Final = 5
_TRUNCATION_SECONDS: Final = 0.05


class Scope(Struct, frozen=True):
    """Vouchers of an account, of a period, and taken before a time, in Unix milliseconds; what is empty or 0
    bounds nothing."""

    account: str = ""
    period: bytes = b""
    before_ms: int = 0

    @property
    def where(self) -> tuple[str, list[Any]]:
        """As SQL, with its values."""
        bounds = (
            ("account = ?", self.account),
            ("period = ?", self.period),
            ("received_at_ms < ?", self.before_ms),
        )
        used = [(words, value) for words, value in bounds if value]
        return " AND ".join(words for words, _ in used) or "TRUE", [value for _, value in used]


def erase(
    connection: Connection, scope: Scope, at_ms: int, actor: str, reason: str, most_tried: int
) -> wire.VoucherErasure:
    """Erase vouchers with what was opened of them, and write down that this was done. Those beyond the first
    `most_tried` visible ones of a pile, which take the places of erased ones, count as new to the opener."""
    connection.execute("PRAGMA secure_delete = ON")  # the bytes, not the rows alone
    where, values = scope.where
    touched = connection.execute(
        f"SELECT account, design, period, COUNT(*) FROM vouchers WHERE {where} GROUP BY 1, 2, 3",  # noqa: S608
        values,
    ).fetchall()
    connection.execute(f"DELETE FROM vouchers WHERE {where}", values)  # noqa: S608 - constants
    # an attempt on a part of what was tried opens nothing more; what is left grows as a pile of its size
    connection.create_function("next_attempt", 3, next_attempt, deterministic=True)
    connection.executemany(
        "UPDATE piles SET (wanted, next_try, held, visible, places, opened, first_at_ms) = (SELECT "
        "piles.wanted + MAX(0, piles.visible - MAX(COUNT(row), ?1)), "
        "MIN(piles.next_try, next_attempt(piles.wanted, MIN(COUNT(row), ?1), ?1)), "
        "COUNT(*), COUNT(row), COUNT(row) FILTER (WHERE turn = 0), COUNT(label), "
        "COALESCE(MIN(received_at_ms), 0) FROM vouchers AS v WHERE (v.account, v.design, v.period) = "
        "(piles.account, piles.design, piles.period)) WHERE (account, design, period) = (?2, ?3, ?4)",
        [(most_tried, *pile) for *pile, _ in touched],
    )
    connection.execute("DELETE FROM piles WHERE held = 0")
    counts: Counter[str] = Counter()
    for account, _, _, number in touched:
        counts[account] += number
    if not counts and actor != BY_AGE:
        counts[scope.account] = 0
    # a line for each account: its holder is told of it, and of no other
    rest = (scope.period, scope.before_ms)
    connection.executemany(
        f"INSERT INTO erasures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
        [(at_ms, actor, account, *rest, number, reason) for account, number in counts.items()],
    )
    return _erasure((at_ms, actor, scope.account, *rest, counts.total(), reason))


def held(connection: Connection, account: str, days: int) -> wire.VouchersHeld:
    """What is held of an account, or of all, and what was erased that concerns it."""
    piles = connection.execute(
        "SELECT account, design, period, held, visible, opened, first_at_ms, last_at_ms, problem FROM piles "
        "WHERE ?1 IN ('', account) ORDER BY account, first_at_ms",
        (account,),
    )
    erasures = connection.execute(
        f"SELECT {_COLUMNS} FROM erasures WHERE ?1 IN ('', account) ORDER BY number",  # noqa: S608
        (account,),
    )
    names = wire.VoucherPile.DESCRIPTOR.fields_by_name
    return wire.VouchersHeld(
        days=days,
        piles=[wire.VoucherPile(**dict(zip(names, row, strict=True))) for row in piles],
        erasures=map(_erasure, erasures),
    )


def _erasure(row: tuple[Any, ...]) -> wire.VoucherErasure:
    return wire.VoucherErasure(**dict(zip(wire.VoucherErasure.DESCRIPTOR.fields_by_name, row, strict=True)))


class Retention:
    """Erases vouchers on an operator's word, and each once it is `days` old.

    Args:
        most_tried: visible vouchers of an account, design and period that the opener is tried on.
        wake: called after an erasure, since others may take the places of those that are gone.
    """

    def __init__(
        self,
        database: Database,
        days: int,
        most_tried: int,
        clock: Clock,
        log: EventLog,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._days = days
        self._most_tried = most_tried
        self._clock = clock
        self._log = log
        self._wake = wake

    def methods(self) -> Mapping[str, Method]:
        answers: dict[str, Handler] = {"ReadVouchers": self.read, "EraseVouchers": self.erase}
        return {name: Method(answer, OPERATORS) for name, answer in answers.items()}

    async def read(self, request: wire.VouchersRequest, call: Call) -> wire.VouchersHeld:
        return await self._database.run(lambda c: held(c, request.account, self._days))

    async def erase(self, request: wire.EraseVouchersRequest, call: Call) -> wire.VoucherErasure:
        """Erase as an operator decided; `ProtocolError` without a bound or a reason, or if no account can
        have that name."""
        reason = decisions.words_of(request.reason, _ERASE, "reason")
        if request.account and not is_account(request.account):
            raise ProtocolError(_ERASE, "account: must be 1 to 32 of a-z 0-9 _ -", "account")
        scope = Scope(request.account, request.period, min(request.before_ms, (1 << 63) - 1))
        if scope == Scope():
            raise ProtocolError(_ERASE, "account, period or time: at least one must be given", "account")
        return await self._erase(scope, call.account, reason)

    async def run(self) -> None:
        """Erase what is too old, every hour; never returns."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception as error:
                self._log.failure("retention", error)

    async def sweep(self) -> None:
        before = max(1, milliseconds(self._clock) - self._days * DAY_MS)
        await self._erase(Scope(before_ms=before), BY_AGE, f"held {self._days} days")

    async def _erase(self, scope: Scope, actor: str, reason: str) -> wire.VoucherErasure:
        now = milliseconds(self._clock)
        found = await self._database.run(lambda c: erase(c, scope, now, actor, reason, self._most_tried))
        if not await self._truncate():
            self._log.write("erased rows still stand in a file: another process reads the database")
        self._wake()
        return found

    async def _truncate(self) -> bool:
        """Empty the log of the database; the centre's own opener reads for a moment, and is waited for."""
        for _ in range(_TRUNCATIONS):
            if await self._database.truncate():
                return True
            await asyncio.sleep(_TRUNCATION_SECONDS)
        return False
