"""Vouchers: each taken once, then opened in the background when the design says that there are enough.

The receipt does not wait for the opening, so that its time tells the device nothing of that; the next one's
does, while the opener works in the same process. The vouchers of one account, design and period are a pile,
which counts how often the opener is wanted, and up to which it was tried: one that is behind is opened, also
after the centre was killed in between.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from sqlite3 import Connection
from typing import ClassVar, Final, NamedTuple

from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import EpochMismatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Buffers, Hidden, Label, Opener, Taken, Visible
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.centre.retention import DAY_MS
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.limits import TurnQueue, nothing_left
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import QuotaError, UnsupportedError


class Pile(NamedTuple):
    """Whose vouchers, of which design and period."""

    account: str
    design: str
    period: bytes


class VisibleRow(NamedTuple):
    number: int
    row: bytes
    is_open: bool
    received_at_ms: int


class Held(NamedTuple):
    """What of a pile the opener is tried on, and the count that it answers."""

    rows: list[VisibleRow]
    wanted: int


def taken_at(connection: Connection, pile: Pile, digest: bytes, most: int, step: str) -> int | None:
    """When the voucher with this digest was taken, in Unix milliseconds; None if it is a new one. Raises
    `QuotaError` if it is new, and the pile has `most` already."""
    row = connection.execute(
        "SELECT received_at_ms FROM vouchers WHERE (account, design, period) = (?, ?, ?) AND digest = ?",
        (*pile, digest),
    ).fetchone()
    if row is not None:
        return int(row[0])
    held = connection.execute(
        "SELECT held FROM piles WHERE (account, design, period) = (?, ?, ?)", pile
    ).fetchone()
    if held is not None and held[0] >= most:
        raise QuotaError(step, f"at most {most} vouchers a period")
    return None


def add_to_pile(
    connection: Connection, pile: Pile, digest: bytes, taken: Taken, at_ms: int, most: int
) -> None:
    """Store what a new voucher came to. A visible one makes the pile due, if it is of the first `most`; of
    those the first of each place come before what was sent again, however often that was."""
    row, place = (None, None) if isinstance(taken, Hidden) else (taken.row, taken.place or None)
    (turn,) = connection.execute(
        "SELECT COALESCE(MAX(turn) + 1, 0) FROM vouchers "
        "WHERE (account, design, period) = (?, ?, ?) AND place = ?",
        (*pile, place),
    ).fetchone()
    connection.execute(
        "INSERT INTO vouchers (account, design, period, digest, row, place, turn, received_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*pile, digest, row, place, turn, at_ms),
    )
    seen, first = int(row is not None), int(row is not None and not turn)
    connection.execute(
        "INSERT INTO piles (account, design, period, held, visible, places, wanted, first_at_ms, last_at_ms) "
        "VALUES (?1, ?2, ?3, 1, ?4, ?5, ?4, ?6, ?6) ON CONFLICT DO UPDATE SET "
        "held = held + 1, visible = visible + ?4, places = places + ?5, last_at_ms = ?6, "
        "wanted = wanted + (?4 AND (CASE WHEN ?5 THEN places ELSE visible END) < ?7)",
        (*pile, seen, first, at_ms, most),
    )


def due_piles(connection: Connection, periods: Mapping[str, bytes]) -> list[Pile]:
    """Piles of these designs and periods on which the opener was not tried since it was wanted."""
    found = connection.execute("SELECT account, design, period FROM piles WHERE tried < wanted")
    return [pile for pile in map(Pile._make, found) if periods.get(pile.design) == pile.period]


def rows_of(connection: Connection, pile: Pile, most: int) -> Held:
    """A pile's first `most` visible vouchers: the first of each place as they came, then second ones."""
    found = connection.execute(
        "SELECT number, row, label IS NOT NULL, received_at_ms FROM vouchers "
        "WHERE (account, design, period) = (?, ?, ?) AND row IS NOT NULL ORDER BY turn, number LIMIT ?",
        (*pile, most),
    )
    wanted = connection.execute(
        "SELECT wanted FROM piles WHERE (account, design, period) = (?, ?, ?)", pile
    ).fetchone()
    rows = [VisibleRow(number, row, bool(is_open), at) for number, row, is_open, at in found]
    return Held(rows, wanted[0] if wanted else 0)


def record_opened(connection: Connection, pile: Pile, held: Held, labels: Mapping[int, Label]) -> None:
    """Store that the opener was tried on these rows, and the labels (by index) that are new; of each day that
    vouchers came on, how many were opened, which stays when they are erased."""
    opened = 0
    for at, label in labels.items():
        one = held.rows[at]
        if one.is_open:
            continue
        stored = connection.execute(
            "UPDATE vouchers SET label = ? WHERE number = ?", (label.encode(), one.number)
        )
        if stored.rowcount:  # it was not erased meanwhile
            opened += 1
            connection.execute(
                "INSERT INTO openings (day_ms, opened) VALUES (?, 1) "
                "ON CONFLICT DO UPDATE SET opened = opened + 1",
                (one.received_at_ms - one.received_at_ms % DAY_MS,),
            )
    connection.execute(
        "UPDATE piles SET tried = MAX(tried, ?4), opened = opened + ?5 "
        "WHERE (account, design, period) = (?1, ?2, ?3)",
        (*pile, held.wanted, opened),
    )


def counts_of_vouchers(connection: Connection) -> list[tuple[str, int, int]]:
    """For each account with vouchers: how many it handed in, and how many were opened."""
    return connection.execute(
        "SELECT account, SUM(held), SUM(opened) FROM piles GROUP BY account ORDER BY account"
    ).fetchall()


STEP: Final = "centre/submit-voucher"
_PAUSE_SECONDS: Final = 1.0


class OpenerFiles(Redacted, Struct, frozen=True):
    """An epoch's files of a design with vouchers, e.g. `Publication.opener`; labels that are not endorsed are
    none to the centre."""

    SHOWN: ClassVar = ("epoch", "endorsed", "earlier")

    epoch: int
    files: Buffers
    endorsed: Callable[[int, Label], Verdict] = lambda epoch, label: Passed()
    earlier: Mapping[int, Buffers] = {}
    """Of the epochs before it that have its period, by number: their vouchers add up with its own."""


class Vouchers(Redacted, Struct, dict=True, eq=False):
    """Takes and opens vouchers; belongs to one event loop. Raises `BlindmatchError` if an opener cannot be
    opened.

    Args:
        most: of one account, design and period.
        most_tried: of these the visible ones that the opener is tried on: the first of each place that came,
            then what has a place again. Its work may grow with their cube; a later one gets the same receipt,
            since a refusal would say that it is visible.
    """

    database: Database
    designs: Mapping[str, AnyDesign]
    files: Mapping[str, OpenerFiles]
    most: int
    most_tried: int
    log: EventLog

    def __post_init__(self) -> None:
        self._openers: dict[str, Opener] = {
            name: self.designs[name].open_opener(opener.files) for name, opener in self.files.items()
        }
        self._takers = {
            (name, epoch): self.designs[name].open_opener(held)
            for name, opener in self.files.items()
            for epoch, held in opener.earlier.items()
        } | {(name, self.files[name].epoch): opener for name, opener in self._openers.items()}
        self._periods = {
            name: self.designs[name].period(self.designs[name].open_setup(opener.files, opener.epoch))
            for name, opener in self.files.items()
        }
        self._turns = TurnQueue(1)
        self._due = asyncio.Event()
        self._opened = asyncio.Event()
        self._opening: set[Pile] = set()

    def check_head(self, head: wire.Envelope) -> None:
        """Check the first envelope. Raises `UnsupportedError` if the centre opens no vouchers of this design
        and version, and `EpochMismatchError` if the epoch is not one of the period in force."""
        if head.design not in self._openers:
            raise UnsupportedError(STEP, "no vouchers of this design are opened here", "design")
        version, epoch = self.designs[head.design].info.version, self.files[head.design].epoch
        if head.version != version:
            raise UnsupportedError(STEP, f"must be {version}, not {head.version}", "version")
        if (head.design, head.epoch) not in self._takers:
            raise EpochMismatchError(STEP, f"must be {epoch}, not {head.epoch}", "epoch")

    async def take(
        self, account: str, device: str, head: wire.Envelope, body: bytes, now_ms: int
    ) -> wire.Receipt:
        """Take a voucher; the same one again gets the same receipt. What is to be kept of it is on disk then;
        `ProtocolError` if it is no voucher of the design (it is not kept then), `QuotaError` if the account
        has handed in too many."""
        voucher = decode_any(self.designs[head.design].vouchers, body, STEP)
        digest, pile = hashlib.sha256(body).digest(), Pile(account, head.design, self._periods[head.design])
        known = partial(taken_at, pile=pile, digest=digest, most=self.most, step=STEP)
        async with self._turns.take(account):
            received = await self.database.run(known)
            if received is None:
                received = now_ms
                take = self._takers[head.design, head.epoch].take
                taken = await asyncio.to_thread(take, account, device, pile.period, voucher)
                await self.database.run(
                    lambda c: add_to_pile(c, pile, digest, taken, now_ms, self.most_tried)
                )
                if isinstance(taken, Visible):
                    self._due.set()
        return wire.Receipt(report_id=digest[:16], received_at_ms=received)

    def wake(self) -> None:
        self._due.set()

    async def finished(self, seconds: float) -> None:
        """Wait until the opener was tried on all that was taken, or for `seconds`."""

        async def are_due() -> bool:
            return bool(self._openers) and bool(await self.database.run(self._due_piles))

        await nothing_left(are_due, self._opened, seconds)

    async def run(self) -> None:
        """Open as vouchers come, and first what was left when the centre last ended; never returns."""
        if not self._openers:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                self._due.clear()
                try:
                    found = await self.database.run(self._due_piles)
                except Exception as error:
                    self.log.failure("opening", error)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                for pile in set(found) - self._opening:
                    self._opening.add(pile)
                    group.create_task(self._open(pile))
                await self._due.wait()

    def _due_piles(self, connection: Connection) -> list[Pile]:
        return due_piles(connection, self._periods)

    async def _open(self, pile: Pile) -> None:
        """Try the opener on a pile; then look whether more came meanwhile."""
        try:
            held = await self.database.run(lambda c: rows_of(c, pile, self.most_tried))
            labels = await asyncio.to_thread(self._labels, pile, held.rows)
            await self.database.run(lambda c: record_opened(c, pile, held, labels))
        except Exception as error:
            # the store failed: the pile stays due, and is tried again
            self.log.failure("opening", error)
            await asyncio.sleep(_PAUSE_SECONDS)
        self._opening.discard(pile)
        self._opened.set()
        self._due.set()

    def _labels(self, pile: Pile, held: list[VisibleRow]) -> Mapping[int, Label]:
        """What opens; nothing if the design fails, until the account's next visible one."""
        try:
            rows, files = [one.row for one in held], self.files[pile.design]
            found = self._openers[pile.design].open(pile.account, pile.period, rows)
            return {at: one for at, one in found.items() if files.endorsed(files.epoch, one) == Passed()}
        except Exception as error:
            self.log.failure("opening", error)
            return {}
