"""What the centre keeps of vouchers, and every transaction on it: a digest of each, rows of the visible ones.

The vouchers of one account, design and period are a pile. It counts them, those with a row, and how many rows
the opener was tried on: one that is behind is opened, also after the centre was killed in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from blindmatch_protocol.contract import Hidden, Label, Taken

from blindmatch_server.storage.errors import QuotaError


class Pile(NamedTuple):
    """Whose vouchers, of which design and period."""

    account: str
    design: str
    period: bytes


class VisibleRow(NamedTuple):
    """A visible voucher."""

    number: int
    row: bytes
    is_open: bool


def taken_at(connection: Connection, pile: Pile, digest: bytes, most: int, step: str) -> int | None:
    """When the voucher with this digest was taken, in Unix milliseconds; None if it is a new one.

    Raises:
        QuotaError: if it is new, and the pile has `most` already.
    """
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


def add_to_pile(connection: Connection, pile: Pile, digest: bytes, taken: Taken, at_ms: int) -> None:
    """Store what a new voucher came to; a visible one makes the pile due."""
    row = None if isinstance(taken, Hidden) else taken.row
    connection.execute(
        "INSERT INTO vouchers (account, design, period, digest, row, received_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*pile, digest, row, at_ms),
    )
    connection.execute(
        "INSERT INTO piles (account, design, period, held, visible) VALUES (?1, ?2, ?3, 1, ?4) "
        "ON CONFLICT DO UPDATE SET held = held + 1, visible = visible + ?4",
        (*pile, int(row is not None)),
    )


def due_piles(connection: Connection, periods: Mapping[str, bytes]) -> list[Pile]:
    """Piles with rows that the opener was not tried on, of these designs and periods."""
    found = connection.execute("SELECT account, design, period FROM piles WHERE tried < visible")
    return [pile for pile in map(Pile._make, found) if periods.get(pile.design) == pile.period]


def rows_of(connection: Connection, pile: Pile) -> list[VisibleRow]:
    """A pile's visible vouchers, in the order they came."""
    found = connection.execute(
        "SELECT number, row, label IS NOT NULL FROM vouchers "
        "WHERE (account, design, period) = (?, ?, ?) AND row IS NOT NULL ORDER BY number",
        pile,
    )
    return [VisibleRow(number, row, bool(is_open)) for number, row, is_open in found]


def record_opened(
    connection: Connection, pile: Pile, tried: Sequence[VisibleRow], labels: Mapping[int, Label]
) -> None:
    """Store that the opener was tried on these rows, and the labels (by index) that are new."""
    connection.executemany(
        "UPDATE vouchers SET label = ? WHERE number = ?",
        [(label.encode(), tried[n].number) for n, label in labels.items() if not tried[n].is_open],
    )
    connection.execute(
        "UPDATE piles SET tried = ? WHERE (account, design, period) = (?, ?, ?)", (len(tried), *pile)
    )


def counts_of_vouchers(connection: Connection) -> list[tuple[str, int, int]]:
    """For each account with vouchers: how many it handed in, and how many were opened."""
    return connection.execute(
        "SELECT account, COUNT(*), COUNT(label) FROM vouchers GROUP BY account ORDER BY account"
    ).fetchall()
