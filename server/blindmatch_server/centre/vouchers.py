"""Taking vouchers: each once, with a receipt that says nothing of what it holds; `opening` opens them later.

The vouchers of one account, design and period are a pile, which counts those that an opener is to be tried
on. The receipt waits for no opening: see there for what a device can learn of one all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from sqlite3 import Connection
from typing import ClassVar, Final

from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import EpochMismatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Buffers, Hidden, Label, Taken
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.centre.opening import OpeningLimits, Openings, OpenInWorker, Opens, Pile
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.limits import TurnQueue
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import QuotaError, UnsupportedError


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
) -> bool:
    """Store what a new voucher came to; return whether the pile is due. A visible one counts if it is of the
    first `most`; of those the first of each place come before what was sent again, however often that was."""
    row, place = (None, None) if isinstance(taken, Hidden) else (taken.row, taken.place or None)
    (turn,) = connection.execute(
        "SELECT COALESCE(MAX(turn) + 1, 0) FROM vouchers "
        "WHERE (account, design, period) = (?, ?, ?) AND place = ?",
        (*pile, place),
    ).fetchone()
    number = connection.execute(
        "INSERT INTO vouchers (account, design, period, digest, row, place, turn, received_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*pile, digest, row, place, turn, at_ms),
    ).lastrowid
    seen = int(row is not None)
    first = int(row is not None and not turn)
    (is_due,) = connection.execute(
        "INSERT INTO piles "
        "(account, design, period, held, visible, places, wanted, first_at_ms, last_at_ms, born) "
        "VALUES (?1, ?2, ?3, 1, ?4, ?5, ?4, ?6, ?6, ?8) ON CONFLICT DO UPDATE SET "
        "held = held + 1, visible = visible + ?4, places = places + ?5, last_at_ms = ?6, "
        "wanted = wanted + (?4 AND (CASE WHEN ?5 THEN places ELSE visible END) < ?7) "
        "RETURNING next_try <= wanted",
        (*pile, seen, first, at_ms, most, number),
    ).fetchone()
    return bool(is_due)


def counts_of_vouchers(connection: Connection) -> list[tuple[str, int, int]]:
    """For each account with vouchers: how many it handed in, and how many were opened."""
    return connection.execute(
        "SELECT account, SUM(held), SUM(opened) FROM piles GROUP BY account ORDER BY account"
    ).fetchall()


STEP: Final = "centre/submit-voucher"


class OpenerFiles(Redacted, Struct, frozen=True):
    """An epoch's files of a design with vouchers, e.g. `Publication.opener`; labels that are not endorsed are
    none to the centre.

    Attributes:
        earlier: of the epochs before it that have its period, by number: their vouchers add up with its own.
        in_worker: opens the same opener in another process; None: vouchers are opened in a thread, whose work
            nothing bounds.
    """

    SHOWN: ClassVar = ("epoch", "endorsed", "earlier")

    epoch: int
    files: Buffers
    endorsed: Callable[[int, Label], Verdict] = lambda epoch, label: Passed()
    earlier: Mapping[int, Buffers] = {}
    in_worker: OpenInWorker | None = None

    def is_endorsed(self, label: Label) -> bool:
        return self.endorsed(self.epoch, label) == Passed()


class Vouchers(Redacted, Struct, dict=True, eq=False):
    """Takes vouchers, and has them opened; belongs to one event loop. Raises `BlindmatchError` if an opener
    cannot be opened.

    Args:
        most: of one account, design and period.
        opening: bounds of the attempts. Of visible ones the first of each place that came are tried, then
            what has a place again; a later one gets the same receipt, since a refusal would say that it is
            visible.
    """

    database: Database
    designs: Mapping[str, AnyDesign]
    files: Mapping[str, OpenerFiles]
    most: int
    opening: OpeningLimits
    log: EventLog

    def __post_init__(self) -> None:
        openers = {name: self.designs[name].open_opener(opener.files) for name, opener in self.files.items()}
        self._takers = {
            (name, epoch): self.designs[name].open_opener(held)
            for name, opener in self.files.items()
            for epoch, held in opener.earlier.items()
        } | {(name, self.files[name].epoch): opener for name, opener in openers.items()}
        self._periods = {
            name: self.designs[name].period(self.designs[name].open_setup(opener.files, opener.epoch))
            for name, opener in self.files.items()
        }
        self._turns = TurnQueue(1)
        opens = {
            name: Opens(period, openers[name], self.files[name].in_worker, self.files[name].is_endorsed)
            for name, period in self._periods.items()
        }
        self.openings = Openings(self.database, opens, self.opening, self.log)

    def check_head(self, head: wire.Envelope) -> None:
        """Check the first envelope. Raises `UnsupportedError` if the centre opens no vouchers of this design
        and version, and `EpochMismatchError` if the epoch is not one of the period in force."""
        if head.design not in self.files:
            raise UnsupportedError(STEP, "no vouchers of this design are opened here", "design")
        version = self.designs[head.design].info.version
        epoch = self.files[head.design].epoch
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
        digest = hashlib.sha256(body).digest()
        pile = Pile(account, head.design, self._periods[head.design])
        known = partial(taken_at, pile=pile, digest=digest, most=self.most, step=STEP)
        async with self._turns.take(account):
            received = await self.database.run(known)
            if received is None:
                received = now_ms
                take = self._takers[head.design, head.epoch].take
                taken = await asyncio.to_thread(take, account, device, pile.period, voucher)
                is_due = await self.database.run(
                    lambda c: add_to_pile(c, pile, digest, taken, now_ms, self.opening.most_tried)
                )
                if is_due:
                    self.openings.wake()
        return wire.Receipt(report_id=digest[:16], received_at_ms=received)
