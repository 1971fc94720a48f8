"""The centre: its service, what it needs, and what it can hand on of a report.

device -- Key --------------------> centre
device -- Submit(sealed report) --> centre     file and row on disk
device <- Receipt ----------------- centre     then checked in the background (verify.py)
operator -- List, Show -----------> centre         what they decide: operating.py
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from blindmatch_proofs.endorsement import EndorsementProof
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Label, Party
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.parts import ENVELOPE, PART, SUBMISSION, Joiner, begun, split, whole
from blindmatch_protocol.messages.report import SLOT_SIZES, open_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct, field

from blindmatch_server.centre import decisions, notices, slots, store
from blindmatch_server.centre.keys import CentreKeys, Deployed, References
from blindmatch_server.centre.opening import OpeningLimits
from blindmatch_server.centre.operating import OperatorMethods, report_detail, report_row
from blindmatch_server.centre.retention import Retention
from blindmatch_server.centre.slots import Slots
from blindmatch_server.centre.store import Submission
from blindmatch_server.centre.verify import Checking, Verifier, claimed_identity, note_signer, signer_of
from blindmatch_server.centre.vouchers import STEP, OpenerFiles, Vouchers, counts_of_vouchers
from blindmatch_server.hosting.authority import Kind
from blindmatch_server.hosting.endpoint import DEVICES, EVERYONE, OPERATORS, Call, Method, ServerContext
from blindmatch_server.hosting.event_log import Clock, milliseconds
from blindmatch_server.hosting.limits import CallLimit, Rate, TokenBuckets, under_way
from blindmatch_server.storage.blobs import Blobs, Bodies
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import ForbiddenError


class CentreLimits(Struct, frozen=True):
    """Bounds of the centre.

    Attributes:
        most_sealed_bytes: a sealed report.
        most_reports_a_day: of one submitter.
        most_voucher_bytes: a voucher.
        most_vouchers: of one account, design and period.
        most_tried: visible ones among them, the first, that the opener is tried on.
        most_opener_u: work, in multiplications by libsodium, that an attempt of the opener may take; and
            10,000 n + n^3 / 250 more on n vouchers.
        most_opener_waits: seconds in which it waits and computes nothing, found by a look each second.
        voucher_days: how long a voucher is held, hidden or visible.
        most_uploads: calls with parts that a submitter has at a time.
        submissions: calls of `Key`, `Submit`, `SubmitVoucher` and `Complain` by one account, all together.
        list_wait_seconds: how long `List` waits for the checks of what was received before.
    """

    most_sealed_bytes: int = 40 << 20
    most_reports_a_day: int = 10_000
    most_voucher_bytes: int = 4 << 20
    most_vouchers: int = 100_000
    most_tried: int = 1_000
    most_opener_u: int = 1_000_000
    most_opener_waits: int = 60
    voucher_days: int = 365
    most_uploads: int = 4
    submissions: Rate = Rate(50.0, 500)
    list_wait_seconds: float = 10.0


class Backing(Struct, frozen=True):
    """What an epoch shows of itself and of one entry; what there is not is None or empty."""

    leaf: EpochLeaf | None = None
    proof: bytes = b""
    endorsement: EndorsementProof | None = None


Backed: TypeAlias = Callable[[int, Label], Backing]
"""Of an epoch and a label."""


def unbacked(epoch: int, label: Label) -> Backing:
    """A `Backed` where nothing is published here."""
    return Backing()


REPORT_ID_BYTES: Final = 16
_SUBMIT: Final = "centre/submit"
_EXPORT: Final = "centre/export"
_SUBMITTERS: Final = frozenset({Kind.DEVICE, Kind.RELAY, Kind.HOST})
_SERVERS: Final = frozenset({Party.PROVIDER, Party.MATCHER})
_LONG_SECONDS: Final = 600.0


class Centre(Redacted, Struct, dict=True, eq=False):
    """Takes reports and vouchers; shows them to operators."""

    descriptor = wire.DESCRIPTOR.services_by_name["Centre"]

    database: Database
    blobs: Blobs
    bodies: Bodies
    checking: Checking
    vouchers: Vouchers
    slots: Slots
    retention: Retention
    keys: CentreKeys
    config: CentreConfig
    clock: Clock

    def __post_init__(self) -> None:
        self.limits = self.config.limits
        deployed = self.config.deployed
        self._reporting = _SERVERS.union(deployed.design.info.parties if deployed else ())
        self._places = CallLimit(self.limits.most_uploads)

    async def resume(self) -> None:
        """Store reports whose slots had all come when the centre last ended."""
        await self.slots.resume(milliseconds(self.clock), self._take_whole)

    def methods(self) -> Mapping[str, Method]:
        rate = TokenBuckets(self.limits.submissions, self.clock)
        return {
            "Key": Method(self.key, EVERYONE, rate),
            "Submit": Method(self.submit, _SUBMITTERS, rate, _LONG_SECONDS),
            "SubmitVoucher": Method(self.submit_voucher, DEVICES, rate, _LONG_SECONDS),
            "List": Method(self.list_all, OPERATORS),
            "Show": Method(self.show, OPERATORS),
            "Export": Method(self.export, OPERATORS),
            **OperatorMethods(self.database, self.clock, rate).methods(),
            **self.retention.methods(),
        }

    async def key(self, request: wire.CentreKeyRequest, call: Call) -> wire.CentreKey:
        """What reports are sealed to; a device may say whose key it has. Raises what `claimed_identity` and
        `note_signer` raise."""
        if request.identity_key and call.caller is not None and call.caller.kind is Kind.DEVICE:
            identity = claimed_identity(request)
            await self.database.run(lambda c: note_signer(c, call.account, identity))
        return wire.CentreKey(public_key=self.keys.public_key)

    async def submit(self, requests: AsyncIterator[wire.SubmitPart], call: Call) -> wire.Receipt:
        """Take a sealed report; the receipt is sent once it is on disk. Raises what `store.receive` raises,
        for wrong parts, and `ForbiddenError` for a server without a part in the design, such as a log."""
        caller = call.caller
        if caller is not None and caller.party is not None and caller.party not in self._reporting:
            raise ForbiddenError(_SUBMIT, f"not for a {caller.words}")
        with self._places.hold(call.account, _SUBMIT):
            joiner = Joiner(SUBMISSION, self.limits.most_sealed_bytes, _SUBMIT)
            first, data = await begun(joiner, requests)
            if len(first.report_id) != REPORT_ID_BYTES:
                raise ProtocolError(_SUBMIT, f"must be {REPORT_ID_BYTES} bytes", "report_id")
            if joiner.size in SLOT_SIZES:
                now = milliseconds(self.clock)
                take = self._take_whole
                received = await self.slots.take(first.report_id, await whole(data), call.account, now, take)
            else:
                received = await self._keep(first.report_id, data, call.account)
            return wire.Receipt(report_id=first.report_id, received_at_ms=received)

    async def _take_whole(self, report_id: bytes, sealed: bytes, account: str) -> None:
        await self._keep(report_id, _once(sealed), account)

    async def submit_voucher(self, requests: AsyncIterator[wire.Envelope], call: Call) -> wire.Receipt:
        """Take a voucher. Raises what `Vouchers` raises, and `ProtocolError` if the parts break a rule."""
        with self._places.hold(call.account, STEP):
            first, data = await begun(Joiner(ENVELOPE, self.limits.most_voucher_bytes, STEP), requests)
            self.vouchers.check_head(first)
            async with self.bodies.whole(data, STEP) as voucher:
                # a deployment gives an account one certificate, so the account names the device
                return await self.vouchers.take(
                    call.account, call.account, first, voucher, milliseconds(self.clock)
                )

    async def list_all(self, request: wire.ListRequest, call: Call) -> wire.CentreList:
        """All reports, oldest first, and vouchers by account; what was received before is looked at first."""
        await self.slots.idle()
        await self.checking.finished(self.limits.list_wait_seconds)
        await self.vouchers.openings.finished(self.limits.list_wait_seconds)
        rows = await self.database.run(store.reports)
        counts = await self.database.run(counts_of_vouchers)
        vouchers = [wire.VoucherRow(account=a, held=held, opened=opened) for a, held, opened in counts]
        return wire.CentreList(reports=map(report_row, rows), vouchers=vouchers)

    async def show(self, request: wire.ShowRequest, call: Call) -> wire.ReportDetail:
        """One report with all that belongs to it; `NotFoundError` if there is none with this id."""
        return await self.database.run(
            lambda c: report_detail(
                store.find(c, request.report_id),
                store.verdicts(c, request.report_id),
                store.journal(c, request.report_id),
                decisions.all_of(c, request.report_id),
                notices.of_report(c, request.report_id),
            )
        )

    async def export(self, request: wire.ExportRequest, call: Call) -> AsyncIterator[wire.Part]:
        """A report as evidence, of which nothing is sent before the journal has the line that says so;
        `ProtocolError` without a reason, or if the report does not open; `NotFoundError` if there is none."""
        reason = decisions.words_of(request.reason, _EXPORT, "reason")
        report_id = request.report_id
        row = await self.database.run(lambda c: store.find(c, report_id))
        submission = row.submission
        identity = await self.database.run(lambda c: signer_of(c, submission.submitter))
        evidence = await asyncio.to_thread(self._evidence, submission, identity)
        now = milliseconds(self.clock)
        await self.database.run(lambda c: decisions.exported(c, report_id, reason, now, call.account))
        for part in split(PART, wire.Part(), evidence):
            yield part

    def _evidence(self, submission: Submission, identity: bytes | None) -> bytes:
        """Of a report, whatever its checks came to. Raises `ProtocolError` if it does not open, and `OSError`
        if its file cannot be read."""
        with self.blobs.open(submission.blob_id) as file:
            report = open_report(file.read(), submission.report_id, self.keys.sealing)
        backing = self.config.backed(report.epoch, report.label)
        return ReportEvidence(
            report,
            self.config.franking,
            () if identity is None else (identity,),
            () if backing.leaf is None else (backing.leaf,),
            backing.proof,
            () if backing.endorsement is None else (backing.endorsement,),
        ).encode()

    async def _keep(self, report_id: bytes, data: AsyncIterator[bytes], account: str) -> int:
        """Store a sealed report; when it was received, the first time. Raises what `store.receive` raises."""
        digest = hashlib.sha256()
        async with self.blobs.incoming() as incoming:
            async for piece in data:
                digest.update(piece)
                await asyncio.to_thread(incoming.write, piece)
            await asyncio.to_thread(incoming.commit)
            now = milliseconds(self.clock)
            most = self.limits.most_reports_a_day
            submission = store.Submission(report_id, digest.digest(), incoming.blob_id, account, now)
            received, new = await self.database.run(lambda c: store.receive(c, submission, most))
        if new:
            self.checking.wake()
        else:
            incoming.discard()
        return received


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class CentreConfig(Struct, frozen=True):
    """What a centre needs.

    Attributes:
        directory: holds its database and the sealed reports; made if it is not there.
        deployed: the design and epochs that reports may be about; None: no report can pass.
        references: what `write_references` made; None if the centre has no copy of the list.
        openers: files of the design, if it has vouchers, by its name.
        franking: what messages bear of their sender's key.
        backed: what epochs show of themselves and of entries, for evidence that is handed on.
    """

    directory: Path
    keys_directory: Path
    deployed: Deployed | None = None
    references: Path | None = None
    openers: Mapping[str, OpenerFiles] = field(default_factory=dict)
    limits: CentreLimits = field(default_factory=CentreLimits)
    franking: FrankingMode = FrankingMode.STAMP
    backed: Backed = unbacked


@asynccontextmanager
async def open_centre(config: CentreConfig, context: ServerContext) -> AsyncIterator[list[Centre]]:
    """The centre's service over its directory, with checks under way. Raises `StateError` if keys, references
    or the database cannot be opened, and `BlindmatchError` if an opener cannot be opened."""
    keys = CentreKeys.read(config.keys_directory)
    references = None if config.references is None else References(config.references)
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        database = Database(config.directory / "centre.sqlite", store.SCHEMA, store.VERSION, store.UPGRADES)
        stack.push_async_callback(database.close)
        designs = {one.design.info.name: one.design for one in (config.deployed,) if one is not None}
        limits = config.limits
        bounds = OpeningLimits(limits.most_tried, limits.most_opener_u, limits.most_opener_waits)
        vouchers = Vouchers(database, designs, config.openers, limits.most_vouchers, bounds, context.log)
        blobs = Blobs(config.directory / "reports")
        blobs.keep_only(await database.run(store.blob_ids))
        verifier = Verifier(keys, config.deployed, references, config.franking)
        checking = Checking(database, blobs, verifier, context.log, context.clock)
        slots_database = Database(config.directory / "slots.sqlite", slots.SCHEMA, slots.VERSION)
        stack.push_async_callback(slots_database.close)
        taken = slots.Slots(slots_database, keys.sealing, context.log)
        openings = vouchers.openings
        stack.push_async_callback(openings.close)
        retention = Retention(
            database, limits.voucher_days, limits.most_tried, context.clock, context.log, openings.wake
        )
        await retention.sweep()
        await stack.enter_async_context(under_way(checking.run(), openings.run(), retention.run()))
        stack.push_async_callback(taken.idle)
        parts = (database, blobs, Bodies(config.directory / "incoming"), checking, vouchers, taken, retention)
        centre = Centre(*parts, keys, config, context.clock)
        await centre.resume()
        yield [centre]
