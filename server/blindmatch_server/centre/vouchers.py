"""Vouchers: each taken once, then opened in the background when the design says that there are enough.

device --voucher--> take --> digest, and row if visible, on disk --> receipt
                                   |
                                   +--> all rows of the account are opened; what comes meanwhile waits

The receipt does not wait for the opening, so that its time tells the device nothing of that. Accounts are
taken and opened side by side, the vouchers of one account one after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Final

from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import EpochMismatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Buffers, Label, Opener, Visible
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.centre.piles import (
    Pile,
    VisibleRow,
    add_to_pile,
    due_piles,
    record_opened,
    rows_of,
    taken_at,
)
from blindmatch_server.hosting.concurrency import TurnQueue, nothing_left
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import UnsupportedError

STEP: Final = "centre/submit-voucher"
_PAUSE_SECONDS: Final = 1.0


class OpenerFiles(Redacted, Struct, frozen=True):
    """An epoch's files of a design with vouchers, e.g. `Publication.opener`; labels that are not endorsed are
    none to the centre."""

    SHOWN: ClassVar = ("epoch", "endorsed")

    epoch: int
    files: Buffers
    endorsed: Callable[[int, Label], Verdict] = lambda epoch, label: Passed()


class Vouchers:
    """Takes and opens vouchers; belongs to one event loop.

    Raises:
        BlindmatchError: if an opener cannot be opened.
    """

    def __init__(
        self,
        database: Database,
        designs: Mapping[str, AnyDesign],
        files: Mapping[str, OpenerFiles],
        limits: CentreLimits,
        log: EventLog,
    ) -> None:
        self._database = database
        self._designs = designs
        self._epochs = {name: opener.epoch for name, opener in files.items()}
        self._files = files
        self._openers: dict[str, Opener] = {
            name: designs[name].open_opener(opener.files) for name, opener in files.items()
        }
        self._periods = {
            name: designs[name].period(designs[name].open_setup(opener.files, opener.epoch))
            for name, opener in files.items()
        }
        self._limits = limits
        self._log = log
        self._turns = TurnQueue(1)
        self._due = asyncio.Event()
        self._opened = asyncio.Event()
        self._opening: set[Pile] = set()

    def check_head(self, head: wire.Envelope) -> None:
        """Check the first envelope.

        Raises:
            UnsupportedError: if the centre opens no vouchers of this design and version.
            EpochMismatchError: if it opens those of another epoch.
        """
        if head.design not in self._openers:
            raise UnsupportedError(STEP, "no vouchers of this design are opened here", "design")
        version, epoch = self._designs[head.design].info.version, self._epochs[head.design]
        if head.version != version:
            raise UnsupportedError(STEP, f"must be {version}, not {head.version}", "version")
        if head.epoch != epoch:
            raise EpochMismatchError(STEP, f"must be {epoch}, not {head.epoch}", "epoch")

    async def take(
        self, account: str, device: str, head: wire.Envelope, body: bytes, now_ms: int
    ) -> wire.Receipt:
        """Take a voucher; the same one again gets the same receipt. What is to be kept of it is on disk then.

        Raises:
            ProtocolError: if it is no voucher of the design; it is not kept then.
            QuotaError: if the account has handed in too many.
        """
        voucher = decode_any(self._designs[head.design].vouchers, body, STEP)
        digest, pile = hashlib.sha256(body).digest(), Pile(account, head.design, self._periods[head.design])
        known = partial(taken_at, pile=pile, digest=digest, most=self._limits.most_vouchers, step=STEP)
        async with self._turns.take(account):
            received = await self._database.run(known)
            if received is None:
                received = now_ms
                take = self._openers[head.design].take
                taken = await asyncio.to_thread(take, account, device, pile.period, voucher)
                await self._database.run(lambda c: add_to_pile(c, pile, digest, taken, now_ms))
                if isinstance(taken, Visible):
                    self._due.set()
        return wire.Receipt(report_id=digest[:16], received_at_ms=received)

    async def finished(self, seconds: float) -> None:
        """Wait until the opener was tried on all that was taken, or for `seconds`."""
        await nothing_left(self._are_due, self._opened, seconds)

    async def run(self) -> None:
        """Open as vouchers come, and first what was left when the centre last ended; never returns."""
        if not self._openers:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                self._due.clear()
                try:
                    found = await self._database.run(lambda c: due_piles(c, self._periods))
                except Exception as error:
                    self._log.failure("opening", error)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                for pile in set(found) - self._opening:
                    self._opening.add(pile)
                    group.create_task(self._open(pile))
                await self._due.wait()

    async def _are_due(self) -> bool:
        return bool(self._openers) and bool(await self._database.run(lambda c: due_piles(c, self._periods)))

    async def _open(self, pile: Pile) -> None:
        """Try the opener on a pile; then look whether more came meanwhile."""
        try:
            held = await self._database.run(lambda c: rows_of(c, pile))
            labels = await asyncio.to_thread(self._labels, pile, held)
            await self._database.run(lambda c: record_opened(c, pile, held, labels))
        except Exception as error:
            # the store failed: the pile stays due, and is tried again
            self._log.failure("opening", error)
            await asyncio.sleep(_PAUSE_SECONDS)
        self._opening.discard(pile)
        self._opened.set()
        self._due.set()

    def _labels(self, pile: Pile, held: list[VisibleRow]) -> Mapping[int, Label]:
        """What opens; nothing if the design fails, until the account's next visible one."""
        try:
            rows, files = [one.row for one in held], self._files[pile.design]
            found = self._openers[pile.design].open(pile.account, pile.period, rows)
            return {at: one for at, one in found.items() if files.endorsed(files.epoch, one) == Passed()}
        except Exception as error:
            self._log.failure("opening", error)
            return {}
