"""The `Centre` service.

device -- Key --------------------> centre
device -- Submit(sealed report) --> centre     file and row on disk
device <- Receipt ----------------- centre     then checked in the background (verify.py)
operator -- List, Show -----------> centre         what they decide: desk.py
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.cover import is_slot
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server import parts
from blindmatch_server.authority import Kind
from blindmatch_server.blobs import Blobs, Incoming
from blindmatch_server.centre import complaints, notices, piles, replies, store
from blindmatch_server.centre.checking import Checking
from blindmatch_server.centre.desk import OperatorsDesk
from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.centre.slots import Slots
from blindmatch_server.centre.vouchers import STEP, Vouchers
from blindmatch_server.clock import Clock, milliseconds
from blindmatch_server.database import Database
from blindmatch_server.endpoint import DEVICES, EVERYONE, OPERATORS, Call, Method
from blindmatch_server.matching.envelopes import large_body
from blindmatch_server.rate import TokenBuckets
from blindmatch_server.waiting import Places

REPORT_ID_BYTES: Final = 16
_SUBMIT: Final = "centre/submit"
_SUBMITTERS: Final = frozenset({Kind.DEVICE, Kind.RELAY, Kind.HOST})
_LONG_SECONDS: Final = 600.0


class Centre:
    """Takes reports and vouchers; shows them to operators."""

    descriptor = wire.DESCRIPTOR.services_by_name["Centre"]

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        checking: Checking,
        vouchers: Vouchers,
        slots: Slots,
        public_key: bytes,
        limits: CentreLimits,
        clock: Clock,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._checking = checking
        self._vouchers = vouchers
        self._slots = slots
        self._public_key = public_key
        self._limits = limits
        self._clock = clock
        self._places = Places(limits.most_uploads)

    async def resume(self) -> None:
        """Store reports whose slots had all come when the centre last ended."""
        await self._slots.resume(milliseconds(self._clock), self._take_whole)

    def methods(self) -> Mapping[str, Method]:
        """See `endpoint.Service`."""
        rate = TokenBuckets(self._limits.submissions, self._clock)
        return {
            "Key": Method(self.key, EVERYONE, rate),
            "Submit": Method(self.submit, _SUBMITTERS, rate, _LONG_SECONDS),
            "SubmitVoucher": Method(self.submit_voucher, DEVICES, rate, _LONG_SECONDS),
            "List": Method(self.list_all, OPERATORS),
            "Show": Method(self.show, OPERATORS),
            **OperatorsDesk(self._database, self._clock, rate).methods(),
        }

    async def key(self, request: wire.CentreKeyRequest, call: Call) -> wire.CentreKey:
        """What reports are sealed to."""
        return wire.CentreKey(public_key=self._public_key)

    async def submit(self, requests: AsyncIterator[wire.SubmitPart], call: Call) -> wire.Receipt:
        """Take a sealed report; the receipt is sent once it is on disk.

        Raises:
            ProtocolError: if the parts break a rule.
            ConflictError, QuotaError: see `store.receive`.
        """
        with self._places.hold(call.account, _SUBMIT):
            first = await anext(requests, None)
            if first is None or len(first.report_id) != REPORT_ID_BYTES:
                raise ProtocolError(_SUBMIT, f"must be {REPORT_ID_BYTES} bytes", "report_id")
            size, data = await parts.opened(_inner(first, requests), self._limits.most_sealed_bytes, _SUBMIT)
            if is_slot(size):
                received = await self._take_slot(first.report_id, data, call.account)
                return wire.Receipt(report_id=first.report_id, received_at_ms=received)
            async with self._blobs.incoming() as incoming:
                received, new = await self._keep(first.report_id, data, incoming, call.account)
            if new:
                self._checking.wake()
            else:
                incoming.discard()
            return wire.Receipt(report_id=first.report_id, received_at_ms=received)

    async def _take_slot(self, slot_id: bytes, data: AsyncIterator[bytes], account: str) -> int:
        """A slot of a device's cover schedule. Raises what `Slots.take` raises."""
        sealed = b"".join([piece async for piece in data])
        now = milliseconds(self._clock)
        return await self._slots.take(slot_id, sealed, account, now, self._take_whole)

    async def _take_whole(self, report_id: bytes, sealed: bytes, account: str) -> None:
        """Store a report that came in slots. Raises what `store.receive` raises."""
        async with self._blobs.incoming() as incoming:
            _, new = await self._keep(report_id, _once(sealed), incoming, account)
        if new:
            self._checking.wake()
        else:
            incoming.discard()

    async def submit_voucher(self, requests: AsyncIterator[wire.Envelope], call: Call) -> wire.Receipt:
        """Take a voucher. Raises what `Vouchers` raises, and `ProtocolError` if the parts break a rule."""
        with self._places.hold(call.account, STEP):
            first = await anext(requests, None)
            if first is None:
                raise ProtocolError(STEP, "no envelope was sent")
            self._vouchers.check_head(first)
            body = await large_body(first, requests, self._limits.most_voucher_bytes, STEP)
            return await self._vouchers.take(call.account, first, body, milliseconds(self._clock))

    async def list_all(self, request: wire.ListRequest, call: Call) -> wire.CentreList:
        """All reports, oldest first, and vouchers by account; what was received before is looked at first."""
        await self._slots.idle()
        await self._checking.finished(self._limits.list_wait_seconds)
        await self._vouchers.finished(self._limits.list_wait_seconds)
        rows = await self._database.run(store.reports)
        counts = await self._database.run(piles.counts)
        vouchers = [wire.VoucherRow(account=a, held=held, opened=opened) for a, held, opened in counts]
        return wire.CentreList(reports=map(replies.report_row, rows), vouchers=vouchers)

    async def show(self, request: wire.ShowRequest, call: Call) -> wire.ReportDetail:
        """One report with all that belongs to it; `NotFoundError` if there is none with this id."""
        return await self._database.run(lambda c: _detail(c, request.report_id))

    async def _keep(
        self, report_id: bytes, data: AsyncIterator[bytes], incoming: Incoming, account: str
    ) -> tuple[int, bool]:
        digest = hashlib.sha256()
        async for piece in data:
            digest.update(piece)
            await asyncio.to_thread(incoming.write, piece)
        await asyncio.to_thread(incoming.commit)
        now = milliseconds(self._clock)
        submission = store.Submission(report_id, digest.digest(), incoming.blob_id, account, now)
        most = self._limits.most_reports_a_day
        return await self._database.run(lambda c: store.receive(c, submission, most))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _inner(first: wire.SubmitPart, rest: AsyncIterator[wire.SubmitPart]) -> AsyncIterator[wire.Part]:
    yield first.part
    async for item in rest:
        if item.report_id:
            raise ProtocolError(_SUBMIT, "must stand in the first part only", "report_id")
        yield item.part


def _detail(connection: Connection, report_id: bytes) -> wire.ReportDetail:
    return replies.report_detail(
        store.find(connection, report_id),
        store.verdicts(connection, report_id),
        store.journal(connection, report_id),
        complaints.all_of(connection, report_id),
        notices.of_report(connection, report_id),
    )
