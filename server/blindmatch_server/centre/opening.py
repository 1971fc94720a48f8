"""Opening vouchers, apart from taking them: one attempt at a time, in a process of its own.

    a pile is due     its count of vouchers to be tried has reached `next_attempt`; the smallest pile is first
    the worker        reads the pile's rows by itself, and tries the design's opener on them
    the centre        checks endorsements; stores the labels, and the count of the next attempt
    given up          an attempt that failed or did not return; the pile has its `problem`

The work is bounded by account, design and period. Let m be the most vouchers that are tried, C the cost of an
attempt on m of them, and G = 1/`GROWTH`. Attempts are made at counts a(1) < a(2) < ... with
a(k + 1) >= (1 + G) a(k), and one more at m itself. An opener's cost may grow with the cube of what it is
given, so

    attempts up to m       <= C + C * sum over j of (1 + G)^(-3j)  =  C (1 + 1 / (1 - (32/33)^3))  <  12.4 C
    attempts from m to 2m  <= log 2 / log (1 + G), rounded up      =  23, of C at most

Vouchers that have a place again can take the count beyond m, to less than 2m: less than 36 C in all.

Only what is erased lets the count go on from there, and then the count no longer says how large the pile is.
So the count grows between attempts by a 32nd of it, or by a 16th of the vouchers that are left if that is
less: the few that a large pile left are tried as any few. An attempt on r vouchers then comes after the count
has grown by r/33 at least, and costs at most (r/m)^3 C: every m vouchers that are counted after an erasure
add at most 33 C. A pile of which all is erased begins anew.

An opener may be anybody's, and never return. An attempt on r vouchers may take

    budget(r)  =  `most_opener_u` + `EACH` r + r^3 / `CUBE`  u      (u, and what holds it: `bounded_process`)

which is 15 million u for r = 1,000. So many random shares take `threshold-psi` 0.31 million (t = 2); to look
a label up among 10 million entries takes 1,600 more for each that opens, by what a million takes. So a
decoder that returns is not stopped, on a busy machine as on an idle one. One that exceeds its budget, or
waits, is ended with its process, and the attempt counts: all that an account can cause are as many budgets as
it has attempts, less than 170 up to m = 1,000. Piles that were given up come behind all others. They are
tried again once they have grown as any pile, and once after each start of the centre, before which somebody
may have mended the opener. The opener itself is opened within `budget(0)`.

The counts are in the database, so that a centre that is killed goes on where it was; it repeats the one
attempt that was under way.

A device learns of an attempt by the processor that it takes, and by nothing else: taking vouchers waits for
neither the worker nor a thread that does. The attack `shared-processor` counts what that tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import Final, NamedTuple, TypeAlias

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Label, Opener
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.centre.growth import next_attempt
from blindmatch_server.centre.retention import DAY_MS
from blindmatch_server.hosting.bounded_process import (
    BoundedProcess,
    NotStartedError,
    OverBudgetError,
    WaitedError,
    unit_seconds,
    work_budget,
)
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.limits import nothing_left
from blindmatch_server.hosting.workers import WorkerError
from blindmatch_server.storage.database import Database, reading

_PAUSE_SECONDS: Final = 1.0
_NICENESS: Final = 10
"""How far the worker stands behind the centre where both want the processor."""

EACH: Final = 10_000
CUBE: Final = 250
"""What the budget of an attempt grows by, in u: so much with each voucher, and with their cube over this."""
OVER_BUDGET: Final = "the opener exceeded its budget of work"
WAITED: Final = "the opener waited and did not return"
ENDED: Final = "the opener ended its process"
FAILED: Final = "the opener failed: "
"""Why an attempt was given up, in words for operators; the last one goes on with the class of the error."""
MOST_NAME: Final = 80
"""Characters of that class."""

OpenInWorker: TypeAlias = Callable[[], Opener]
"""Opens a design's opener in another process; it is pickled."""


class OpeningLimits(Struct, frozen=True):
    """Bounds of attempts.

    Attributes:
        most_tried: vouchers of a pile that are tried.
        most_opener_u: work of an attempt on few vouchers.
        most_opener_waits: looks, one a second, at which an attempt may be found waiting.
    """

    most_tried: int
    most_opener_u: int = 1_000_000
    most_opener_waits: int = 60

    def budget(self, rows: int) -> float:
        """Return the work in u that an attempt on so many vouchers may take."""
        return self.most_opener_u + EACH * rows + rows**3 / CUBE


class Pile(NamedTuple):
    """The vouchers of an account, of a design and period."""

    account: str
    design: str
    period: bytes


class Opens(Redacted, Struct, frozen=True):
    """How the vouchers of one design are opened.

    Attributes:
        period: the one in force; piles of others are not tried.
        opener: for attempts in a thread of this process, whose work nothing bounds.
        in_worker: for attempts in a process of their own; None: they are made in the thread.
        is_endorsed: whether a label is, in the epoch in force; one that is not stays closed.
    """

    period: bytes
    opener: Opener
    in_worker: OpenInWorker | None
    is_endorsed: Callable[[Label], bool]


class Attempt(Redacted, Struct, frozen=True):
    """What an attempt came to.

    Attributes:
        count: of the pile when its rows were read.
        rows: how many those were.
        born: number of the pile's first voucher ever; another pile may have its name since, if all of it was
            erased meanwhile.
        labels: encoded, of those that open, by the number of the voucher.
        problem: why it was given up, in words for operators; empty if it was not.
    """

    count: int
    rows: int
    born: int
    labels: Mapping[int, bytes]
    problem: str = ""


def first_due(
    connection: Connection, periods: Mapping[str, bytes], most: int, without: Collection[Pile] = ()
) -> Pile | None:
    """Return the smallest pile of these designs and periods that is due, and is not one of those `without`;
    one that was given up comes behind all others; None if none is."""
    found = connection.execute(
        "SELECT account, design, period FROM piles WHERE next_try <= wanted "
        "ORDER BY problem <> '', MIN(places, ?), first_at_ms",
        (most,),
    )
    due = (pile for pile in map(Pile._make, found) if periods.get(pile.design) == pile.period)
    return next((pile for pile in due if pile not in without), None)


def begun(connection: Connection, pile: Pile, most: int) -> Attempt:
    """Return an attempt on a pile as it is now, with nothing opened yet."""
    found = connection.execute(
        "SELECT wanted, MIN(visible, ?), born FROM piles WHERE (account, design, period) = (?, ?, ?)",
        (most, *pile),
    ).fetchone()
    count, rows, born = found or (0, 0, 0)
    return Attempt(count, rows, born, {})


def rows_of(connection: Connection, pile: Pile, most: int) -> list[tuple[int, bytes]]:
    """Return number and row of a pile's first `most` visible vouchers: the first of each place as they came,
    then those that have a place again."""
    return connection.execute(
        "SELECT number, row FROM vouchers "
        "WHERE (account, design, period) = (?, ?, ?) AND row IS NOT NULL ORDER BY turn, number LIMIT ?",
        (*pile, most),
    ).fetchall()


Within: TypeAlias = AbstractContextManager[None]


def _unbounded(rows: int) -> Within:
    return nullcontext()


def try_pile(
    opener: Opener, database: Path, pile: Pile, most: int, within: Callable[[int], Within] = _unbounded
) -> Attempt:
    """Read a pile from the database's file, and try to open it, in a block that bounds the work for so many
    vouchers. Raises `sqlite3.Error` if it cannot be read; a design that fails opens nothing."""
    with reading(database) as connection:
        attempt = begun(connection, pile, most)
        rows = rows_of(connection, pile, most)
    try:
        # what it returns is its own code, too
        with within(len(rows)):
            found = opener.open(pile.account, pile.period, [row for _, row in rows])
            labels = {rows[at][0]: label.encode() for at, label in found.items()}
        return replace(attempt, labels=labels)
    except Exception as error:
        return replace(attempt, problem=failure_of(error))


def failure_of(error: Exception) -> str:
    """Return the problem of a pile over which a design failed: the kind of error, and not its text, which may
    have what vouchers hide."""
    return f"{FAILED}{type(error).__name__[:MOST_NAME]}"


def record_attempt(
    connection: Connection, pile: Pile, attempt: Attempt, labels: Mapping[int, Label], most: int
) -> None:
    """Store that a pile was tried, and the labels that are new by the voucher's number. How many opened of
    each day that vouchers came on stays when they are erased."""
    opened = 0
    for number, label in labels.items():
        stored = connection.execute(
            "UPDATE vouchers SET label = ? WHERE number = ? AND label IS NULL RETURNING received_at_ms",
            (label.encode(), number),
        ).fetchall()
        for (received_at_ms,) in stored:  # none if it was open before, or erased meanwhile
            opened += 1
            connection.execute(
                "INSERT INTO openings (day_ms, opened) VALUES (?, 1) "
                "ON CONFLICT DO UPDATE SET opened = opened + 1",
                (received_at_ms - received_at_ms % DAY_MS,),
            )
    connection.execute(
        "UPDATE piles SET next_try = MAX(next_try, ?5), opened = opened + ?6, problem = ?7 "
        "WHERE (account, design, period) = (?1, ?2, ?3) AND born = ?4",
        (
            *pile,
            attempt.born,
            next_attempt(attempt.count, attempt.rows, most),
            opened,
            attempt.problem,
        ),
    )


def given_up(connection: Connection, design: str) -> list[tuple[str, str]]:
    """Return the accounts whose piles of a design were given up when they were last tried, and why."""
    return connection.execute(
        "SELECT DISTINCT account, problem FROM piles WHERE design = ? AND problem <> '' ORDER BY account",
        (design,),
    ).fetchall()


def retry_given_up(connection: Connection) -> None:
    """Have the piles that were given up tried once more."""
    connection.execute("UPDATE piles SET next_try = MIN(next_try, wanted) WHERE problem <> ''")


class Openings:
    """Opens what is due; belongs to one event loop."""

    def __init__(
        self, database: Database, designs: Mapping[str, Opens], limits: OpeningLimits, log: EventLog
    ) -> None:
        self._database = database
        self._designs = designs
        self._periods = {name: one.period for name, one in designs.items()}
        self._limits = limits
        self._most = limits.most_tried
        self._log = log
        self._due = asyncio.Event()
        self._tried = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opening")
        in_worker = {name: one.in_worker for name, one in designs.items() if one.in_worker is not None}
        self._worker = BoundedProcess(limits.most_opener_waits, _prepare, in_worker)

    def wake(self) -> None:
        self._due.set()

    async def finished(self, seconds: float) -> None:
        """Wait until no pile is due, or for `seconds`."""

        async def is_left() -> bool:
            return bool(self._designs) and await self._first_due() is not None

        await nothing_left(is_left, self._tried, seconds)

    async def run(self) -> None:
        """Try piles as they become due, and first those that were when the centre last ended; never returns.
        Those that were given up are tried once more. A pile over which something else than its design fails
        stays due, and waits for the others."""
        failed = set[Pile]()
        has_retried = False
        while True:
            self._due.clear()
            pile = None
            try:
                pile = await self._first_due(failed, is_start=not has_retried)
                has_retried = True
                if pile is not None:
                    await self._open(pile)
                elif failed:
                    failed.clear()
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    await self._due.wait()
            except Exception as error:
                self._log.failure("opening", error)
                if pile is not None:
                    failed.add(pile)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        """End the worker; the attempt that is under way is lost, and its pile stays due."""
        await asyncio.to_thread(self._worker.end)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _first_due(self, without: Collection[Pile] = (), is_start: bool = False) -> Pile | None:
        def find(connection: Connection) -> Pile | None:
            if is_start:
                retry_given_up(connection)
            return first_due(connection, self._periods, self._most, without)

        return await self._database.run(find)

    async def _open(self, pile: Pile) -> None:
        loop = asyncio.get_running_loop()
        attempt, labels = await loop.run_in_executor(self._thread, self._attempt, pile)
        await self._database.run(lambda c: record_attempt(c, pile, attempt, labels, self._most))
        self._tried.set()

    def _attempt(self, pile: Pile) -> tuple[Attempt, dict[int, Label]]:
        """Try a pile; with the labels that are endorsed, by the number of their voucher."""
        opens = self._designs[pile.design]
        attempt = self._in_worker(pile) if opens.in_worker else self._here(opens.opener, pile)
        try:
            labels = {number: Label.decode(raw) for number, raw in attempt.labels.items()}
        except ProtocolError as error:
            labels = {}
            attempt = replace(attempt, problem=failure_of(error))
        if attempt.problem:
            self._log.failure("opening", DesignFailedError(attempt.problem), reason=attempt.problem)
        return attempt, {number: label for number, label in labels.items() if opens.is_endorsed(label)}

    def _here(self, opener: Opener, pile: Pile) -> Attempt:
        return try_pile(opener, self._database.path, pile, self._most)

    def _in_worker(self, pile: Pile) -> Attempt:
        """Try a pile in the worker; an attempt that is given up counts, and opens nothing. A worker that ends
        twice over a pile is taken to end again; one that cannot be started says nothing of the pile."""
        with reading(self._database.path) as connection:  # what comes during the attempt is not in it
            attempt = begun(connection, pile, self._most)
        for _ in range(2):
            try:
                return self._worker.run(_try_in_worker, self._database.path, pile, self._limits)
            except OverBudgetError:
                problem = OVER_BUDGET
                break
            except WaitedError:
                problem = WAITED
                break
            except NotStartedError:
                raise
            except WorkerError:
                problem = ENDED
        return replace(attempt, problem=problem)


class DesignFailedError(Exception):
    """A design failed while it opened vouchers; says how."""


_IN_WORKER: Final[dict[str, OpenInWorker]] = {}
_OPENED: Final[dict[str, Opener]] = {}
"""In the worker: how to open each design's opener, and those that were needed so far."""


def _prepare(in_worker: Mapping[str, OpenInWorker]) -> None:
    with suppress(OSError):
        os.nice(_NICENESS)
    unit_seconds()  # before anything is loaded that may change it
    _IN_WORKER.update(in_worker)


def _try_in_worker(database: Path, pile: Pile, limits: OpeningLimits) -> Attempt:
    if pile.design not in _OPENED:
        with work_budget(limits.budget(0)):
            _OPENED[pile.design] = _IN_WORKER[pile.design]()
    return try_pile(
        _OPENED[pile.design],
        database,
        pile,
        limits.most_tried,
        lambda rows: work_budget(limits.budget(rows)),
    )
