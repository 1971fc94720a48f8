"""The `Centre` service.

device -- Key --------------------> centre
device -- Submit(sealed report) --> centre     file and row on disk
device <- Receipt ----------------- centre     then checked in the background (verify.py)
operator -- List, Show -----------> centre         what they decide: operating.py
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.cover import is_slot
from blindmatch_protocol.messages.parts import ENVELOPE, PART, SUBMISSION, Joiner, begun, split, whole
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.bodies import Bodies
from blindmatch_server.centre import complaints, following, notices, store, triage
from blindmatch_server.centre.checking import Checking
from blindmatch_server.centre.exporting import Exporter
from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.centre.operating import OperatorMethods
from blindmatch_server.centre.piles import counts_of_vouchers
from blindmatch_server.centre.replies import report_detail, report_row
from blindmatch_server.centre.signers import claimed_identity, note_signer, signer_of
from blindmatch_server.centre.slots import Slots
from blindmatch_server.centre.vouchers import STEP, Vouchers
from blindmatch_server.hosting.authority import Kind
from blindmatch_server.hosting.concurrency import CallLimit
from blindmatch_server.hosting.endpoint import DEVICES, EVERYONE, OPERATORS, Call, Method
from blindmatch_server.hosting.rate import TokenBuckets
from blindmatch_server.storage.blobs import Blobs, Incoming
from blindmatch_server.storage.clock import Clock, milliseconds
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import ForbiddenError

REPORT_ID_BYTES: Final = 16
_SUBMIT: Final = "centre/submit"
_EXPORT: Final = "centre/export"
_SUBMITTERS: Final = frozenset({Kind.DEVICE, Kind.RELAY, Kind.HOST})
_SERVERS: Final = frozenset({Party.PROVIDER, Party.MATCHER})
_LONG_SECONDS: Final = 600.0


class Centre:
    """Takes reports and vouchers; shows them to operators."""

    descriptor = wire.DESCRIPTOR.services_by_name["Centre"]

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        bodies: Bodies,
        checking: Checking,
        vouchers: Vouchers,
        slots: Slots,
        public_key: bytes,
        limits: CentreLimits,
        clock: Clock,
        exporter: Exporter,
        parties: Collection[Party] = (),
    ) -> None:
        """`parties`: of the design, whose servers may report beside devices, relay and matcher."""
        self._reporting = _SERVERS.union(parties)
        self._exporter = exporter
        self._database = database
        self._blobs = blobs
        self._bodies = bodies
        self._checking = checking
        self._vouchers = vouchers
        self._slots = slots
        self._public_key = public_key
        self._limits = limits
        self._clock = clock
        self._places = CallLimit(limits.most_uploads)

    async def resume(self) -> None:
        """Store reports whose slots had all come when the centre last ended."""
        await self._slots.resume(milliseconds(self._clock), self._take_whole)

    def methods(self) -> Mapping[str, Method]:
        rate = TokenBuckets(self._limits.submissions, self._clock)
        return {
            "Key": Method(self.key, EVERYONE, rate),
            "Submit": Method(self.submit, _SUBMITTERS, rate, _LONG_SECONDS),
            "SubmitVoucher": Method(self.submit_voucher, DEVICES, rate, _LONG_SECONDS),
            "List": Method(self.list_all, OPERATORS),
            "Show": Method(self.show, OPERATORS),
            "Export": Method(self.export, OPERATORS),
            **OperatorMethods(self._database, self._clock, rate).methods(),
        }

    async def key(self, request: wire.CentreKeyRequest, call: Call) -> wire.CentreKey:
        """What reports are sealed to; a device may say whose key it has.

        Raises:
            ProtocolError, ConflictError: see `claimed_identity` and `note_signer`.
        """
        if request.identity_key and call.caller is not None and call.caller.kind is Kind.DEVICE:
            identity = claimed_identity(request)
            await self._database.run(lambda c: note_signer(c, call.account, identity))
        return wire.CentreKey(public_key=self._public_key)

    async def submit(self, requests: AsyncIterator[wire.SubmitPart], call: Call) -> wire.Receipt:
        """Take a sealed report; the receipt is sent once it is on disk.

        Raises:
            ForbiddenError: for a server without a part in the design, such as the log.
            ProtocolError: if the parts break a rule.
            ConflictError, QuotaError: see `store.receive`.
        """
        caller = call.caller
        if caller is not None and caller.party is not None and caller.party not in self._reporting:
            raise ForbiddenError(_SUBMIT, f"not for a {caller.words}")
        with self._places.hold(call.account, _SUBMIT):
            joiner = Joiner(SUBMISSION, self._limits.most_sealed_bytes, _SUBMIT)
            first, data = await begun(joiner, requests)
            if len(first.report_id) != REPORT_ID_BYTES:
                raise ProtocolError(_SUBMIT, f"must be {REPORT_ID_BYTES} bytes", "report_id")
            if is_slot(joiner.size):
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
        sealed = await whole(data)
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
            first, data = await begun(Joiner(ENVELOPE, self._limits.most_voucher_bytes, STEP), requests)
            self._vouchers.check_head(first)
            async with self._bodies.whole(data, STEP) as voucher:
                # a deployment gives an account one certificate, so the account names the device
                return await self._vouchers.take(
                    call.account, call.account, first, voucher, milliseconds(self._clock)
                )

    async def list_all(self, request: wire.ListRequest, call: Call) -> wire.CentreList:
        """All reports, oldest first, and vouchers by account; what was received before is looked at first."""
        await self._slots.idle()
        await self._checking.finished(self._limits.list_wait_seconds)
        await self._vouchers.finished(self._limits.list_wait_seconds)
        rows = await self._database.run(store.reports)
        counts = await self._database.run(counts_of_vouchers)
        vouchers = [wire.VoucherRow(account=a, held=held, opened=opened) for a, held, opened in counts]
        return wire.CentreList(reports=map(report_row, rows), vouchers=vouchers)

    async def show(self, request: wire.ShowRequest, call: Call) -> wire.ReportDetail:
        """One report with all that belongs to it; `NotFoundError` if there is none with this id."""
        return await self._database.run(
            lambda c: report_detail(
                store.find(c, request.report_id),
                store.verdicts(c, request.report_id),
                store.journal(c, request.report_id),
                complaints.all_of(c, request.report_id),
                notices.of_report(c, request.report_id),
            )
        )

    async def export(self, request: wire.ExportRequest, call: Call) -> AsyncIterator[wire.Part]:
        """A report as evidence, of which nothing is sent before the journal has the line that says so.

        Raises:
            ProtocolError: without a reason, or if the report does not open.
            NotFoundError: if there is none.
        """
        reason, report_id = triage.words_of(request.reason, _EXPORT, "reason"), request.report_id
        row = await self._database.run(lambda c: store.find(c, report_id))
        submission = row.submission
        identity = await self._database.run(lambda c: signer_of(c, submission.submitter))
        evidence = await asyncio.to_thread(self._exporter.export, submission, identity)
        now = milliseconds(self._clock)
        await self._database.run(lambda c: following.exported(c, report_id, reason, now, call.account))
        for part in split(PART, wire.Part(), evidence):
            yield part

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
