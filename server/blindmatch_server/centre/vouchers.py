"""Vouchers: kept by account, and opened when the design says that there are enough."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.contract import AnyDesign, Buffers, Label, Opener
from blindmatch_protocol.errors import EpochMismatchError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.centre import store
from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.database import Database
from blindmatch_server.errors import QuotaError, UnsupportedError

STEP: Final = "centre/submit-voucher"


@dataclass(frozen=True, slots=True)
class OpenerFiles:
    """An epoch's files of a design with vouchers, e.g. `Publication.opener`."""

    epoch: int
    files: Buffers = field(repr=False)


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
    ) -> None:
        self._database = database
        self._designs = designs
        self._epochs = {name: opener.epoch for name, opener in files.items()}
        self._openers: dict[str, Opener] = {
            name: designs[name].open_opener(opener.files) for name, opener in files.items()
        }
        self._limits = limits
        self._turn = asyncio.Lock()

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

    async def take(self, account: str, head: wire.Envelope, body: bytes, now_ms: int) -> wire.Receipt:
        """Store a voucher and open what can be opened; the same voucher again gets the same receipt.

        Raises:
            ProtocolError: if it is no voucher of the design; it is not kept then.
            QuotaError: if the account has handed in too many.
        """
        decode_any(self._designs[head.design].vouchers, body, STEP)
        digest = hashlib.sha256(body).digest()
        async with self._turn:
            held = await self._database.run(
                lambda c: store.account_vouchers(c, account, head.design, head.epoch)
            )
            before = next((v for v in held if v.digest == digest), None)
            if before is None:
                before = store.StoredVoucher(digest, body, now_ms, None)
                await self._add(account, head, held, before)
        return wire.Receipt(report_id=digest[:16], received_at_ms=before.received_at_ms)

    async def _add(
        self, account: str, head: wire.Envelope, held: list[store.StoredVoucher], new: store.StoredVoucher
    ) -> None:
        if len(held) >= self._limits.most_vouchers:
            raise QuotaError(STEP, f"at most {self._limits.most_vouchers} vouchers an epoch")
        every = [*held, new]
        labels = await asyncio.to_thread(self._open, account, head.design, [v.body for v in every])
        opened = [(every[index].digest, label) for index, label in labels.items()]
        await self._database.run(
            lambda c: store.add_voucher(c, account, head.design, head.epoch, new, opened)
        )

    def _open(self, account: str, design: str, bodies: list[bytes]) -> Mapping[int, Label]:
        kinds = self._designs[design].vouchers
        return self._openers[design].open(account, [decode_any(kinds, body, STEP) for body in bodies])
